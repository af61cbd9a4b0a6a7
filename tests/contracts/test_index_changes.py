import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from shared.dicom.resource import ResourcePath
from shared.ports import Change, ChangeAction, Index, InstanceState, Partition
from tests.contracts.index_data import new_instance, path, study_uid

NOW = datetime.now(UTC)
FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


def _states(changes: "list[Change]") -> list[tuple[ChangeAction, InstanceState]]:
    return [(change.action, change.state) for change in changes]


async def _all(index: Index) -> list[Change]:
    return list(await index.changes(0, 1000))


async def test_an_empty_archive_has_no_changes(index: Index) -> None:
    assert await index.changes(0, 10) == []
    assert await index.latest_change() is None
    assert await index.number_changes() == 0


async def test_a_stored_instance_is_a_current_creation(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance()])
    [change] = await _all(index)
    assert _states([change]) == [(ChangeAction.CREATE, InstanceState.CURRENT)]
    assert (change.sequence, change.partition_name) == (1, partition.name)
    assert change.path == path()
    assert change.timestamp.tzinfo is UTC
    assert abs((datetime.now(UTC) - change.timestamp).total_seconds()) < 60


async def test_every_change_of_a_deleted_instance_reads_deleted(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(path(1, 1, 1)), new_instance(path(1, 1, 2))])
    await index.delete(partition, path(1, 1, 1), NOW)
    assert _states(await _all(index)) == [
        (ChangeAction.CREATE, InstanceState.DELETED),
        (ChangeAction.CREATE, InstanceState.CURRENT),
        (ChangeAction.DELETE, InstanceState.DELETED),
    ]


async def test_changes_before_a_second_creation_read_replaced(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance()])
    await index.delete(partition, path(), NOW)
    await index.commit(partition, [new_instance()])
    assert _states(await _all(index)) == [
        (ChangeAction.CREATE, InstanceState.REPLACED),
        (ChangeAction.DELETE, InstanceState.REPLACED),
        (ChangeAction.CREATE, InstanceState.CURRENT),
    ]


async def test_an_instance_of_another_partition_does_not_count(
    index: Index, partition: Partition
) -> None:
    other = await index.create_partition("other")
    await index.commit(partition, [new_instance()])
    await index.delete(partition, path(), NOW)
    await index.commit(other, [new_instance()])
    assert [(change.partition_name, change.state) for change in await _all(index)] == [
        (partition.name, InstanceState.DELETED),
        (partition.name, InstanceState.DELETED),
        ("other", InstanceState.CURRENT),
    ]


async def test_deleting_a_study_is_one_change_for_each_instance(
    index: Index, partition: Partition
) -> None:
    paths = [path(1, number, 1) for number in range(3)]
    await index.commit(partition, [new_instance(item) for item in paths])
    await index.delete(partition, ResourcePath(study_uid()), NOW)
    changes = await index.changes(3, 1000)
    assert [change.path for change in changes] == paths
    assert {change.action for change in changes} == {ChangeAction.DELETE}


async def test_a_refused_instance_is_no_change(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance()])
    await index.commit(partition, [new_instance()])
    assert len(await _all(index)) == 1


async def test_changes_are_read_in_pages(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance(path(1, 1, number)) for number in range(5)])
    assert [change.sequence for change in await index.changes(0, 2)] == [1, 2]
    assert [change.sequence for change in await index.changes(2, 2)] == [3, 4]
    assert [change.sequence for change in await index.changes(4, 2)] == [5]
    assert await index.changes(5, 2) == []


async def _of_three_moments(index: Index, partition: Partition) -> list[Change]:
    """Six changes, numbered two at a time."""
    for number in (1, 3, 5):
        await index.commit(partition, [new_instance(path(number + n)) for n in (0, 1)])
        await index.number_changes()
        await asyncio.sleep(0.002)
    changes = await _all(index)
    assert [change.sequence for change in changes] == [1, 2, 3, 4, 5, 6]
    assert changes[1].timestamp < changes[2].timestamp < changes[4].timestamp
    return changes


async def test_a_window_has_its_start_and_not_its_end(index: Index, partition: Partition) -> None:
    changes = await _of_three_moments(index, partition)
    first, second, third = (changes[n].timestamp for n in (0, 2, 4))
    tick = timedelta(microseconds=1)
    for start, end, expected in [
        (FIRST_MOMENT, LAST_MOMENT, [1, 2, 3, 4, 5, 6]),
        (first, third, [1, 2, 3, 4]),
        (second, third, [3, 4]),
        (second, second + tick, [3, 4]),
        (first + tick, second, []),
        (first + tick, third + tick, [3, 4, 5, 6]),
        (third + tick, LAST_MOMENT, []),
        (FIRST_MOMENT, first, []),
    ]:
        found = await index.changes_in_window(start, end, 0, 100)
        assert [change.sequence for change in found] == expected


async def test_a_window_is_read_in_pages(index: Index, partition: Partition) -> None:
    changes = await _of_three_moments(index, partition)
    window = changes[2].timestamp, LAST_MOMENT
    pages = [await index.changes_in_window(*window, offset, 3) for offset in (0, 3, 4, 1 << 62)]
    assert [[change.sequence for change in page] for page in pages] == [[3, 4, 5], [6], [], []]
    closed = await index.changes_in_window(window[0], changes[4].timestamp, 1, 3)
    assert [change.sequence for change in closed] == [4]


async def test_a_window_numbers_what_is_new_first(index: Index, partition: Partition) -> None:
    before = datetime.now(UTC)
    await index.commit(partition, [new_instance()])
    [change] = await index.changes_in_window(before, LAST_MOMENT, 0, 10)
    assert change.sequence == 1
    assert await index.changes_in_window(before, before, 0, 10) == []


async def test_a_change_names_the_blobs_of_what_is_there_now(
    index: Index, partition: Partition
) -> None:
    first, second = new_instance(), new_instance(content=b"other")
    await index.commit(partition, [first])
    await index.commit(partition, [second], replaced_until=NOW)
    assert [change.blob_id for change in await _all(index)] == [second.file.blob_id] * 2
    await index.delete(partition, path(), NOW)
    assert [change.blob_id for change in await _all(index)] == [None] * 3


async def test_the_latest_change_is_the_last_one(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance(path(number)) for number in (1, 2)])
    latest = await index.latest_change()
    assert latest is not None
    assert (latest.sequence, latest.path) == (2, path(2))


async def test_numbering_counts_what_it_numbers(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance(path(number)) for number in (1, 2)])
    assert await index.number_changes() == 2
    assert await index.number_changes() == 0


async def test_the_feed_has_no_gaps_while_many_write_and_read(
    index: Index, partition: Partition
) -> None:
    seen: list[Change] = []

    async def write(task: int) -> None:
        for number in range(20):
            await index.commit(partition, [new_instance(path(task, 1, number))])
            if number % 5 == 4:
                await index.delete(partition, path(task, 1, number), NOW)

    async def follow() -> None:
        while len(seen) < 6 * 24:
            seen.extend(await index.changes(len(seen), 7))

    await asyncio.gather(follow(), *(write(task) for task in range(6)))
    assert [change.sequence for change in seen] == list(range(1, 6 * 24 + 1))
    assert all(one.timestamp <= other.timestamp for one, other in pairwise(seen))
    assert len(await _all(index)) == len(seen)
