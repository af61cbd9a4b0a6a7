from datetime import UTC, datetime, timedelta

from shared.dicom.blob_names import (
    dicom_blob,
    frames_blob,
    instance_blobs,
    metadata_blob,
    new_blob_id,
    series_document_blob,
)
from shared.dicom.resource import ResourcePath
from shared.ports import Committed, DeletedBlobs, Index, Partition, SeriesState
from tests.contracts.index_data import new_instance, path, study_uid, with_frames

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=3)


async def _due(index: Index, now: datetime = LATER) -> set[str]:
    return {name for row in await index.due_blobs(now, 1000) for name in row.names}


async def _only_series(index: Index, partition: Partition) -> SeriesState:
    [series] = await index.series(partition, path(1, 1, None))
    return series


async def test_deleting_gives_what_was_removed(index: Index, partition: Partition) -> None:
    items = [new_instance(path(1, number, 1)) for number in (1, 2)]
    await index.commit(partition, [*items, new_instance(path(2))])
    removed = await index.delete(partition, ResourcePath(study_uid()), LATER)
    assert [(item.path, item.file) for item in removed] == [
        (item.path, item.file) for item in items
    ]
    assert await index.delete(partition, ResourcePath(study_uid()), LATER) == []
    assert await index.find_instance(partition, path(2)) is not None


async def test_deleting_a_series_leaves_the_others(index: Index, partition: Partition) -> None:
    paths = [path(1, 1, 1), path(1, 1, 2), path(1, 2, 1)]
    await index.commit(partition, [new_instance(item) for item in paths])
    await index.delete(partition, path(1, 1, None), LATER)
    remaining = index.instances(partition, ResourcePath(study_uid()))
    assert [item.path async for item in remaining] == [path(1, 2, 1)]
    assert await index.series(partition, path(1, 1, None)) == []


async def test_deleting_the_last_instance_removes_series_and_study(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance()])
    await index.delete(partition, path(), LATER)
    assert await index.series(partition, ResourcePath(study_uid())) == []
    assert await index.version(partition, ResourcePath(study_uid())) is None


async def test_a_deletion_in_one_partition_leaves_the_other(
    index: Index, partition: Partition
) -> None:
    other = await index.create_partition("other")
    await index.commit(partition, [new_instance()])
    await index.commit(other, [new_instance()])
    await index.delete(other, ResourcePath(study_uid()), LATER)
    assert await index.find_instance(partition, path()) is not None


async def test_a_deleted_instance_can_be_stored_again(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance()])
    await index.delete(partition, path(), LATER)
    [outcome] = await index.commit(partition, [again := new_instance()])
    found = await index.find_instance(partition, path())
    assert isinstance(outcome, Committed)
    assert found is not None
    assert found.file == again.file


async def test_a_series_stored_again_has_another_key(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance()])
    before = await _only_series(index, partition)
    await index.delete(partition, path(), LATER)
    await index.commit(partition, [new_instance()])
    after = await _only_series(index, partition)
    assert after.key != before.key
    assert await index.series_members(before, 0) == []


async def test_the_blobs_of_deleted_instances_wait_until_their_time(
    index: Index, partition: Partition
) -> None:
    plain, big = new_instance(path(1, 1, 1)), with_frames(new_instance(path(1, 1, 2)), "blob")
    await index.commit(partition, [plain, big])
    await index.delete(partition, ResourcePath(study_uid()), LATER)
    assert await _due(index, LATER - timedelta(seconds=1)) == set()
    assert await _due(index, LATER) == {
        *instance_blobs(plain.file.blob_id, has_frames_blob=False),
        dicom_blob(big.file.blob_id),
        metadata_blob(big.file.blob_id),
        frames_blob(big.file.blob_id),
    }


async def test_due_blobs_come_oldest_first_and_are_forgotten(index: Index) -> None:
    times = [NOW - timedelta(hours=hours) for hours in (1, 3, 2)]
    for number, until in enumerate(times):
        await index.add_deleted_blobs([f"dicom/{number}"], until)
    await index.add_deleted_blobs(["dicom/later"], LATER)
    assert await index.waiting_blobs() == 4
    rows = await index.due_blobs(NOW, 2)
    assert [row.names for row in rows] == [("dicom/1",), ("dicom/2",)]
    await index.forget_blobs([row.key for row in rows])
    assert await index.waiting_blobs() == 2
    assert [row.names for row in await index.due_blobs(NOW, 9)] == [("dicom/0",)]


async def test_postponed_blobs_are_due_when_their_new_time_has_come(index: Index) -> None:
    await index.add_deleted_blobs(["dicom/1", "dicom/2", "dicom/3"], NOW)
    rows = await index.due_blobs(NOW, 2)
    await index.postpone_blobs([row.key for row in rows], LATER)
    assert await _due(index, NOW) == {"dicom/3"}
    assert await _due(index, LATER - timedelta(seconds=1)) == {"dicom/3"}
    assert await _due(index, LATER) == {"dicom/1", "dicom/2", "dicom/3"}


async def test_adding_and_forgetting_no_blobs_is_no_error(index: Index) -> None:
    await index.add_deleted_blobs([], NOW)
    await index.forget_blobs([])
    await index.postpone_blobs([], LATER)
    assert await index.due_blobs(NOW, 9) == []


async def test_blobs_are_known_while_an_instance_names_them_or_they_wait(
    index: Index, partition: Partition
) -> None:
    kept, deleted = new_instance(path(1)), new_instance(path(2))
    await index.commit(partition, [kept, deleted])
    await index.delete(partition, path(2), LATER)
    failed, orphan = new_blob_id(), new_blob_id()
    await index.add_deleted_blobs(instance_blobs(failed, has_frames_blob=True), LATER)
    asked = [kept.file.blob_id, deleted.file.blob_id, failed, orphan]
    assert await index.known_blob_ids(asked) == set(asked) - {orphan}
    assert await index.known_blob_ids([]) == frozenset()


async def test_many_blob_ids_are_asked_for_at_once(index: Index, partition: Partition) -> None:
    items = [new_instance(path(1, 1, number)) for number in range(3)]
    await index.commit(partition, items)
    known = [item.file.blob_id for item in items]
    unknown = [new_blob_id() for _ in range(5000)]
    assert await index.known_blob_ids([*unknown, *known]) == set(known)


async def test_a_series_document_is_recorded(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance()])
    series = await _only_series(index, partition)
    assert await index.record_series_document(series, series.revision, 1, LATER)
    recorded = await _only_series(index, partition)
    assert (recorded.document_revision, recorded.document_count) == (series.revision, 1)
    assert await index.due_blobs(LATER, 9) == []


async def test_a_superseded_series_document_waits_for_its_removal(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(path(1, 1, 1))])
    old = await _only_series(index, partition)
    await index.record_series_document(old, old.revision, 1, LATER)
    await index.commit(partition, [new_instance(path(1, 1, 2))])
    new = await _only_series(index, partition)
    assert await index.record_series_document(new, new.revision, 2, LATER)
    [row] = await index.due_blobs(LATER, 9)
    assert row == DeletedBlobs(row.key, (series_document_blob(new.key, old.revision),))


async def test_an_older_series_document_is_not_recorded(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance(path(1, 1, number)) for number in range(2)])
    series = await _only_series(index, partition)
    assert await index.record_series_document(series, 2, 2, LATER)
    assert not await index.record_series_document(series, 1, 1, LATER)
    assert (await _only_series(index, partition)).document_revision == 2


async def test_recording_the_same_series_document_twice_keeps_it(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance()])
    series = await _only_series(index, partition)
    assert await index.record_series_document(series, series.revision, 1, LATER)
    assert await index.record_series_document(series, series.revision, 1, LATER)
    assert await index.due_blobs(LATER, 9) == []


async def test_the_document_of_a_series_that_is_gone_is_not_recorded(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance()])
    series = await _only_series(index, partition)
    await index.delete(partition, path(), LATER)
    assert not await index.record_series_document(series, series.revision, 1, LATER)


async def test_the_document_of_a_deleted_series_waits_for_its_removal(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance()])
    series = await _only_series(index, partition)
    await index.record_series_document(series, series.revision, 1, LATER)
    await index.delete(partition, path(), LATER)
    assert series_document_blob(series.key, series.revision) in await _due(index)


async def test_what_was_deleted_is_told_from_what_never_was(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(path(1, 1, 1)), new_instance(path(1, 2, 1))])
    await index.delete(partition, path(1, 1, 1), LATER)

    gone = [ResourcePath(study_uid()), path(1, 1, None), path(1, 1, 1)]
    never = [ResourcePath(study_uid(2)), path(1, 2, None), path(1, 1, 2), path(2, 1, 1)]
    assert [await index.has_deletion(partition, item) for item in gone] == [True, True, True]
    assert [await index.has_deletion(partition, item) for item in never] == [False] * 4
    other = await index.create_partition("other")
    assert [await index.has_deletion(other, item) for item in gone] == [False, False, False]
