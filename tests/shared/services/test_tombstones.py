"""A crash between a tombstone and the change of the index, then an index rebuilt from blobs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.adapters.sql_deletions import SqlDeletions
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_reindex_table import SqlReindexTable
from shared.adapters.sql_tag_table import SqlTagTable
from shared.dicom.blob_names import metadata_blob
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.ports import DeletedInstance, Partition
from shared.services.delete import Delete
from shared.services.kept_instance import kept_instance
from shared.services.rebuild import Rebuild
from shared.services.restore import Restore
from shared.services.tombstones import sweep_tombstones
from shared.wiring import Services
from tests.archive import blobs_in, open_archive
from tests.builders import dataset, part10
from tests.shared.services.requests import path_of, store

GRACE = timedelta(days=3)


class Killed(BaseException):
    """The process ends here."""


class KilledAt:
    """A store whose process is killed before or after a method has done its work."""

    def __init__(self, store: object, method: str, *, is_done: bool) -> None:
        self._store = store
        self._method = method
        self._is_done = is_done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._method:
            return method

        async def killed(*arguments: Any, **keywords: Any) -> None:
            if self._is_done:
                await method(*arguments, **keywords)
            raise Killed

        return killed


def deletions(services: Services) -> SqlDeletions:
    assert isinstance(services.index, SqlIndex)
    return SqlDeletions(services.index)


async def sweep(services: Services, after: timedelta) -> int:
    return await sweep_tombstones(services.blobs, deletions(services), datetime.now(UTC) + after)


def tombstones(folder: Path) -> list[str]:
    return [name for name in blobs_in(folder) if name.startswith("tombstones/")]


async def rebuild(services: Services) -> None:
    index: Any = services.index
    tables = SqlTagTable(index), SqlReindexTable(index)
    await Rebuild(services.blobs, index, *tables).run()


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
