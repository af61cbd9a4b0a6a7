import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.dicom.blob_names import dicom_blob, instance_blobs, new_blob_id, time_of
from shared.dicom.resource import ResourcePath
from shared.dicomweb.store_report import Failed
from shared.errors import StoreUnavailableError
from shared.ports import BlobStore, Partition
from shared.services.cleanup import Cleanup
from shared.services.store import Store
from shared.wiring import Services
from tests import builders
from tests.archive import open_archive
from tests.contracts.index_data import new_instance, path, study_uid, with_frames

NOW = datetime.now(UTC)
AGE = timedelta(days=1)
KINDS = ("dicom/", "metadata/", "frames/", "series-metadata/", "inbox/", "staging/")


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_archive(tmp_path, MAX_ORPHANS_PER_RUN="20") as services:
        yield services


@pytest.fixture
async def partition(archive: Services) -> Partition:
    return await archive.partitions.resolve(None, create=True)


def _id(ago: timedelta) -> str:
    return new_blob_id(int((NOW - ago).timestamp() * 1000))


async def _write(blobs: BlobStore, *blob_ids: str) -> set[str]:
    """Blobs of all kinds, as a Store writes them before it asks for a commit."""
    names = [name for one in blob_ids for name in instance_blobs(one, has_frames_blob=True)]
    await asyncio.gather(*(blobs.put(name, b"x") for name in names))
    return set(names)


async def _all(blobs: BlobStore) -> set[str]:
    return {blob.name for prefix in KINDS async for blob in blobs.list(prefix)}


async def _commit(archive: Services, partition: Partition, blob_id: str, number: int = 1) -> None:
    item = with_frames(new_instance(path(1, 1, number)), "blob")
    named = replace(item, file=replace(item.file, blob_id=blob_id))
    await archive.index.commit(partition, [named])


# --- blobs of deleted instances -----------------------------------------------------------------


async def test_blobs_of_a_deleted_instance_go_when_their_grace_is_over(
    archive: Services, partition: Partition
) -> None:
    names = await _write(archive.blobs, blob_id := _id(timedelta()))
    await _commit(archive, partition, blob_id)
    until = NOW + timedelta(days=3)
    await archive.index.delete(partition, path(), until)
    assert await archive.cleanup.remove_due(until - timedelta(seconds=1)) == 0
    assert await _all(archive.blobs) == names
    assert await archive.cleanup.remove_due(until) == 3
    assert await _all(archive.blobs) == set()
    assert await archive.cleanup.remove_due(until) == 0


async def test_the_grace_is_the_one_that_is_set(archive: Services, partition: Partition) -> None:
    await _write(archive.blobs, blob_id := _id(timedelta()))
    await _commit(archive, partition, blob_id)
    before = datetime.now(UTC)
    await archive.delete.delete(partition, ResourcePath(study_uid()))
    grace = archive.settings.deleted_blob_grace_seconds
    assert await archive.cleanup.remove_due(before + grace - timedelta(seconds=1)) == 0
    assert await archive.cleanup.remove_due(datetime.now(UTC) + grace) == 3


async def test_many_due_blobs_go_in_one_run(archive: Services) -> None:
    names = await _write(archive.blobs, *(_id(timedelta()) for _ in range(120)))
    for name in names:
        await archive.index.add_deleted_blobs([name], NOW)
    assert await archive.cleanup.remove_due(NOW) == 360
    assert await _all(archive.blobs) == set()


async def test_a_removal_takes_so_many_rows_and_the_next_run_goes_on(archive: Services) -> None:
    names = [f"series-metadata/1/{number}.json.gz" for number in range(20_100)]
    await archive.index.add_deleted_blobs(names, NOW)
    assert await archive.cleanup.remove_due(NOW) == 20_000
    assert await archive.cleanup.remove_due(NOW) == 100


async def test_a_sweep_takes_so_many_days_and_the_next_goes_on(archive: Services) -> None:
    orphans = [_id(timedelta(days=days)) for days in (100, 3)]
    for days in range(4, 90):
        await archive.blobs.put(dicom_blob(_id(timedelta(days=days))), b"x")
    patient = Cleanup(
        archive.blobs, archive.index, archive.state, orphan_age=AGE, max_orphans_per_run=1000
    )
    await _write(archive.blobs, *orphans)
    assert await patient.sweep(NOW) == 3 + 59
    assert await patient.sweep(NOW) == 27 + 3
    assert await patient.sweep(NOW) == 0


async def test_a_sweep_cut_short_goes_on_from_the_last_day_without_orphans(
    archive: Services, partition: Partition
) -> None:
    await _write(archive.blobs, blob_id := _id(timedelta(days=9)))
    await _commit(archive, partition, blob_id)
    orphans = await _write(archive.blobs, _id(timedelta(days=4)))
    blobs: Any = _WithoutDelete(archive.blobs)
    with pytest.raises(StoreUnavailableError):
        await Cleanup(
            blobs, archive.index, archive.state, orphan_age=AGE, max_orphans_per_run=20
        ).sweep(NOW)
    row = await archive.state.get("maintenance", "sweeper", "days")
    assert row is not None
    assert row.values["swept"] == (NOW - timedelta(days=9)).date().isoformat()
    assert await archive.cleanup.sweep(NOW) == len(orphans)


class _WithoutDelete:
    """Blob storage that goes away just when blobs are to be removed."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    async def delete(self, _names: Sequence[str]) -> None:
        raise StoreUnavailableError("Blob storage does not answer.")

    async def check(self) -> None:
        raise StoreUnavailableError("Blob storage does not answer.")


async def test_a_removal_cut_short_is_done_again(archive: Services) -> None:
    names = sorted(await _write(archive.blobs, _id(timedelta())))
    await archive.index.add_deleted_blobs(names, NOW)
    blobs: Any = _WithoutDelete(archive.blobs)
    with pytest.raises(StoreUnavailableError):
        await Cleanup(
            blobs, archive.index, archive.state, orphan_age=AGE, max_orphans_per_run=20
        ).remove_due(NOW)
    assert await archive.cleanup.remove_due(NOW) == 3
    assert await _all(archive.blobs) == set()


def _lock(folder: Path, name: str) -> Path:
    """Put in the place of a blob what cannot be deleted as one."""
    file = folder / name
    file.unlink()
    file.mkdir()
    (file / "of another program").write_bytes(b"x")
    return file


def _unlock(file: Path) -> None:
    (file / "of another program").unlink()
    file.rmdir()
    file.write_bytes(b"x")


async def test_a_blob_that_cannot_be_removed_stops_no_other_and_is_tried_again_a_day_later(
    archive: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blob_ids = [_id(timedelta()) for _ in range(120)]
    await _write(archive.blobs, *blob_ids)
    for number, blob_id in enumerate(blob_ids):
        names = instance_blobs(blob_id, has_frames_blob=True)
        await archive.index.add_deleted_blobs(names, NOW - timedelta(minutes=120 - number))
    locked = _lock(tmp_path, dicom_blob(blob_ids[0]))
    assert await archive.cleanup.remove_due(NOW) == 3 * 120 - 1
    assert await archive.index.waiting_blobs() == 1
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "cleanup: the blobs of 1 rows cannot be removed"
    assert await archive.cleanup.remove_due(NOW + timedelta(hours=23)) == 0
    _unlock(locked)
    assert await archive.cleanup.remove_due(NOW + timedelta(days=1)) == 1
    assert await _all(archive.blobs) == set()


async def test_a_run_ends_when_very_many_blobs_cannot_be_removed(
    archive: Services, tmp_path: Path
) -> None:
    blob_ids = [_id(timedelta()) for _ in range(120)]
    for blob_id in blob_ids:
        await archive.blobs.put(dicom_blob(blob_id), b"x")
        _lock(tmp_path, dicom_blob(blob_id))
        await archive.index.add_deleted_blobs([dicom_blob(blob_id)], NOW)
    assert await archive.cleanup.remove_due(NOW) == 0
    assert len(await archive.index.due_blobs(NOW, 1000)) == 20
    assert await archive.cleanup.remove_due(NOW) == 0
    assert await archive.index.due_blobs(NOW, 1000) == []


async def test_an_orphan_that_cannot_be_removed_waits_in_a_row_and_stops_no_other(
    archive: Services, caplog: pytest.LogCaptureFixture
) -> None:
    blob_ids = [_id(timedelta(days=days)) for days in (3, 5)]
    await _write(archive.blobs, *blob_ids)
    blobs: Any = _Locked(archive.blobs, name := dicom_blob(blob_ids[1]))
    cleanup = Cleanup(blobs, archive.index, archive.state, orphan_age=AGE, max_orphans_per_run=20)
    assert await cleanup.sweep(NOW) == 5
    assert "sweeper: 1 blobs cannot be removed" in caplog.messages
    assert await _all(archive.blobs) == {name}
    assert await cleanup.sweep(NOW) == 0
    assert await archive.cleanup.remove_due(datetime.now(UTC) + timedelta(days=1)) == 1
    assert await _all(archive.blobs) == set()


class _Locked:
    """Blob storage that answers, and does not let one blob be removed."""

    def __init__(self, blobs: BlobStore, name: str) -> None:
        self._blobs = blobs
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    async def delete(self, names: Sequence[str]) -> None:
        if self._name in names:
            raise StoreUnavailableError("Blob storage does not answer.")
        await self._blobs.delete(names)


# --- orphans ------------------------------------------------------------------------------------


async def test_a_blob_without_a_row_goes_when_it_is_of_age(archive: Services) -> None:
    await _write(archive.blobs, _id(AGE), _id(timedelta(days=40)))
    young = await _write(archive.blobs, _id(AGE - timedelta(minutes=1)), _id(timedelta()))
    assert await archive.cleanup.sweep(NOW) == 6
    assert await _all(archive.blobs) == young


async def test_what_a_row_names_or_waits_for_its_grace_stays(
    archive: Services, partition: Partition
) -> None:
    kept, deleted, waiting = (_id(timedelta(days=5)) for _ in range(3))
    names = await _write(archive.blobs, kept, deleted, waiting)
    await _commit(archive, partition, kept, 1)
    await _commit(archive, partition, deleted, 2)
    await archive.index.delete(partition, path(1, 1, 2), NOW + timedelta(days=3))
    await archive.index.add_deleted_blobs(
        instance_blobs(waiting, has_frames_blob=True), NOW + timedelta(days=3)
    )
    assert await archive.cleanup.sweep(NOW) == 0
    assert await _all(archive.blobs) == names


async def test_what_comes_of_age_on_a_day_that_was_swept_before_goes_too(
    archive: Services,
) -> None:
    await _write(archive.blobs, _id(timedelta(hours=1)))
    for hours in range(0, 30, 3):
        removed = await archive.cleanup.sweep(NOW + timedelta(hours=hours))
        assert removed == (3 if hours == 24 else 0)


async def test_days_that_are_done_are_not_looked_at_again(archive: Services) -> None:
    await _write(archive.blobs, _id(timedelta(days=2)))
    assert await archive.cleanup.sweep(NOW) == 3
    # No Store commits under so old an id: only a tool could have put it there.
    names = await _write(archive.blobs, _id(timedelta(days=9)))
    assert await archive.cleanup.sweep(NOW) == 0
    assert await _all(archive.blobs) == names


async def test_too_many_orphans_raise_an_alarm_and_all_stay(
    archive: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit is for all days together, and does not shrink what the next run finds."""
    names = await _write(archive.blobs, *(_id(timedelta(days=days)) for days in range(2, 9)))
    for _ in range(2):
        caplog.clear()
        assert await archive.cleanup.sweep(NOW) == 0
        alarms = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(alarms) == 1
        assert await _all(archive.blobs) == names


async def test_after_the_limit_is_raised_the_sweeper_goes_on(archive: Services) -> None:
    await _write(archive.blobs, *(_id(timedelta(days=3)) for _ in range(8)))
    assert await archive.cleanup.sweep(NOW) == 0
    patient = Cleanup(
        archive.blobs, archive.index, archive.state, orphan_age=AGE, max_orphans_per_run=24
    )
    assert await patient.sweep(NOW) == 24
    assert await _all(archive.blobs) == set()


async def test_orphans_are_found_among_many_known_blobs(
    archive: Services, partition: Partition
) -> None:
    known = [_id(timedelta(days=2)) for _ in range(400)]
    names = await _write(archive.blobs, *known)
    items = [new_instance(path(1, 1, number)) for number in range(400)]
    await archive.index.commit(
        partition,
        [
            replace(item, file=replace(item.file, blob_id=blob_id))
            for item, blob_id in zip(items, known, strict=True)
        ],
    )
    await _write(archive.blobs, _id(timedelta(days=2)), _id(timedelta(days=2)))
    assert await archive.cleanup.sweep(NOW) == 6
    assert await _all(archive.blobs) == names


async def test_blobs_that_are_not_ours_are_left_alone(archive: Services) -> None:
    names = {
        "dicom/000/20200101/readme.txt",
        "dicom/000/notes/x",
        "inbox/000/20200101/file.dcm",
        "series-metadata/1/2.json.gz",
    }
    for name in names:
        await archive.blobs.put(name, b"x")
    assert await archive.cleanup.sweep(NOW) == 0
    assert await _all(archive.blobs) == names


async def test_leftovers_of_killed_writes_go_even_when_there_are_too_many_orphans(
    archive: Services, tmp_path: Path
) -> None:
    names = await _write(archive.blobs, *(_id(timedelta(days=3)) for _ in range(8)))
    leftovers = [tmp_path / "staging" / "abc#1", tmp_path / f"{min(names)}#1"]
    for file in leftovers:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"half")
        os.utime(file, (0, 0))
    await archive.cleanup.sweep(NOW)
    assert [file.exists() for file in leftovers] == [False, False]
    assert await _all(archive.blobs) == names


# --- against Store ------------------------------------------------------------------------------


async def _store(store: Store, partition: Partition, *, pause: timedelta) -> str:
    """Store an instance, and another that takes its time; tell what becomes of the first."""

    async def body(dataset: object) -> AsyncIterator[bytes]:
        yield builders.part10(builders.dataset(PatientID=dataset))

    async def bodies() -> AsyncIterator[AsyncIterator[bytes]]:
        yield body("1")
        await asyncio.sleep(pause.total_seconds())

    report = await store.store(partition, bodies(), version=2)
    [outcome] = report.outcomes
    return "failed" if isinstance(outcome, Failed) else "stored"


@pytest.mark.parametrize(
    ("pause", "outcome"), [(timedelta(0), "stored"), (timedelta(seconds=2.1), "failed")]
)
async def test_a_commit_is_refused_from_half_the_age_of_an_orphan(
    archive: Services, partition: Partition, pause: timedelta, outcome: str
) -> None:
    hasty = replace(archive.store, orphan_age=timedelta(seconds=4))
    assert await _store(hasty, partition, pause=pause) == outcome
    remaining = {name.partition("/")[0] for name in await _all(archive.blobs)}
    assert remaining == ({"dicom", "metadata"} if outcome == "stored" else set())
    stored = [item async for item in archive.index.instances(partition, await _study(archive))]
    assert len(stored) == (1 if outcome == "stored" else 0)


async def _study(archive: Services) -> ResourcePath:
    latest = await archive.index.latest_change()
    return ResourcePath(study_uid()) if latest is None else ResourcePath(latest.path.study)


async def test_sweeping_while_instances_are_stored_removes_none_of_theirs(
    archive: Services, partition: Partition
) -> None:
    """Whatever the moment, what can still be committed is younger than what is swept."""
    age = timedelta(seconds=2)
    hasty = replace(archive.store, orphan_age=age)
    cleanup = Cleanup(
        archive.blobs, archive.index, archive.state, orphan_age=age, max_orphans_per_run=1000
    )
    stop = asyncio.Event()

    async def sweep() -> None:
        while not stop.is_set():
            await cleanup.sweep(datetime.now(UTC))

    sweeping = asyncio.create_task(sweep())
    pauses = [timedelta(seconds=number / 5) for number in range(9)]
    outcomes = await asyncio.gather(*(_store(hasty, partition, pause=one) for one in pauses))
    await asyncio.sleep(2.2)
    stop.set()
    await sweeping
    assert outcomes.count("stored") >= 1
    changes = await archive.index.changes(0, 100)
    assert len(changes) == outcomes.count("stored")
    for change in changes:
        found = await archive.index.find_instance(partition, change.path)
        assert found is not None
        for name in instance_blobs(found.file.blob_id, has_frames_blob=False):
            await archive.blobs.get(name)
        assert time_of(found.file.blob_id) <= change.timestamp
