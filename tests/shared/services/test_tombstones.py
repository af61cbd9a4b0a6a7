"""A crash between a tombstone and the change of the index, then an index rebuilt from blobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydicom.dataset import Dataset

from shared.adapters.sql_deletions import SqlDeletions
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_tag_table import SqlTagTable
from shared.dicom.blob_names import blob_id_of, dicom_blob, metadata_blob
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.errors import StoreUnavailableError
from shared.ports import DeletedInstance, OperationStatus, Partition
from shared.services.delete import Delete
from shared.services.kept_instance import kept_instance
from shared.services.rebuild import Rebuild, Rebuilt
from shared.services.restore import Restore
from shared.services.tombstones import sweep_tombstones
from shared.wiring import Services
from tests.archive import blobs_in, open_archive
from tests.builders import dataset, part10
from tests.shared.services.requests import chunks_of, metadata, path_of, retrieve, store
from tests.shared.services.test_update import NAME, begin, run

GRACE = timedelta(days=3)


class Killed(BaseException):
    """The process ends here."""


class KilledAt:
    """A store whose process is killed before or after a method has done its work, or that errs."""

    def __init__(
        self, store: object, method: str, *, is_done: bool, error: BaseException | None = None
    ) -> None:
        self._store = store
        self._method = method
        self._is_done = is_done
        self._error = error or Killed()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._method:
            return method

        async def killed(*arguments: Any, **keywords: Any) -> None:
            if self._is_done:
                await method(*arguments, **keywords)
            raise self._error

        return killed


def deletions(services: Services) -> SqlDeletions:
    assert isinstance(services.index, SqlIndex)
    return SqlDeletions(services.index)


async def sweep(services: Services, after: timedelta) -> int:
    now = datetime.now(UTC) + after
    return await sweep_tombstones(
        services.blobs, deletions(services), now, orphan_age=services.store.orphan_age
    )


def tombstones(folder: Path) -> list[str]:
    return [name for name in blobs_in(folder) if name.startswith("tombstones/")]


async def rebuild(services: Services) -> Rebuilt:
    index: Any = services.index
    return await Rebuild(services.blobs, index, SqlTagTable(index)).run()


@asynccontextmanager
async def rebuilt(folder: Path) -> AsyncIterator[set[str]]:
    """The SOP Instance UIDs of an index that is rebuilt from the blobs of a folder."""
    async with open_archive(folder) as services:
        await rebuild(services)
        yield {str(change.path.instance) for change in await services.index.changes(0, 100)}


async def _stored(services: Services) -> tuple[Partition, Dataset]:
    partition = await services.partitions.resolve(None, create=True)
    source = dataset()
    await store(services, partition, [part10(source)])
    return partition, source


async def _leave_behind(services: Services, partition: Partition, content: bytes) -> str:
    """What a store leaves that ends before its commit: the blobs of an instance without a row."""
    before = {blob.name async for blob in services.blobs.list("metadata/")}
    index: Any = KilledAt(services.index, "commit", is_done=False)
    killed = replace(services, store=replace(services.store, index=index))
    with pytest.raises(Killed):
        await store(killed, partition, [content])
    [name] = {blob.name async for blob in services.blobs.list("metadata/")} - before
    return name


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_delete_that_is_killed_is_in_the_blobs_as_it_is_in_the_index(
    tmp_path: Path, *, is_done: bool
) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        index: Any = KilledAt(services.index, "delete", is_done=is_done)
        with pytest.raises(Killed):
            await Delete(services.blobs, index, grace=GRACE).delete(partition, path_of(source))
        assert len(tombstones(tmp_path)) == 1
        assert await sweep(services, timedelta(0)) == 0, "it may still be under way"
        await sweep(services, timedelta(hours=2))
    async with rebuilt(tmp_path) as found:
        assert found == (set() if is_done else {source.SOPInstanceUID})


async def test_a_delete_that_is_killed_at_the_index_keeps_out_what_was_deleted_at_once(
    tmp_path: Path,
) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        index: Any = KilledAt(services.index, "delete", is_done=True)
        with pytest.raises(Killed):
            await Delete(services.blobs, index, grace=GRACE).delete(partition, path_of(source))
    async with rebuilt(tmp_path) as found:
        assert found == set()


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_restoration_that_is_killed_is_in_the_blobs_as_it_is_in_the_index(
    tmp_path: Path, *, is_done: bool
) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        await services.delete.delete(partition, path_of(source))
        table: Any = KilledAt(deletions(services), "restore", is_done=is_done)
        restore = Restore(services.blobs, services.index, table, services.store.tag_set)
        with pytest.raises(Killed):
            await restore.restore(partition, Uid(str(source.StudyInstanceUID)))
        assert len(tombstones(tmp_path)) == 2
        await sweep(services, timedelta(hours=2))
        assert len(tombstones(tmp_path)) == (0 if is_done else 1)
    async with rebuilt(tmp_path) as found:
        assert found == ({source.SOPInstanceUID} if is_done else set())


async def test_what_is_restored_is_in_a_rebuilt_index_before_any_sweep(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        for _ in range(2):
            await services.delete.delete(partition, path_of(source))
            await services.restore.restore(partition, Uid(str(source.StudyInstanceUID)))
    async with rebuilt(tmp_path) as found:
        assert found == {source.SOPInstanceUID}


async def test_one_restored_instance_of_many_comes_back_and_the_others_stay_away(
    tmp_path: Path,
) -> None:
    """Of a tombstone that names several, one is withdrawn by another blob as long as it stays."""
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        others = [dataset(StudyInstanceUID=source.StudyInstanceUID) for _ in range(2)]
        await store(services, partition, map(part10, others))
        await services.delete.delete(partition, ResourcePath(path_of(source).study))
        waiting = await deletions(services).of_study(partition, path_of(source).study)
        # Without a note of it, as no service does it: the sweep notes it.
        await _restore_one(services, partition, waiting[0])
        assert await sweep(services, timedelta(hours=2)) == 0
        await sweep(services, timedelta(hours=2))
    async with rebuilt(tmp_path) as found:
        assert found == {source.SOPInstanceUID}


async def _restore_one(services: Services, partition: Partition, item: DeletedInstance) -> None:
    content = await services.blobs.get(metadata_blob(item.metadata_id))
    kept = kept_instance(content, await services.store.tag_set.get())
    assert not await deletions(services).restore(partition, [kept.instance])


async def test_a_tombstone_stays_as_long_as_the_blobs_and_then_goes(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        await services.delete.delete(partition, path_of(source))
        later = GRACE + timedelta(hours=1)
        assert await sweep(services, GRACE - timedelta(hours=1)) == 0
        assert await sweep(services, later) == 0, "the blobs are there"
        await services.cleanup.remove_due(datetime.now(UTC) + later)
        assert await sweep(services, later) == 1
        assert blobs_in(tmp_path) == []
        assert await sweep(services, later) == 0


async def test_a_damaged_tombstone_stays_and_stops_nothing(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        await services.delete.delete(partition, path_of(source))
        [name] = tombstones(tmp_path)
        (tmp_path / name).write_bytes(b"[")
        assert await sweep(services, timedelta(days=30)) == 0
        assert tombstones(tmp_path) == [name]


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_replacement_that_is_killed_is_in_the_blobs_as_it_is_in_the_index(
    tmp_path: Path, *, is_done: bool
) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        old = await services.index.find_instance(partition, path_of(source))
        source.StudyDescription = "Newer"
        index: Any = KilledAt(services.index, "commit", is_done=is_done)
        killed = replace(services, store=replace(services.store, index=index))
        with pytest.raises(Killed):
            await store(killed, partition, [part10(source)], replaces=True)
        await sweep(services, timedelta(hours=2))
    async with open_archive(tmp_path) as services:
        await rebuild(services)
        partition = await services.partitions.resolve(None, create=True)
        found = await services.index.find_instance(partition, path_of(source))
        assert old is not None
        assert found is not None
        assert (found.file.blob_id == old.file.blob_id) is not is_done


def _version_of(source: Dataset, number: int) -> bytes:
    source.StudyDescription = f"Version {number}"
    return part10(source)


async def _is_kept(services: Services, metadata_name: str) -> bool:
    """Whether neither cleanup nor sweeper removes the blobs, however late they come."""
    later = datetime.now(UTC) + timedelta(days=900)
    await services.cleanup.remove_due(later)
    await services.cleanup.sweep(later)
    ids = {blob_id_of(blob.name) async for blob in services.blobs.list("dicom/")}
    return blob_id_of(metadata_name) in ids


@pytest.mark.parametrize("grace", ["0", "259200"])
@pytest.mark.parametrize("is_before", [False, True])
async def test_what_is_deleted_stays_so_beside_blobs_of_a_store_that_ended_before_its_commit(
    tmp_path: Path, grace: str, *, is_before: bool
) -> None:
    source = dataset()
    async with open_archive(tmp_path, DELETED_BLOB_GRACE_SECONDS=grace) as services:
        partition = await services.partitions.resolve(None, create=True)
        if is_before:
            left = await _leave_behind(services, partition, part10(source))
        await store(services, partition, [part10(source)])
        if not is_before:
            left = await _leave_behind(services, partition, part10(source))
        await services.delete.delete(partition, path_of(source))
        await services.cleanup.remove_due(datetime.now(UTC))
        await sweep(services, timedelta(hours=2))
    async with open_archive(tmp_path) as services:
        outcome = await rebuild(services)
        assert (outcome.instances, outcome.doubtful) == (0, (left,))
        assert await _is_kept(services, left)


async def test_what_is_stored_again_after_its_deletion_is_put_back(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        await services.delete.delete(partition, path_of(source))
        await store(services, partition, [part10(source)])
    async with rebuilt(tmp_path) as found:
        assert found == {source.SOPInstanceUID}


@pytest.mark.parametrize("is_killed_first", [False, True])
async def test_what_replaced_another_is_put_back_beside_what_a_killed_store_left(
    tmp_path: Path, *, is_killed_first: bool
) -> None:
    source = dataset()
    old, left_behind, new = (_version_of(source, number) for number in range(3))
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        if is_killed_first:
            left = await _leave_behind(services, partition, left_behind)
        await store(services, partition, [old])
        if not is_killed_first:
            left = await _leave_behind(services, partition, left_behind)
        await store(services, partition, [new], replaces=True)
    async with open_archive(tmp_path) as services:
        outcome = await rebuild(services)
        assert (outcome.instances, outcome.doubtful) == (1, (left,))
        partition = await services.partitions.resolve(None, create=True)
        assert await retrieve(services, partition, path_of(source)) == [new]
        assert await _is_kept(services, left)
        assert await retrieve(services, partition, path_of(source)) == [new]


async def test_what_replaced_a_younger_one_is_put_back(tmp_path: Path) -> None:
    """Its blobs were written first, and its request went on while the other came and went."""
    source = dataset()
    slow, quick = _version_of(source, 1), _version_of(source, 2)
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)

        async def bodies() -> AsyncIterator[AsyncIterator[bytes]]:
            yield chunks_of(slow)
            while not [blob async for blob in services.blobs.list("metadata/")]:
                await asyncio.sleep(0.01)
            await store(services, partition, [quick])

        await services.store.store(partition, bodies(), version=2, replaces=True)
        assert await retrieve(services, partition, path_of(source)) == [slow]
    async with open_archive(tmp_path) as services:
        assert (await rebuild(services)).instances == 1
        partition = await services.partitions.resolve(None, create=True)
        assert await retrieve(services, partition, path_of(source)) == [slow]


async def test_the_last_of_one_instance_in_one_request_is_put_back(tmp_path: Path) -> None:
    source = dataset()
    files = [_version_of(source, number) for number in (0, 1, 2, 2)]
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        await store(services, partition, files[:1])
        await store(services, partition, files[1:], replaces=True)
    async with open_archive(tmp_path) as services:
        outcome = await rebuild(services)
        assert (outcome.instances, outcome.doubtful) == (1, ())
        partition = await services.partitions.resolve(None, create=True)
        assert await retrieve(services, partition, path_of(source)) == [files[-1]]


async def test_what_is_restored_is_put_back_beside_what_a_killed_store_left(tmp_path: Path) -> None:
    source = dataset()
    left_behind, content = _version_of(source, 1), _version_of(source, 2)
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        left = await _leave_behind(services, partition, left_behind)
        await store(services, partition, [content])
        await services.delete.delete(partition, path_of(source))
        await services.restore.restore(partition, Uid(str(source.StudyInstanceUID)))
    async with open_archive(tmp_path) as services:
        assert (await rebuild(services)).doubtful == (left,)
        partition = await services.partitions.resolve(None, create=True)
        assert await retrieve(services, partition, path_of(source)) == [content]


async def test_a_deletion_in_one_partition_says_nothing_of_another(tmp_path: Path) -> None:
    source = dataset()
    async with open_archive(tmp_path) as services:
        for name in ("ward-a", "ward-b"):
            partition = await services.partitions.resolve(name, create=True)
            await store(services, partition, [part10(source)])
        await services.delete.delete(partition, path_of(source))
    async with open_archive(tmp_path) as services:
        assert (await rebuild(services)).instances == 1
        partition = await services.partitions.resolve("ward-a", create=True)
        assert await services.index.find_instance(partition, path_of(source))


async def test_a_tombstone_without_paths_is_read_as_before(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        await services.delete.delete(partition, path_of(source))
        [name] = tombstones(tmp_path)
        told = orjson.loads((tmp_path / name).read_bytes())
        (tmp_path / name).write_bytes(orjson.dumps({k: told[k] for k in ("until", "blobIds")}))
        await sweep(services, timedelta(hours=2))
    async with rebuilt(tmp_path) as found:
        assert found == set()


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"until":null,"blobIds":[]}', b"\xff"])
async def test_a_tombstone_of_other_content_stays_and_stops_nothing(
    tmp_path: Path, content: bytes
) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        await services.delete.delete(partition, path_of(source))
        [name] = tombstones(tmp_path)
        (tmp_path / name).write_bytes(content)
        assert await sweep(services, timedelta(days=30)) == 0
        assert tombstones(tmp_path) == [name]
    async with open_archive(tmp_path) as services:
        assert (await rebuild(services)).damaged == (name,)


async def _update(services: Services, source: Dataset) -> None:
    operation = await run(services, await begin(services, source.StudyInstanceUID))
    assert operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize("is_same", [False, True])
async def test_what_was_updated_is_put_back_beside_what_a_killed_store_left(
    tmp_path: Path, *, is_same: bool
) -> None:
    source = dataset()
    left_behind, content = _version_of(source, 1), _version_of(source, 2)
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        left = await _leave_behind(services, partition, content if is_same else left_behind)
        await store(services, partition, [content])
        await _update(services, source)
    async with open_archive(tmp_path) as services:
        outcome = await rebuild(services)
        assert (outcome.instances, outcome.doubtful) == (1, (left,))
        partition = await services.partitions.resolve(None, create=True)
        [document] = await metadata(services, partition, path_of(source))
        assert document["00100010"] == NAME["00100010"]
        assert await _is_kept(services, left)


@pytest.mark.parametrize("damage", ["its head is not readable", "its file is gone"])
async def test_all_that_is_left_of_an_updated_instance_is_kept_for_repair(
    tmp_path: Path, damage: str
) -> None:
    async with open_archive(tmp_path) as services:
        partition, source = await _stored(services)
        await _update(services, source)
        found = await services.index.find_instance(partition, path_of(source))
        assert found is not None
        name = metadata_blob(found.file.metadata_id)
        if damage == "its file is gone":
            (tmp_path / dicom_blob(found.file.blob_id)).unlink()
        else:
            (tmp_path / name).write_bytes(b"rubbish")
    async with open_archive(tmp_path) as services:
        outcome = await rebuild(services)
        assert (outcome.instances, outcome.damaged) == (0, (name,))
        left = {name for name in blobs_in(tmp_path) if name.startswith(("dicom", "metadata"))}
        later = datetime.now(UTC) + timedelta(days=900)
        await services.cleanup.remove_due(later)
        assert await services.cleanup.sweep(later) == 0
        assert left < set(blobs_in(tmp_path))


async def _get_no_answer(
    services: Services,
    partition: Partition,
    content: bytes,
    *,
    replaces: bool = False,
    is_done: bool = False,
) -> str:
    """Store while the index does not answer, and give what is left of it."""
    before = {blob.name async for blob in services.blobs.list("metadata/")}
    error = StoreUnavailableError("The index does not answer.")
    index: Any = KilledAt(services.index, "commit", is_done=is_done, error=error)
    away = replace(services, store=replace(services.store, index=index))
    with pytest.raises(StoreUnavailableError):
        await store(away, partition, [content], replaces=replaces)
    [name] = {blob.name async for blob in services.blobs.list("metadata/")} - before
    return name


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("is_first", [False, True])
async def test_what_was_answered_is_put_back_rather_than_what_was_not(
    tmp_path: Path, *, is_first: bool, replaces: bool
) -> None:
    source = dataset()
    refused, content = _version_of(source, 1), _version_of(source, 2)
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        if is_first:
            left = await _get_no_answer(services, partition, refused)
        await store(services, partition, [content], replaces=replaces)
        if not is_first:
            left = await _get_no_answer(services, partition, refused)
        await sweep(services, timedelta(hours=2))
    async with open_archive(tmp_path) as services:
        outcome = await rebuild(services)
        assert (outcome.instances, outcome.doubtful) == (1, (left,))
        partition = await services.partitions.resolve(None, create=True)
        assert await retrieve(services, partition, path_of(source)) == [content]


async def test_what_was_stored_without_an_answer_is_put_back_and_the_note_of_it_goes(
    tmp_path: Path,
) -> None:
    source, other = dataset(), dataset()
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        await _get_no_answer(services, partition, part10(source), is_done=True)
        await store(services, partition, [part10(other)])
        assert len(tombstones(tmp_path)) == 1
        assert await sweep(services, services.store.orphan_age) == 0
    async with rebuilt(tmp_path) as found:
        assert found == {source.SOPInstanceUID, other.SOPInstanceUID}
    async with open_archive(tmp_path) as services:
        assert await sweep(services, 2 * services.store.orphan_age + timedelta(minutes=1)) == 1
        assert tombstones(tmp_path) == []


@pytest.mark.parametrize("is_done", [False, True])
async def test_what_was_replaced_without_an_answer_is_kept(
    tmp_path: Path, *, is_done: bool
) -> None:
    source = dataset()
    content, refused = _version_of(source, 1), _version_of(source, 2)
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        await store(services, partition, [content])
        [first] = [blob.name async for blob in services.blobs.list("metadata/")]
        await _get_no_answer(services, partition, refused, replaces=True, is_done=is_done)
    async with open_archive(tmp_path) as services:
        outcome = await rebuild(services)
        assert (outcome.instances, outcome.doubtful) == (1, (first,))
        assert await _is_kept(services, first)
        partition = await services.partitions.resolve(None, create=True)
        assert await retrieve(services, partition, path_of(source)) == [refused]
