"""Heads that are put in place for whole studies."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.reads import PAGE
from shared.adapters.sql_index.update import SqlStudyUpdates
from shared.adapters.sql_operation_table import SqlOperationTable
from shared.dicom.blob_names import dicom_blob, metadata_blob
from shared.dicom.resource import Level, ResourcePath
from shared.dicomweb.query import parse_query
from shared.ports import (
    InstanceState,
    Operation,
    OperationStatus,
    Partition,
    UpdatedInstance,
    UpdateOutcome,
    UpdateProgress,
)
from tests.contracts.index_data import STUDY, new_instance, path, study_uid
from tests.contracts.update_data import new_heads, new_update

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=1)
NEW = {**STUDY, "PatientName": "New^Name"}
DONE: Mapping[str, Any] = {"studyProcessed": 1}


@pytest.fixture
def updates(sql_index: SqlIndex) -> SqlStudyUpdates:
    return SqlStudyUpdates(sql_index)


@pytest.fixture
async def operation(sql_index: SqlIndex) -> Operation:
    begun = new_update(NOW)
    await SqlOperationTable(sql_index).add(begun, alone=True)
    return begun


async def heads(
    index: SqlIndex, partition: Partition, until: datetime = LATER
) -> list[UpdatedInstance]:
    return await new_heads(index, partition, study_uid(), NEW, until)


async def commit(  # noqa: PLR0913
    updates: SqlStudyUpdates,
    partition: Partition,
    made: Sequence[UpdatedInstance],
    operation: Operation,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] = DONE,
) -> UpdateOutcome:
    progress = UpdateProgress(operation.id, before or {}, after, 50)
    return await updates.commit(partition, study_uid(), made, progress, LATER)


async def patients(index: SqlIndex, partition: Partition) -> list[str]:
    query = parse_query([], Level.STUDY, version=2, max_limit=10)
    results = (await index.search(partition, query)).results
    return [match.attributes["00100010"]["Value"][0]["Alphabetic"] for match in results]


async def waiting(index: SqlIndex) -> set[str]:
    due = await index.due_blobs(LATER + timedelta(days=1), 100)
    return {name for row in due for name in row.names}


async def test_all_instances_of_a_study_get_their_heads_and_their_progress_at_once(
    sql_index: SqlIndex, updates: SqlStudyUpdates, partition: Partition, operation: Operation
) -> None:
    await sql_index.commit(partition, [new_instance(path(1, n, n)) for n in (1, 2, 3)])
    made = await heads(sql_index, partition)
    assert await sql_index.known_blob_ids([made[0].head_id]) == {made[0].head_id}

    assert await commit(updates, partition, made, operation) is UpdateOutcome.COMMITTED

    found = [item async for item in sql_index.instances(partition, ResourcePath(study_uid()))]
    assert [item.watermark for item in found] == [4, 5, 6]
    assert [item.path for item in found] == [item.instance.path for item in made]
    assert [item.file for item in found] == [item.instance.file for item in made]
    assert await patients(sql_index, partition) == ["New^Name"]
    version = await sql_index.version(partition, ResourcePath(study_uid()))
    assert version is not None
    assert (version.revision, version.instance_count) == (6, 3)
    changes = await sql_index.changes(0, 10)
    assert [change.state for change in changes[:3]] == [InstanceState.REPLACED] * 3
    assert [change.blob_id for change in changes[3:]] == [item.head_id for item in made]
    told = await SqlOperationTable(sql_index).find(operation.id)
    assert told is not None
    assert (told.results, told.percent_complete) == (DONE, 50)
    assert await waiting(sql_index) == set()
    ids = [item.head_id for item in made] + [item.instance.file.blob_id for item in made]
    assert await sql_index.known_blob_ids(ids) == set(ids)


async def test_superseded_heads_wait_for_their_removal_and_the_file_stays(
    sql_index: SqlIndex, updates: SqlStudyUpdates, partition: Partition, operation: Operation
) -> None:
    await sql_index.commit(partition, [stored := new_instance()])
    [first] = await heads(sql_index, partition)
    await commit(updates, partition, [first], operation)
    [second] = await heads(sql_index, partition)
    after = {"studyProcessed": 2}
    await commit(updates, partition, [second], operation, before=DONE, after=after)
    assert await waiting(sql_index) == {dicom_blob(first.head_id), metadata_blob(first.head_id)}
    await sql_index.commit(partition, [new_instance(content=b"new")], replaced_until=LATER)
    gone = (first.head_id, second.head_id, stored.file.blob_id)
    names = {blob(one) for one in gone for blob in (dicom_blob, metadata_blob)}
    assert await waiting(sql_index) == names


@pytest.mark.parametrize("what", ["stored", "replaced", "deleted", "gone heads"])
async def test_nothing_changes_when_the_study_has_changed_meanwhile(
    what: str,
    sql_index: SqlIndex,
    updates: SqlStudyUpdates,
    partition: Partition,
    operation: Operation,
) -> None:
    await sql_index.commit(partition, [new_instance(path(1, 1, n)) for n in (1, 2)])
    until = NOW if what == "gone heads" else LATER
    made = await heads(sql_index, partition, until)
    match what:
        case "stored":
            await sql_index.commit(partition, [new_instance(path(1, 1, 3))])
        case "replaced":
            newer = new_instance(path(1, 1, 2), content=b"newer")
            await sql_index.commit(partition, [newer], replaced_until=LATER)
        case "deleted":
            await sql_index.delete(partition, path(1, 1, 2), LATER)
        case _:
            assert what == "gone heads"
    before = [item async for item in sql_index.instances(partition, ResourcePath(study_uid()))]

    assert await commit(updates, partition, made, operation) is UpdateOutcome.OVERTAKEN

    found = sql_index.instances(partition, ResourcePath(study_uid()))
    assert [item async for item in found] == before
    assert await patients(sql_index, partition) == ["Doe^John"]
    told = await SqlOperationTable(sql_index).find(operation.id)
    assert told is not None
    assert told.results is None


async def test_nothing_changes_when_the_operation_has_ended_or_gone_on(
    sql_index: SqlIndex, updates: SqlStudyUpdates, partition: Partition, operation: Operation
) -> None:
    await sql_index.commit(partition, [new_instance()])
    made = await heads(sql_index, partition)
    gone_on = await commit(
        updates,
        partition,
        made,
        operation,
        before={"studyProcessed": 7},
        after={"studyProcessed": 8},
    )
    assert gone_on is UpdateOutcome.ENDED
    canceled = OperationStatus.CANCELED
    await SqlOperationTable(sql_index).update(operation.id, NOW, status=canceled)
    assert await commit(updates, partition, made, operation) is UpdateOutcome.ENDED
    assert await patients(sql_index, partition) == ["Doe^John"]


async def test_a_repeated_commit_that_took_effect_is_not_done_twice(
    sql_index: SqlIndex, updates: SqlStudyUpdates, partition: Partition, operation: Operation
) -> None:
    await sql_index.commit(partition, [new_instance()])
    made = await heads(sql_index, partition)
    for _ in range(2):
        assert await commit(updates, partition, made, operation) is UpdateOutcome.COMMITTED
    assert len(await sql_index.changes(0, 10)) == 2


async def test_a_study_without_instances_is_done_at_once(
    sql_index: SqlIndex, updates: SqlStudyUpdates, partition: Partition, operation: Operation
) -> None:
    assert await commit(updates, partition, [], operation) is UpdateOutcome.COMMITTED
    assert await sql_index.changes(0, 10) == []


async def test_whoever_reads_a_study_while_it_is_updated_is_given_each_instance_once(
    sql_index: SqlIndex, updates: SqlStudyUpdates, partition: Partition, operation: Operation
) -> None:
    count = PAGE + 10
    await sql_index.commit(partition, [new_instance(path(1, 1, n)) for n in range(count)])
    made = await heads(sql_index, partition)
    given: list[ResourcePath] = []
    async for instance in sql_index.instances(partition, ResourcePath(study_uid())):
        if not given:
            assert await commit(updates, partition, made, operation) is UpdateOutcome.COMMITTED
        given.append(instance.path)
    assert given == [path(1, 1, n) for n in range(count)]
