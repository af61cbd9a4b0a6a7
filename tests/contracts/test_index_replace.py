"""Instances that are stored in the place of those that are there."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.replace import commit_again
from shared.dicom.blob_names import instance_blobs
from shared.dicom.resource import Level, ResourcePath
from shared.dicomweb.query import parse_query
from shared.ports import (
    AlreadyStored,
    Change,
    ChangeAction,
    CommitOutcome,
    Committed,
    Index,
    InstanceState,
    NewInstance,
    Partition,
    Version,
)
from tests.contracts.index_data import new_instance, path, study_uid, with_frames

LATER = datetime.now(UTC) + timedelta(days=1)


async def _replace(
    index: Index, partition: Partition, *instances: NewInstance
) -> Sequence[CommitOutcome]:
    return await index.commit(partition, instances, replaced_until=LATER)


async def _feed(index: Index) -> list[tuple[ChangeAction, InstanceState]]:
    changes: Sequence[Change] = await index.changes(0, 100)
    return [(change.action, change.state) for change in changes]


async def _waiting(index: Index) -> list[str]:
    due = await index.due_blobs(LATER, 100)
    return [name for row in due for name in row.names]


async def test_an_instance_that_is_not_there_is_created(index: Index, partition: Partition) -> None:
    [outcome] = await _replace(index, partition, new_instance())
    assert outcome == Committed(1)
    assert await _feed(index) == [(ChangeAction.CREATE, InstanceState.CURRENT)]
    assert await _waiting(index) == []


async def test_an_instance_that_is_there_is_replaced_with_a_new_watermark(
    index: Index, partition: Partition
) -> None:
    old = with_frames(new_instance(content=b"old"), "blob")
    new = new_instance(content=b"new")
    await index.commit(partition, [old])

    [outcome] = await _replace(index, partition, new)

    assert outcome == Committed(2, replaced_blob_id=old.file.blob_id)
    found = await index.find_instance(partition, path())
    assert found is not None
    assert (found.watermark, found.file) == (2, new.file)
    assert await _feed(index) == [
        (ChangeAction.CREATE, InstanceState.REPLACED),
        (ChangeAction.UPDATE, InstanceState.CURRENT),
    ]
    assert await _waiting(index) == list(instance_blobs(old.file.blob_id, has_frames_blob=True))
    assert await index.due_blobs(LATER - timedelta(seconds=1), 100) == []


async def test_counts_stay_and_versions_grow(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance(path(1, 1, n), content=b"old") for n in (1, 2)])
    await _replace(index, partition, new_instance(path(1, 1, 1), content=b"new"))
    for at in (ResourcePath(study_uid()), path(1, 1, None)):
        assert await index.version(partition, at) == Version(3, 2)
    assert await index.version(partition, path(1, 1, 1)) == Version(3, 1)
    assert await index.version(partition, path(1, 1, 2)) == Version(2, 1)


async def test_the_very_same_file_changes_nothing(index: Index, partition: Partition) -> None:
    await index.commit(partition, [held := new_instance(content=b"same")])
    [outcome] = await _replace(index, partition, new_instance(content=b"same"))
    assert outcome == AlreadyStored(held.file.blob_id, held.file.sha256)
    assert await _feed(index) == [(ChangeAction.CREATE, InstanceState.CURRENT)]
    assert await _waiting(index) == []


async def test_created_and_replaced_instances_come_in_the_order_given(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(path(1, 1, 2), content=b"old")])
    outcomes = await _replace(
        index, partition, *(new_instance(path(1, 1, n), content=b"new") for n in (1, 2, 3))
    )
    assert [getattr(outcome, "watermark", None) for outcome in outcomes] == [2, 3, 4]
    assert [action for action, _ in await _feed(index)][1:] == [
        ChangeAction.CREATE,
        ChangeAction.UPDATE,
        ChangeAction.CREATE,
    ]
    assert await index.version(partition, path(1, 1, None)) == Version(4, 3)


async def test_of_an_instance_twice_in_a_batch_the_last_stays(
    index: Index, partition: Partition
) -> None:
    first, second = new_instance(content=b"1"), new_instance(content=b"2")
    outcomes = await _replace(index, partition, first, second)
    assert outcomes == [Committed(1), Committed(2, first.file.blob_id)]
    found = await index.find_instance(partition, path())
    assert found is not None
    assert found.file == second.file


async def test_study_and_series_forget_what_only_the_replaced_instance_said(
    index: Index, partition: Partition
) -> None:
    misfiled = new_instance(
        path(1, 1, 1),
        study={"PatientName": "Roe^Richard", "StudyDescription": "Wrong"},
        series={"Modality": "MR"},
    )
    await index.commit(partition, [misfiled, new_instance(path(1, 2, 1))])

    await _replace(
        index,
        partition,
        new_instance(
            path(1, 1, 1),
            study={"PatientName": "Doe^John"},
            series={"Modality": "CT"},
            content=b"new",
        ),
    )

    query = parse_query([], Level.STUDY, version=2, max_limit=10)
    [match] = (await index.search(partition, query)).results
    assert match.attributes["00100010"]["Value"] == [{"Alphabetic": "Doe^John"}]
    assert "00081030" not in match.attributes
    assert match.computed["00080061"]["Value"] == ["CT"]
    for wrong in ("PatientName=roe", "StudyDescription=Wrong", "ModalitiesInStudy=MR"):
        name, _, value = wrong.partition("=")
        pairs = [(name, value), ("fuzzymatching", "true")]
        query = parse_query(pairs, Level.STUDY, version=2, max_limit=10)
        assert (await index.search(partition, query)).results == []


async def test_a_replaced_instance_is_the_newest_of_its_study(
    index: Index, partition: Partition
) -> None:
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), study={"PatientID": "first"}),
            new_instance(path(1, 1, 2), study={"PatientID": "second"}),
        ],
    )
    await _replace(
        index, partition, new_instance(path(1, 1, 1), study={"PatientID": "third"}, content=b"new")
    )
    query = parse_query([], Level.STUDY, version=2, max_limit=10)
    [match] = (await index.search(partition, query)).results
    assert match.attributes["00100020"]["Value"] == ["third"]


async def test_a_replaced_instance_stays_in_its_partition(
    index: Index, partition: Partition
) -> None:
    other = await index.create_partition("other")
    await index.commit(partition, [here := new_instance(content=b"old")])
    [outcome] = await _replace(index, other, new_instance(content=b"new"))
    assert outcome == Committed(2)
    found = await index.find_instance(partition, path())
    assert found is not None
    assert found.file == here.file


async def test_of_racing_replacements_one_is_left_and_the_others_wait(
    index: Index, partition: Partition
) -> None:
    items = [new_instance(content=bytes([number])) for number in range(8)]

    outcomes = await asyncio.gather(
        *(
            index.commit(partition, [item], replaced_until=LATER if number % 2 else None)
            for number, item in enumerate(items)
        )
    )

    found = await index.find_instance(partition, path())
    assert found is not None
    committed = [
        item.file.blob_id
        for item, [outcome] in zip(items, outcomes, strict=True)
        if isinstance(outcome, Committed)
    ]
    known = await index.known_blob_ids([item.file.blob_id for item in items])
    assert known == set(committed)
    assert found.file.blob_id in known
    assert len(await _waiting(index)) == 2 * (len(committed) - 1)
    assert await index.version(partition, path(1, 1, None)) == Version(found.watermark, 1)
    assert [state for _, state in await _feed(index)].count(InstanceState.CURRENT) == 1


async def test_a_repeated_replacement_that_took_effect_is_not_done_twice(
    sql_index: SqlIndex, partition: Partition
) -> None:
    await sql_index.commit(partition, [new_instance(content=b"old")])
    new = new_instance(content=b"new")
    await _replace(sql_index, partition, new)

    def again(connection: Connection) -> list[CommitOutcome]:
        return commit_again(connection, partition.key, [new], LATER)

    assert await sql_index.database.write(again) == [Committed(2)]
    assert len(await sql_index.changes(0, 10)) == 2


async def test_a_repeated_commit_brings_nothing_back_that_was_replaced_or_deleted_since(
    sql_index: SqlIndex, partition: Partition
) -> None:
    replaced, deleted = new_instance(path(1)), new_instance(path(2))
    fresh = new_instance(path(3))
    await sql_index.commit(partition, [replaced, deleted])
    await _replace(sql_index, partition, newer := new_instance(path(1), content=b"newer"))
    await sql_index.delete(partition, path(2), LATER)

    for until in (None, LATER):

        def again(connection: Connection, until: datetime | None = until) -> list[CommitOutcome]:
            return commit_again(connection, partition.key, [replaced, fresh, deleted], until)

        assert await sql_index.database.write(again) == [Committed(0), Committed(5), Committed(0)]
    found = await sql_index.find_instance(partition, path(1))
    assert found is not None
    assert found.file == newer.file
    assert await sql_index.find_instance(partition, path(2)) is None


async def test_members_and_document_of_a_series_follow_a_replacement(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(path(1, 1, n), content=b"old") for n in (1, 2)])
    [state] = await index.series(partition, path(1, 1, None))
    await index.record_series_document(state, state.revision, 2, LATER)

    await _replace(index, partition, new := new_instance(path(1, 1, 1), content=b"new"))

    [state] = await index.series(partition, path(1, 1, None))
    assert (state.revision, state.instance_count, state.document_revision) == (3, 2, 2)
    [added] = await index.series_members(state, 2)
    assert added.file == new.file
    assert await index.series_member_uids(state, 2) == [path(1, 1, 2).instance]


async def test_a_frame_map_is_replaced_with_its_instance(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(content=b"old")])
    new = with_frames(new_instance(content=b"new"), '{"a":1}')
    new = replace(new, file=replace(new.file, pixel_data_offset=None))
    await _replace(index, partition, new)
    found = await index.find_instance(partition, path())
    assert found is not None
    assert found.file == new.file
