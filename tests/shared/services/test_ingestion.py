"""Files of the inbox end in the archive, or aside with a reason, and are told of."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.dicomweb.store_report import Failed, Stored
from shared.errors import InboxFileError, StoreUnavailableError
from shared.ports import InboxFile, Partition
from shared.services.ingest_results import IngestResult, IngestStatus, result_id
from shared.services.ingestion import WAITS_AT_MOST
from shared.wiring import Services
from tests.archive import open_archive
from tests.builders import dataset, image, part10, with_values
from tests.shared.dicom import corpus
from tests.shared.services.requests import path_of, retrieve, store


def drop(services: Services, name: str, content: bytes) -> Path:
    file = services.settings.folder / "inbox" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def waiting(services: Services) -> list[str]:
    root = services.settings.folder / "inbox"
    return [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()]


def failed(services: Services) -> dict[str, bytes]:
    root = services.settings.folder / "inbox-failed"
    files = [file for file in root.rglob("*") if file.is_file()]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


async def result(services: Services, name: str) -> IngestResult:
    found, _ = await services.ingest_results.find(result_id(name))
    assert found is not None
    return found


async def changes(services: Services) -> int:
    return len(await services.index.changes(0, 1000))


async def test_a_file_is_stored_told_of_and_removed(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    drop(services, "Doe^Jane.dcm", part10(source))

    await services.ingestion.ingest("Doe^Jane.dcm")

    assert await retrieve(services, partition, path_of(source)) == [part10(source)]
    told = await result(services, "Doe^Jane.dcm")
    assert (told.status, told.path) == (IngestStatus.STORED, path_of(source))
    assert told.partition_name == "Microsoft.Default"
    assert waiting(services) == []
    assert failed(services) == {}
    assert await changes(services) == 1


async def test_a_file_is_taken_into_the_partition_that_its_first_folder_names(
    services: Services,
) -> None:
    source = dataset()
    drop(services, "clinic-1/2026/01/x.dcm", part10(source))
    await services.ingestion.ingest("clinic-1/2026/01/x.dcm")
    made = await services.partitions.resolve("clinic-1", create=False)
    assert await retrieve(services, made, path_of(source)) == [part10(source)]


async def test_without_partitions_every_file_is_of_the_default_one(tmp_path: Path) -> None:
    async with open_archive(tmp_path, DATA_PARTITIONS="off") as services:
        drop(services, "a folder/x.dcm", part10(source := dataset()))
        await services.ingestion.ingest("a folder/x.dcm")
        partition = await services.partitions.resolve(None, create=False)
        assert len(await retrieve(services, partition, path_of(source))) == 1
        assert len(await services.index.list_partitions()) == 1


async def test_where_partitions_are_required_a_file_outside_all_folders_is_refused(
    tmp_path: Path,
) -> None:
    async with open_archive(tmp_path, DATA_PARTITIONS="required") as services:
        drop(services, "x.dcm", part10(dataset()))
        await services.ingestion.ingest("x.dcm")
        reason = json.loads(failed(services)["x.dcm.error.json"])
        assert reason["reason"] == 0x0110
        assert reason["sentences"] == ["The file lies in no folder that names its partition."]
        assert waiting(services) == []
        drop(services, "p/x.dcm", part10(dataset()))
        await services.ingestion.ingest("p/x.dcm")
        assert (await result(services, "p/x.dcm")).status is IngestStatus.STORED


@pytest.mark.parametrize("folder", ["not legal", "n" * 65, "ü"])
async def test_a_folder_whose_name_no_partition_can_have_is_refused(
    services: Services, folder: str
) -> None:
    name = f"{folder}/x.dcm"
    drop(services, name, part10(dataset()))
    await services.ingestion.ingest(name)
    assert name in failed(services)
    assert (await result(services, name)).sentences[0].startswith("A partition name must")
    assert len(await services.index.list_partitions()) == 1


async def test_the_same_file_again_is_a_duplicate_and_told_as_such(services: Services) -> None:
    content = part10(dataset())
    for name in ("one", "two"):
        drop(services, name, content)
        await services.ingestion.ingest(name)
    assert (await result(services, "one")).status is IngestStatus.STORED
    assert (await result(services, "two")).status is IngestStatus.DUPLICATE
    assert (await result(services, "two")).path == (await result(services, "one")).path
    assert waiting(services) == []
    assert await changes(services) == 1


async def test_another_file_of_a_stored_instance_is_refused(services: Services) -> None:
    source = dataset()
    drop(services, "one", part10(source))
    source.PatientName = "Other"
    drop(services, "two", content := part10(source))
    await services.ingestion.ingest("one")
    await services.ingestion.ingest("two")
    told = await result(services, "two")
    assert (told.status, told.reason) == (IngestStatus.FAILED, 0xB00E)
    kept = failed(services)
    assert kept["two"] == content
    reason = json.loads(kept["two.error.json"])
    assert reason["reason"] == 0xB00E
    assert reason["sentences"] == ["Another file is stored of this SOP Instance UID."]
    assert source.SOPInstanceUID.encode() not in kept["two.error.json"]
    assert await changes(services) == 1


async def test_why_a_file_was_refused_is_said_as_store_says_it_without_values(
    services: Services,
) -> None:
    content = part10(dataset(PatientName="Canary"))
    drop(services, "bad", with_values(content, StudyInstanceUID=b"not a uid"))
    await services.ingestion.ingest("bad")
    text = failed(services)["bad.error.json"]
    assert json.loads(text)["reason"] == 0xA900
    assert json.loads(text)["sentences"][0].startswith("DICOM100: (0020,000D) - ")
    assert b"Canary" not in text
    assert b"not a uid" not in text


async def test_an_empty_file_is_refused(services: Services) -> None:
    drop(services, "empty", b"")
    await services.ingestion.ingest("empty")
    assert (await result(services, "empty")).reason == 0xA900
    assert failed(services)["empty"] == b""


async def test_a_file_over_the_limit_of_store_is_refused_unread(tmp_path: Path) -> None:
    async with open_archive(tmp_path, STORE_MAX_PART_BYTES="1000") as services:
        drop(services, "large", part10(dataset(PatientComments="x" * 1000)))
        await services.ingestion.ingest("large")
        told = await result(services, "large")
        assert told.sentences == ("An instance may have 1000 bytes at most.",)


async def test_a_gibibyte_of_zeros_is_refused_before_it_is_read_whole(services: Services) -> None:
    with drop(services, "zeros", b"").open("wb") as file:
        file.truncate(1 << 30)
    before = _read_bytes()
    await services.ingestion.ingest("zeros")
    # Read up to where only pydicom might make something of it, and no further.
    assert _read_bytes() - before < 300 << 20
    assert (await result(services, "zeros")).reason == 0xA900
    kept = services.settings.folder / "inbox-failed" / "zeros"
    assert kept.stat().st_size == 1 << 30
    assert kept.stat().st_blocks == 0, "it was moved, not copied"


def _read_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar:"))


async def test_a_call_for_a_file_that_is_gone_changes_nothing(services: Services) -> None:
    drop(services, "one", part10(dataset()))
    for _ in range(3):
        await services.ingestion.ingest("one")
    await services.ingestion.ingest("../index.sqlite")
    assert (await result(services, "one")).status is IngestStatus.STORED
    assert await changes(services) == 1


async def test_calls_that_overlap_store_once_and_tell_so(services: Services) -> None:
    names = [f"{number}" for number in range(5)]
    for name in names:
        drop(services, name, part10(dataset()))
    await asyncio.gather(*(services.ingestion.ingest(name) for name in names * 4))
    assert {(await result(services, name)).status for name in names} == {IngestStatus.STORED}
    assert await changes(services) == 5
    assert waiting(services) == []


async def test_a_file_that_was_stored_before_its_removal_is_found_stored(
    services: Services, partition: Partition
) -> None:
    content = part10(dataset())
    await store(services, partition, [content])
    drop(services, "killed", content)
    await services.ingestion.ingest("killed")
    assert (await result(services, "killed")).status is IngestStatus.DUPLICATE
    assert waiting(services) == []
    assert await changes(services) == 1


async def test_an_outage_raises_and_leaves_the_file(services: Services) -> None:
    drop(services, "one", part10(dataset()))
    metadata = services.settings.folder / "metadata"
    metadata.write_bytes(b"in the way")
    with pytest.raises(StoreUnavailableError):
        await services.ingestion.ingest("one")
    assert waiting(services) == ["one"]
    metadata.unlink()
    await services.ingestion.ingest("one")
    assert (await result(services, "one")).status is IngestStatus.STORED


async def test_a_file_that_is_being_written_is_left_to_whoever_writes_it(
    services: Services,
) -> None:
    content = part10(dataset())
    later = datetime.now(UTC) + WAITS_AT_MOST + timedelta(seconds=5)
    with drop(services, "one", b"").open("wb") as file:
        file.write(content[:-1])
        file.flush()
        assert await services.ingestion.ingest("one") is None
        assert await services.ingestion.ingest_overlooked(later) == 0
        file.write(content[-1:])
    assert await services.ingestion.ingest_overlooked(later) == 1
    assert (await result(services, "one")).status is IngestStatus.STORED


async def test_a_file_that_ends_inside_its_pixels_waits_for_the_rest_of_them(
    services: Services, partition: Partition
) -> None:
    source = image(rows=64, columns=64)
    content = part10(source)
    file = drop(services, "one", content[:-100])
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await services.ingestion.ingest("one") is None
    await services.ingestion.ingest_overlooked(later)
    assert (await result(services, "one")).status is IngestStatus.WAITING
    assert await changes(services) == 0
    with file.open("ab") as rest:
        rest.write(content[-100:])
    await services.ingestion.ingest("one")
    assert (await result(services, "one")).status is IngestStatus.STORED
    assert await retrieve(services, partition, path_of(source)) == [content]


async def test_a_file_that_never_has_the_rest_of_its_pixels_is_refused_in_the_end(
    services: Services,
) -> None:
    content = part10(image(rows=64, columns=64))[:-100]
    drop(services, "one", content)
    later = datetime.now(UTC) + timedelta(hours=1)
    for _ in range(5):
        assert waiting(services) == ["one"]
        await services.ingestion.ingest_overlooked(later)
    assert waiting(services) == []
    assert failed(services)["one"] == content
    told = await result(services, "one")
    assert (told.status, told.reason) == (IngestStatus.FAILED, 0xA900)
    assert told.sentences == ("The file ends before its last value does.",)
    assert await changes(services) == 0


# --- overlooked files ---------------------------------------------------------------------------


async def test_only_what_has_waited_too_long_is_taken_in_by_the_clock(services: Services) -> None:
    now = datetime.now(UTC)
    drop(services, "one", part10(dataset()))
    drop(services, "two", b"bad")
    assert await services.ingestion.ingest_overlooked(now) == 0
    later = now + WAITS_AT_MOST + timedelta(seconds=5)
    assert await services.ingestion.ingest_overlooked(later) == 2
    assert waiting(services) == []
    assert (await result(services, "one")).status is IngestStatus.STORED
    assert (await result(services, "two")).status is IngestStatus.FAILED
    assert await services.ingestion.ingest_overlooked(later) == 0


async def test_an_outage_does_not_wear_out_the_patience_with_a_file(services: Services) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    drop(services, "one", part10(dataset()))
    metadata = services.settings.folder / "metadata"
    metadata.write_bytes(b"in the way")
    for _ in range(7):
        with pytest.raises(StoreUnavailableError):
            await services.ingestion.ingest_overlooked(later)
    assert (await result(services, "one")).status is IngestStatus.WAITING
    metadata.unlink()
    await services.ingestion.ingest_overlooked(later)
    assert (await result(services, "one")).status is IngestStatus.STORED


async def test_a_file_that_ended_every_attempt_is_set_aside(services: Services) -> None:
    file = drop(services, "one", part10(dataset()))
    found, _ = await services.ingestion._inbox.open("one")
    told = IngestResult(
        id=result_id("one"),
        partition_name="Microsoft.Default",
        status=IngestStatus.WAITING,
        at=datetime.now(UTC),
        version=found.version,
        attempts=5,
    )
    await services.ingest_results.put(told)
    later = datetime.now(UTC) + timedelta(hours=1)
    await services.ingestion.ingest_overlooked(later)
    assert (await result(services, "one")).status is IngestStatus.FAILED
    assert "one.error.json" in failed(services)
    file.write_bytes(part10(dataset()))
    os.utime(file, (1, 1))
    await services.ingestion.ingest_overlooked(later)
    assert (await result(services, "one")).status is IngestStatus.STORED, "another file of the name"


class _Torn:
    """An inbox with files that cannot be read, by default for a reason that nobody thought of."""

    def __init__(self, services: Services, error: Exception | None = None) -> None:
        self._inbox = services.ingestion._inbox
        self._error = error or RuntimeError("torn")
        self.remove, self.set_aside, self.list = (
            self._inbox.remove,
            self._inbox.set_aside,
            self._inbox.list,
        )

    async def open(self, name: str) -> tuple[InboxFile, AsyncIterator[bytes]]:
        file, chunks = await self._inbox.open(name)
        if name.rpartition("/")[2].startswith("torn"):
            raise self._error
        return file, chunks


async def test_a_file_that_keeps_failing_holds_up_no_other(services: Services) -> None:
    services.ingestion._inbox = _Torn(services)
    later = datetime.now(UTC) + timedelta(hours=1)
    drop(services, "torn", b"")
    for number in range(7):
        drop(services, f"{number}", part10(dataset()))
        await services.ingestion.ingest_overlooked(later)
    assert waiting(services) == []
    assert (await result(services, "torn")).status is IngestStatus.FAILED
    assert await changes(services) == 7


@pytest.mark.parametrize("error", [InboxFileError("no"), StoreUnavailableError("no")])
async def test_files_that_cannot_be_read_keep_no_other_from_its_rescue(
    services: Services, error: Exception
) -> None:
    services.ingestion._inbox = _Torn(services, error)
    for number in range(7):
        drop(services, f"torn{number}", b"")
    for number in range(30):
        drop(services, f"{number}", part10(dataset()))
    later = datetime.now(UTC) + timedelta(hours=1)
    is_outage = isinstance(error, StoreUnavailableError)
    with pytest.raises(StoreUnavailableError) if is_outage else nullcontext():
        await services.ingestion.ingest_overlooked(later)
    assert sorted(waiting(services)) == [f"torn{number}" for number in range(7)]
    assert await changes(services) == 30


class _Stuck(_Torn):
    """An inbox of which no file may be removed."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.remove = self._refuse

    async def _refuse(self, file: InboxFile) -> None:  # noqa: ARG002
        raise InboxFileError("no")


async def test_a_file_that_may_not_be_removed_is_stored_and_told_of(services: Services) -> None:
    services.ingestion._inbox = _Stuck(services)
    drop(services, "one", part10(dataset()))
    await services.ingestion.ingest("one")
    assert (await result(services, "one")).status is IngestStatus.STORED
    assert waiting(services) == ["one"]
    await services.ingestion.ingest_overlooked(datetime.now(UTC) + timedelta(hours=1))
    assert await changes(services) == 1


async def test_a_file_that_keeps_failing_is_told_of_in_its_own_partition(
    services: Services,
) -> None:
    services.ingestion._inbox = _Torn(services)
    drop(services, "clinic-1/torn", b"")
    drop(services, "not legal/torn", b"")
    later = datetime.now(UTC) + timedelta(hours=1)
    for status in [IngestStatus.WAITING] * 5 + [IngestStatus.FAILED]:
        await services.ingestion.ingest_overlooked(later)
        told = await result(services, "clinic-1/torn")
        assert (told.status, told.partition_name) == (status, "clinic-1")
    assert (await result(services, "not legal/torn")).partition_name == "Microsoft.Default"


# --- results ------------------------------------------------------------------------------------


async def test_no_row_holds_the_name_of_a_file(services: Services, tmp_path: Path) -> None:
    drop(services, "p/Canary^Name.dcm", part10(dataset()))
    drop(services, "p/Canary^Bad.dcm", b"bad")
    for name in ("p/Canary^Name.dcm", "p/Canary^Bad.dcm"):
        await services.ingestion.ingest(name)
    await services.index.close()
    databases = [file.read_bytes() for file in tmp_path.glob("index.sqlite*")]
    assert not any(b"Canary" in content for content in databases)


async def test_results_are_forgotten_in_time(services: Services) -> None:
    for name in ("one", "two", "three"):
        drop(services, name, b"bad")
        await services.ingestion.ingest(name)
    now = datetime.now(UTC)
    assert await services.ingest_results.forget(now - timedelta(hours=1)) == 0
    assert await services.ingest_results.forget(now + timedelta(seconds=1)) == 3
    assert await services.ingest_results.find(result_id("one")) == (None, "")


# --- real files ---------------------------------------------------------------------------------


async def test_every_file_of_the_corpus_has_the_outcome_that_store_gives_it(
    services: Services,
) -> None:
    for folder in ("by-store", "by-inbox"):
        await services.partitions.resolve(folder, create=True)
    reference = await services.partitions.resolve("by-store", create=False)
    refused, ends_early = 0, set[str]()
    for file in corpus.FILES:
        content = file.read_bytes()
        report = await store(services, reference, [content])
        name = f"by-inbox/{file.name}"
        drop(services, name, content)
        if await services.ingestion.ingest(name) is None:
            ends_early.add(file.name)
            assert waiting(services) == [name]
            (services.settings.folder / "inbox" / name).unlink()
            continue
        told, (expected,) = await result(services, name), report.outcomes
        if told.status is IngestStatus.FAILED:
            refused += 1
            assert isinstance(expected, Failed)
            assert told.reason == expected.reason
            assert failed(services)[name] == content
        else:
            assert isinstance(expected, Stored)
            assert (told.path, told.reason) == (expected.path, expected.warning)
            assert (told.status is IngestStatus.DUPLICATE) == expected.is_duplicate
    assert waiting(services) == []
    assert 0 < refused < len(corpus.FILES)
    assert ends_early == {"pydicom__MR_truncated.dcm", "pydicom__rtplan_truncated.dcm"}
