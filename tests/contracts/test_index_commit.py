import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from shared.adapters.sql_index.commit import commit_all
from shared.adapters.sql_index.index import SqlIndex
from shared.dicom.resource import ResourcePath
from shared.ports import AlreadyStored, Committed, Index, Partition, Version
from tests.contracts.index_data import new_instance, path, study_uid, with_frames

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)


async def test_a_committed_instance_is_found_as_it_was_given(
    index: Index, partition: Partition
) -> None:
    item = with_frames(new_instance(), '{"a":1}')
    [outcome] = await index.commit(partition, [item])
    found = await index.find_instance(partition, item.path)
    assert found is not None
    assert isinstance(outcome, Committed)
    assert (found.path, found.file, found.watermark) == (item.path, item.file, outcome.watermark)


async def test_outcomes_come_in_the_order_given(index: Index, partition: Partition) -> None:
    await index.commit(partition, [held := new_instance(path(1, 1, 2))])
    outcomes = await index.commit(
        partition,
        [new_instance(path(3)), new_instance(path(1, 1, 2)), new_instance(path(1, 1, 1))],
    )
    first, second, third = outcomes
    assert second == AlreadyStored(held.file.blob_id, held.file.sha256)
    assert isinstance(first, Committed)
    assert isinstance(third, Committed)
    assert first.watermark < third.watermark


async def test_committing_nothing_is_no_error(index: Index, partition: Partition) -> None:
    assert list(await index.commit(partition, [])) == []


async def test_an_instance_that_exists_stays_as_it_is(index: Index, partition: Partition) -> None:
    first, second = new_instance(content=b"1"), new_instance(content=b"2")
    await index.commit(partition, [first])
    [outcome] = await index.commit(partition, [second])
    found = await index.find_instance(partition, path())
    assert outcome == AlreadyStored(first.file.blob_id, first.file.sha256)
    assert found is not None
    assert found.file == first.file


async def test_a_commit_repeated_after_a_lost_reply_succeeds(
    index: Index, partition: Partition
) -> None:
    items = [new_instance(path(1, 1, number)) for number in range(3)]
    outcomes = await index.commit(partition, items)
    assert await index.commit(partition, items) == outcomes
    assert len(await index.changes(0, 10)) == 3


async def test_of_an_instance_twice_in_a_batch_the_first_is_stored(
    index: Index, partition: Partition
) -> None:
    first, second = new_instance(content=b"1"), new_instance(content=b"2")
    outcomes = await index.commit(partition, [first, second])
    assert isinstance(outcomes[0], Committed)
    assert outcomes[1] == AlreadyStored(first.file.blob_id, first.file.sha256)


async def test_one_instance_under_two_studies_is_two(index: Index, partition: Partition) -> None:
    one = path(1, 1, 1)
    other = ResourcePath(study_uid(2), one.series, one.instance)
    outcomes = await index.commit(partition, [new_instance(one), new_instance(other)])
    assert all(isinstance(outcome, Committed) for outcome in outcomes)


async def test_partitions_do_not_see_each_other(index: Index, partition: Partition) -> None:
    other = await index.create_partition("other")
    await index.commit(partition, [new_instance()])
    assert await index.find_instance(other, path()) is None
    [outcome] = await index.commit(other, [new_instance()])
    assert isinstance(outcome, Committed)


async def test_of_racing_commits_of_one_instance_one_wins(
    index: Index, partition: Partition
) -> None:
    items = [new_instance() for _ in range(20)]
    outcomes = await asyncio.gather(*(index.commit(partition, [item]) for item in items))
    found = await index.find_instance(partition, path())
    assert found is not None
    winners = [
        item.file
        for item, [outcome] in zip(items, outcomes, strict=True)
        if isinstance(outcome, Committed)
    ]
    assert winners == [found.file]
    losers = [outcome for [outcome] in outcomes if not isinstance(outcome, Committed)]
    assert losers == [AlreadyStored(found.file.blob_id, found.file.sha256)] * 19


async def test_a_commit_whose_waiter_is_cancelled_still_takes_place(
    index: Index, partition: Partition
) -> None:
    task = asyncio.create_task(index.commit(partition, [new_instance()]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await index.commit(partition, [new_instance(path(2))])
    assert await index.find_instance(partition, path()) is not None


async def test_instances_of_a_study_are_read_in_pages_by_watermark(
    index: Index, partition: Partition
) -> None:
    paths = [path(1, number % 3, number) for number in range(1100)]
    for start in range(0, 1100, 220):
        batch = [new_instance(item) for item in paths[start : start + 220]]
        await index.commit(partition, [*batch, new_instance(path(2, 1, start))])
    found = [item async for item in index.instances(partition, ResourcePath(study_uid()))]
    assert [item.path for item in found] == paths
    assert all(one.watermark < other.watermark for one, other in pairwise(found))


async def test_instances_are_those_at_or_below_the_path(index: Index, partition: Partition) -> None:
    paths = [path(1, 1, 1), path(1, 1, 2), path(1, 2, 1), path(2, 1, 1)]
    await index.commit(partition, [new_instance(item) for item in paths])

    async def below(at: ResourcePath) -> list[ResourcePath]:
        return [item.path async for item in index.instances(partition, at)]

    assert await below(ResourcePath(study_uid(1))) == paths[:3]
    assert await below(path(1, 1, None)) == paths[:2]
    assert await below(path(1, 1, 2)) == [paths[1]]
    assert await below(path(3)) == []


async def test_the_version_is_the_newest_change_below(index: Index, partition: Partition) -> None:
    outcomes = await index.commit(
        partition, [new_instance(path(1, 1, 1)), new_instance(path(1, 2, 1))]
    )
    first, second = (item.watermark for item in outcomes if isinstance(item, Committed))
    assert await index.version(partition, ResourcePath(study_uid())) == Version(second, 2)
    assert await index.version(partition, path(1, 1, None)) == Version(first, 1)
    assert await index.version(partition, path(1, 2, 1)) == Version(second, 1)
    assert await index.version(partition, path(2)) is None
    assert await index.version(partition, ResourcePath(study_uid(2))) is None


async def test_a_deletion_is_a_change_of_what_remains(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance(path(1, 1, 1)), new_instance(path(1, 1, 2))])
    await index.delete(partition, path(1, 1, 2), NOW)
    assert await index.version(partition, ResourcePath(study_uid())) == Version(3, 1)
    assert await index.version(partition, path(1, 1, None)) == Version(3, 1)
    assert await index.version(partition, path(1, 1, 1)) == Version(1, 1)


async def test_series_of_a_study_have_their_own_counts(index: Index, partition: Partition) -> None:
    paths = [path(1, 1, 1), path(1, 2, 1), path(1, 2, 2), path(2, 1, 1)]
    await index.commit(partition, [new_instance(item) for item in paths])
    one, two = await index.series(partition, ResourcePath(study_uid()))
    assert (one.path, one.instance_count, one.revision) == (path(1, 1, None), 1, 1)
    assert (two.path, two.instance_count, two.revision) == (path(1, 2, None), 2, 3)
    assert two.document_revision is None
    assert abs((datetime.now(UTC) - two.changed_at).total_seconds()) < 60
    assert await index.series(partition, path(1, 2, None)) == [two]
    assert await index.series(partition, path(1, 3, None)) == []


async def test_members_of_a_series_are_told_by_watermark(
    index: Index, partition: Partition
) -> None:
    items = [new_instance(path(1, 1, number)) for number in range(4)]
    await index.commit(partition, [*items, new_instance(path(1, 2, 1))])
    [series] = await index.series(partition, path(1, 1, None))
    members = await index.series_members(series, 2)
    assert [(item.path, item.watermark, item.file) for item in members] == [
        (items[2].path, 3, items[2].file),
        (items[3].path, 4, items[3].file),
    ]
    uids = await index.series_member_uids(series, 2)
    assert set(uids) == {items[0].path.instance, items[1].path.instance}


async def test_rows_are_locked_in_the_order_of_their_keys(
    sql_index: SqlIndex, partition: Partition
) -> None:
    for number in (3, 1, 2):
        await sql_index.commit(partition, [new_instance(path(number, 1, 1))])
    updates: dict[str, list[int]] = {}

    def note(*arguments: Any) -> None:
        _, _, statement, parameters, *_ = arguments
        if found := re.match(r"UPDATE (\w+) SET", statement):
            rows = parameters if isinstance(parameters, list) else [parameters]
            updates.setdefault(found[1], []).extend(row[-1] for row in rows)

    def commit(connection: Connection) -> None:
        event.listen(connection, "before_cursor_execute", note)
        items = [new_instance(path(number, 1, 2)) for number in (1, 2, 3)]
        commit_all(connection, [(partition.key, items)])
        event.remove(connection, "before_cursor_execute", note)

    await sql_index.database.write(commit)
    assert list(updates) == ["study", "series"]
    assert updates["study"] == updates["series"] == [1, 2, 3]


async def test_two_processes_storing_into_one_study_count_every_instance(
    database_url: str, index: Index, partition: Partition
) -> None:
    program = (
        "import asyncio, sys\n"
        "from tests.contracts.test_index_commit import store_many\n"
        "asyncio.run(store_many(sys.argv[1], int(sys.argv[2])))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, database_url, str(number)], cwd=ROOT)
        for number in (1, 2)
    ]
    codes = [await asyncio.to_thread(process.wait) for process in processes]
    assert codes == [0, 0]
    version = await index.version(partition, ResourcePath(study_uid()))
    all_series = await index.series(partition, ResourcePath(study_uid()))
    changes = await index.changes(0, 1000)
    assert version is not None
    assert version.instance_count == 160
    assert {item.instance_count for item in all_series} == {40}
    assert [change.sequence for change in changes] == list(range(1, 161))


async def store_many(database_url: str, process: int) -> None:
    """What each of the two processes does: single instances from four tasks into two series."""
    index = SqlIndex(database_url)
    partition = await index.create_partition("Microsoft.Default")

    async def store(task: int) -> None:
        for number in range(20):
            at = path(1, process * 10 + task % 2, process * 10_000 + task * 100 + number)
            await index.commit(partition, [new_instance(at)])

    await asyncio.gather(*(store(task) for task in range(4)))
    await index.close()
