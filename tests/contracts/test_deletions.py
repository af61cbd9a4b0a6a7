"""What was deleted is brought back as it was, or not at all."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.sql_deletions import SqlDeletions
from shared.adapters.sql_index.index import SqlIndex
from shared.dicom.blob_names import dicom_blob, instance_blobs, metadata_blob, new_blob_id
from shared.dicom.resource import Level, ResourcePath
from shared.dicomweb.query import parse_query
from shared.errors import ConflictError
from shared.ports import (
    BlobUse,
    ChangeAction,
    Deletions,
    Head,
    Index,
    InstanceState,
    NewInstance,
    Partition,
)
from tests.contracts.index_data import new_instance, path, study_uid

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=3)
STUDY = ResourcePath(study_uid())


@pytest.fixture
def deletions(sql_index: SqlIndex) -> Deletions:
    return SqlDeletions(sql_index)


@pytest.fixture
async def deleted(index: Index, partition: Partition) -> list[NewInstance]:
    """Three instances of a study that is deleted."""
    items = [new_instance(path(1, number, 1)) for number in (2, 1, 3)]
    await index.commit(partition, items)
    await index.delete(partition, STUDY, LATER)
    return items


def updated(item: NewInstance) -> NewInstance:
    return replace(item, file=replace(item.file, head=Head(new_blob_id(), 500, 400)))


async def test_a_deleted_study_is_what_it_was(
    index: Index, deletions: Deletions, partition: Partition, deleted: list[NewInstance]
) -> None:
    found = await deletions.of_study(partition, study_uid())
    assert [(item.path, item.blob_id, item.metadata_id) for item in found] == [
        (item.path, item.file.blob_id, item.file.blob_id) for item in deleted
    ]
    assert not any(item.is_stored for item in found)

    assert await deletions.restore(partition, deleted) == []

    stored = [item async for item in index.instances(partition, STUDY)]
    assert [(item.path, item.file) for item in stored] == [
        (item.path, item.file) for item in deleted
    ]
    [study] = (
        await index.search(partition, parse_query([("PatientID", "12345")], Level.STUDY, version=2))
    ).results
    assert study.path == STUDY
    assert await deletions.of_study(partition, study_uid()) == []
    assert await index.waiting_blobs() == 0
    changes = await index.changes(6, 10)
    assert [change.action for change in changes] == [ChangeAction.CREATE] * 3
    assert {change.state for change in changes} == {InstanceState.CURRENT}


async def test_to_restore_again_changes_nothing(
    index: Index, deletions: Deletions, partition: Partition, deleted: list[NewInstance]
) -> None:
    for _ in range(2):
        assert await deletions.restore(partition, deleted) == []
    assert len(await index.changes(0, 100)) == 9


async def test_what_was_deleted_last_of_an_instance_is_found(
    index: Index, deletions: Deletions, partition: Partition
) -> None:
    first, second, other = new_instance(), new_instance(), new_instance(path(1, 1, 2))
    await index.commit(partition, [first, other])
    await index.delete(partition, STUDY, LATER)
    await index.commit(partition, [second])
    await index.delete(partition, STUDY, LATER)
    found = await deletions.of_study(partition, study_uid())
    assert [item.blob_id for item in found] == [other.file.blob_id, second.file.blob_id]


async def test_an_updated_instance_comes_back_with_its_head(
    index: Index, deletions: Deletions, partition: Partition
) -> None:
    item = updated(new_instance())
    assert item.file.head is not None
    await index.commit(partition, [item])
    await index.delete(partition, STUDY, LATER)
    head_id = item.file.head.blob_id

    assert await index.known_blob_ids([head_id, item.file.blob_id]) == {head_id, item.file.blob_id}
    [found] = await deletions.of_study(partition, study_uid())
    assert (found.blob_id, found.metadata_id) == (item.file.blob_id, head_id)
    as_stored = replace(item, file=item.file.as_stored)
    assert await deletions.restore(partition, [as_stored]) == [item.file.blob_id]
    assert await deletions.restore(partition, [item]) == []
    stored = await index.find_instance(partition, path())
    assert stored is not None
    assert stored.file == item.file


async def test_the_blobs_of_an_updated_instance_go_together(
    index: Index, partition: Partition
) -> None:
    item = updated(new_instance())
    assert item.file.head is not None
    await index.commit(partition, [item])
    await index.delete(partition, STUDY, LATER)
    head_id = item.file.head.blob_id
    [due] = await index.due_blobs(LATER, 10)
    assert set(due.names) == {
        *instance_blobs(item.file.blob_id, has_frames_blob=False),
        dicom_blob(head_id),
        metadata_blob(head_id),
    }


async def test_what_is_there_again_stays_and_nothing_is_put_beside_it(
    index: Index, deletions: Deletions, partition: Partition, deleted: list[NewInstance]
) -> None:
    again = new_instance(deleted[0].path)
    await index.commit(partition, [again])
    found = await deletions.of_study(partition, study_uid())
    assert [item.is_stored for item in found] == [True, False, False]

    assert await deletions.restore(partition, deleted) == [deleted[0].file.blob_id]
    stored = [item.file.blob_id async for item in index.instances(partition, STUDY)]
    assert stored == [again.file.blob_id]
    assert await deletions.restore(partition, deleted[1:]) == []


async def test_what_was_replaced_is_not_what_was_deleted(
    index: Index, deletions: Deletions, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(content=b"1")])
    await index.commit(partition, [new_instance(content=b"2")], replaced_until=LATER)
    assert await deletions.of_study(partition, study_uid()) == []


@pytest.mark.usefixtures("deleted")
async def test_another_partition_has_nothing_to_bring_back(
    index: Index, deletions: Deletions
) -> None:
    other = await index.create_partition("other")
    assert await deletions.of_study(other, study_uid()) == []


async def test_once_their_removal_has_begun_nothing_comes_back(
    index: Index, deletions: Deletions, partition: Partition, deleted: list[NewInstance]
) -> None:
    assert len(await index.due_blobs(LATER, 2)) == 2
    assert len(await deletions.of_study(partition, study_uid())) == 1
    assert len(await deletions.restore(partition, deleted)) == 2
    assert await index.version(partition, STUDY) is None
    assert len(await index.due_blobs(LATER, 10)) == 3, "it is begun anew where it was cut short"


async def test_of_a_restoration_and_a_removal_one_comes_first(
    index: Index, deletions: Deletions, partition: Partition
) -> None:
    items = [new_instance(path(1, 1, number)) for number in range(40)]
    await index.commit(partition, items)
    await index.delete(partition, STUDY, LATER)

    removing = asyncio.create_task(_remove(index))
    refused = [await deletions.restore(partition, [item]) for item in items]
    removed = await removing

    stored = {item.file.blob_id async for item in index.instances(partition, STUDY)}
    assert stored == {item.file.blob_id for item in items} - removed
    assert {blob_id for one in refused for blob_id in one} == removed


async def _remove(index: Index) -> set[str]:
    removed: set[str] = set()
    for _ in range(10):
        rows = await index.due_blobs(LATER, 2)
        removed |= {row.names[0].rpartition("/")[2] for row in rows}
        await index.forget_blobs([row.key for row in rows])
    return removed


async def test_nothing_is_deleted_that_is_not_noted(index: Index, partition: Partition) -> None:
    noted, other = new_instance(), new_instance(path(1, 1, 2))
    await index.commit(partition, [noted, other])
    with pytest.raises(ConflictError):
        await index.delete(partition, STUDY, LATER, noted={noted.file.blob_id})
    assert len([item async for item in index.instances(partition, STUDY)]) == 2
    both = {noted.file.blob_id, other.file.blob_id, "0" * 32}
    assert len(await index.delete(partition, STUDY, LATER, noted=both)) == 2


async def test_what_others_would_replace_is_told(
    index: Index, deletions: Deletions, partition: Partition
) -> None:
    same, changed = new_instance(path(1, 1, 1)), new_instance(path(1, 1, 2))
    held = updated(new_instance(path(1, 1, 3)))
    await index.commit(partition, [same, changed, held])
    others = [
        new_instance(same.path),
        new_instance(changed.path, content=b"other"),
        new_instance(held.path),
        new_instance(path(1, 1, 4)),
        new_instance(path(2, 1, 1)),
    ]
    replaced = await deletions.replaced_by(partition, others)
    assert set(replaced) == {changed.file.blob_id, held.file.blob_id}


async def test_blobs_are_stored_or_waiting_or_gone(
    index: Index, deletions: Deletions, partition: Partition, deleted: list[NewInstance]
) -> None:
    stored = new_instance()
    await index.commit(partition, [stored])
    ids = [stored.file.blob_id, deleted[0].file.blob_id, "0" * 32]
    assert await deletions.uses(ids) == {
        stored.file.blob_id: BlobUse.STORED,
        deleted[0].file.blob_id: BlobUse.WAITING,
    }
