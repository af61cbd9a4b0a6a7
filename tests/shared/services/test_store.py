import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pydicom
import pytest

from shared.dicom.resource import Level
from shared.dicomweb.query import parse_query
from shared.dicomweb.store_report import Failed, FailureReason, Stored, StoreResult
from shared.errors import MalformedMultipartError, NotFoundError, StoreUnavailableError
from shared.ports import BlobStore, ChangeAction, CommitOutcome, NewInstance, Partition
from shared.services.instance_writer import InstanceWriter
from shared.services.store import Store
from shared.wiring import Services
from tests.archive import blobs_in
from tests.builders import dataset, image, part10
from tests.shared.services.requests import bodies_of, metadata, path_of, retrieve, store

BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"


async def test_every_instance_of_a_request_is_there_when_it_is_answered(
    services: Services, partition: Partition
) -> None:
    sources = [dataset() for _ in range(12)]
    files = [part10(source) for source in sources]

    report = await store(services, partition, files)

    assert report.result(2) is StoreResult.STORED
    assert [o.path for o in report.outcomes if o.path] == [path_of(source) for source in sources]
    for source, content in zip(sources, files, strict=True):
        assert await retrieve(services, partition, path_of(source)) == [content]
    query = parse_query([], Level.INSTANCE, version=2, max_limit=100)
    found = await services.search.search(partition, query, base_url="")
    assert len(found.documents) == 12
    changes = await services.index.changes(0, 100)
    assert [change.action for change in changes] == [ChangeAction.CREATE] * 12


async def test_a_request_of_more_than_a_batch_is_stored_whole(
    services: Services, partition: Partition
) -> None:
    template = dataset(SOPInstanceUID="1.2.3.10000")
    content = part10(template)
    files = [content.replace(b"1.2.3.10000", f"1.2.3.{10000 + n}".encode()) for n in range(300)]

    report = await store(services, partition, files)

    assert report.result(2) is StoreResult.STORED
    version = await services.metadata.version(
        partition, type(path_of(template))(path_of(template).study)
    )
    assert version.instance_count == 300


async def test_outcomes_are_in_the_order_of_the_parts(
    services: Services, partition: Partition
) -> None:
    first, second = dataset(), dataset(SOPClassUID=None)
    report = await store(services, partition, [b"garbage", part10(first), part10(second)])

    bad, good, refused = report.outcomes
    assert isinstance(bad, Failed)
    assert (bad.reason, bad.path) == (FailureReason.INVALID_INSTANCE, None)
    assert isinstance(good, Stored)
    assert isinstance(refused, Failed)
    assert refused.path == path_of(second)
    assert report.result(2) is StoreResult.STORED_IN_PART


async def test_only_the_study_asked_for_is_stored(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    mine, other = image(), image(rows=1024, columns=1024)
    report = await store(
        services, partition, [part10(mine), part10(other)], study=mine.StudyInstanceUID
    )

    assert [type(outcome) for outcome in report.outcomes] == [Stored, Failed]
    with pytest.raises(NotFoundError):
        await retrieve(services, partition, path_of(other))
    assert len(blobs_in(tmp_path)) == 2


async def test_the_first_of_two_in_one_request_wins(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = dataset()
    first = part10(source)
    source.StudyDescription = "Second"
    report = await store(services, partition, [first, part10(source), first])

    assert [type(outcome) for outcome in report.outcomes] == [Stored, Failed, Failed]
    assert await retrieve(services, partition, path_of(source)) == [first]
    assert len(blobs_in(tmp_path)) == 2


@pytest.mark.parametrize("rows", [16, 1024])
async def test_of_racing_stores_one_wins_and_the_others_leave_nothing(
    services: Services, partition: Partition, tmp_path: Path, rows: int
) -> None:
    source = image(rows=rows, columns=1024)
    files = []
    for number in range(6):
        source.StudyDescription = f"Racer {number}"
        files.append(part10(source))

    reports = await asyncio.gather(*(store(services, partition, [file]) for file in files))

    won = [n for n, report in enumerate(reports) if report.result(2) is StoreResult.STORED]
    assert len(won) == 1
    for number, report in enumerate(reports):
        (outcome,) = report.outcomes
        if number not in won:
            assert isinstance(outcome, Failed)
            assert outcome.reason is FailureReason.ALREADY_STORED
    assert await retrieve(services, partition, path_of(source)) == [files[won[0]]]
    (document,) = await metadata(services, partition, path_of(source))
    assert document["00081030"]["Value"] == [f"Racer {won[0]}"]
    assert len(blobs_in(tmp_path)) == 2


async def test_the_same_file_stored_again_is_done_in_v2_and_changes_nothing(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    content = part10(source := dataset())
    await store(services, partition, [content])
    before = await services.index.find_instance(partition, path_of(source))
    blobs = blobs_in(tmp_path)

    again = await store(services, partition, [content], version=2)
    assert again.result(2) is StoreResult.STORED
    conflict = await store(services, partition, [content], version=1)
    assert conflict.result(1) is StoreResult.REFUSED

    assert await services.index.find_instance(partition, path_of(source)) == before
    assert blobs_in(tmp_path) == blobs
    assert len(await services.index.changes(0, 100)) == 1


@pytest.mark.parametrize("size", [1_048_575, 1_048_577, 5_000_000])
async def test_a_file_of_any_size_comes_back_byte_for_byte(
    services: Services, partition: Partition, tmp_path: Path, size: int
) -> None:
    source = image()
    source.add_new(0x7FE00010, "OW", b"\x01\x02" * (size // 2))
    content = part10(source)

    report = await store(services, partition, [content])

    assert report.result(2) is StoreResult.STORED
    assert await retrieve(services, partition, path_of(source)) == [content]
    assert len(blobs_in(tmp_path)) == 2


@pytest.mark.parametrize("syntax", [BIG_ENDIAN, DEFLATED])
@pytest.mark.parametrize("rows", [16, 1024])
async def test_odd_encodings_come_back_byte_for_byte(
    services: Services, partition: Partition, syntax: str, rows: int
) -> None:
    source = image(rows=rows, columns=1024)
    if syntax == BIG_ENDIAN:
        source.PixelData = source.PixelData[1::-1] * (rows * 1024)
    content = part10(source, syntax)

    report = await store(services, partition, [content])

    assert report.result(2) is StoreResult.STORED
    assert await retrieve(services, partition, path_of(source)) == [content]
    (document,) = await metadata(services, partition, path_of(source))
    assert document["00100020"]["Value"] == ["P1"]


async def test_a_file_without_preamble_comes_back_byte_for_byte(
    services: Services, partition: Partition
) -> None:
    content = part10(source := dataset())[132:]
    report = await store(services, partition, [content])

    assert report.result(2) is StoreResult.STORED
    assert await retrieve(services, partition, path_of(source)) == [content]


@pytest.mark.parametrize("rows", [16, 1024])
async def test_a_refused_file_leaves_no_blob(
    services: Services, partition: Partition, tmp_path: Path, rows: int
) -> None:
    refused = image(rows=rows, columns=1024, SOPClassUID=None)
    garbage = b"\x5a" * (rows * 2048)

    report = await store(services, partition, [part10(refused), garbage])
    assert report.result(2) is StoreResult.REFUSED
    assert blobs_in(tmp_path) == []


async def test_a_request_that_breaks_leaves_no_blob(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    async def breaking() -> AsyncIterator[AsyncIterator[bytes]]:
        async for body in bodies_of([part10(image()) for _ in range(6)]):
            yield body

        async def cut() -> AsyncIterator[bytes]:
            yield part10(image(rows=1024, columns=1024))[:1_500_000]
            raise MalformedMultipartError("The multipart body ends before its final boundary.")

        yield cut()

    with pytest.raises(MalformedMultipartError):
        await services.store.store(partition, breaking(), version=2)

    assert blobs_in(tmp_path) == []
    assert await services.index.changes(0, 10) == []


class _IndexAway:
    """An index whose commits get no answer, though they may have taken effect."""

    def __init__(self, services: Services, *, takes_effect: bool) -> None:
        self._services = services
        self._takes_effect = takes_effect

    async def commit(
        self,
        partition: Partition,
        instances: list[NewInstance],
        *,
        replaced_until: datetime | None,
    ) -> list[CommitOutcome]:
        if self._takes_effect:
            await self._services.index.commit(partition, instances, replaced_until=replaced_until)
        raise StoreUnavailableError("The index does not answer.")


@pytest.mark.parametrize("takes_effect", [False, True])
async def test_a_commit_without_an_answer_loses_nothing(
    services: Services, partition: Partition, *, takes_effect: bool
) -> None:
    content = part10(source := image())
    away = Store(
        services.blobs,
        _IndexAway(services, takes_effect=takes_effect),  # type: ignore[arg-type]  # all it needs
        services.store.writer,
        services.store.orphan_age,
        services.store.grace,
        services.store.tag_set,
        services.store.deletions,
    )

    with pytest.raises(StoreUnavailableError):
        await away.store(partition, bodies_of([content]), version=2)
    retried = await store(services, partition, [content])

    assert retried.result(2) is StoreResult.STORED
    assert await retrieve(services, partition, path_of(source)) == [content]
    assert len(await metadata(services, partition, path_of(source))) == 1


class _BlobsAway:
    """Blob storage that goes away for some of what it is asked."""

    def __init__(self, services: Services, *, puts: bool = True, deletes: bool = True) -> None:
        self._blobs = services.blobs
        self._puts, self._deletes = puts, deletes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    async def put(self, name: str, content: bytes) -> None:
        if not self._puts:
            raise StoreUnavailableError("Blob storage does not answer.")
        await self._blobs.put(name, content)

    async def delete(self, names: list[str]) -> None:
        if not self._deletes:
            raise StoreUnavailableError("Blob storage does not answer.")
        await self._blobs.delete(names)


def _over(services: Services, blobs: _BlobsAway, orphan_age: timedelta | None = None) -> Store:
    given, away = services.store, cast("BlobStore", blobs)
    writer = InstanceWriter(away, bulk_data_threshold_bytes=4096)
    orphan_age = orphan_age or given.orphan_age
    return Store(
        away, services.index, writer, orphan_age, given.grace, given.tag_set, given.deletions
    )


async def test_what_cannot_be_written_makes_the_request_worth_repeating(
    services: Services, partition: Partition
) -> None:
    over = _over(services, _BlobsAway(services, puts=False))
    with pytest.raises(StoreUnavailableError):
        await over.store(partition, bodies_of([part10(dataset())]), version=2)
    assert await services.index.changes(0, 10) == []


async def test_blobs_that_cannot_be_removed_are_left_to_the_sweeper(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = dataset()
    await store(services, partition, [first := part10(source)])
    source.StudyDescription = "Another"
    over = _over(services, _BlobsAway(services, deletes=False))

    report = await over.store(partition, bodies_of([part10(source)]), version=2)

    (outcome,) = report.outcomes
    assert isinstance(outcome, Failed)
    assert outcome.reason is FailureReason.ALREADY_STORED
    assert len(blobs_in(tmp_path)) == 4
    assert await retrieve(services, partition, path_of(source)) == [first]


async def test_what_took_too_long_to_be_written_is_not_committed(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    over = _over(services, _BlobsAway(services), timedelta(microseconds=1))

    report = await over.store(partition, bodies_of([part10(dataset())]), version=2)

    (outcome,) = report.outcomes
    assert isinstance(outcome, Failed)
    assert outcome.reason is FailureReason.PROCESSING_FAILURE
    assert blobs_in(tmp_path) == []
    assert await services.index.changes(0, 10) == []


async def test_an_empty_patient_id_never_replaces_one(
    services: Services, partition: Partition
) -> None:
    study = pydicom.uid.generate_uid()
    for patient in ("", "123", ""):
        source = dataset(StudyInstanceUID=study, PatientID=patient)
        await store(services, partition, [part10(source)])

    query = parse_query([("StudyInstanceUID", study)], Level.STUDY, version=2, max_limit=10)
    found = await services.search.search(partition, query, base_url="")
    assert found.documents[0]["00100020"]["Value"] == ["123"]
