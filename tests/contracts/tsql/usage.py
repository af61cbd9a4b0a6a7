"""All that the index is asked to do, done once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

from shared.adapters.sql_deletions import SqlDeletions
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.search import statements_for, taken_apart
from shared.adapters.sql_index.update import SqlStudyUpdates
from shared.adapters.sql_operation_table import SqlOperationTable
from shared.adapters.sql_reindex_table import SqlReindexTable
from shared.adapters.sql_series_table import SqlSeriesTable
from shared.adapters.sql_state_table import SqlStateTable
from shared.adapters.sql_study_table import SqlStudyTable
from shared.adapters.sql_tag_table import SqlTagTable
from shared.dicom.extended_query_tag import NewTag, TagSet, TagValue, TagValues
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.searchable import SEARCH_ATTRIBUTES, Extension, Kind, SearchAttribute
from shared.dicomweb.query import SearchQuery, parse_query
from shared.ports import (
    InstanceTags,
    NewInstance,
    Operation,
    OperationStatus,
    OperationType,
    Partition,
    UpdateOutcome,
    UpdateProgress,
)
from tests.contracts.index_data import new_instance, path, study_uid
from tests.contracts.tsql.statements import Issued
from tests.contracts.update_data import new_heads, new_update

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=400)
MANY = 600
"""Instances of one commit, more than are looked up at once; each in a study of its own."""

_TEXTS = {
    Kind.DATE: ["20260101", "20260101-20260131", "-20260131", "20260101-"],
    Kind.TIME: ["101500", "10-11", "-11"],
    Kind.TEXT: ["abc", "abc*", "*abc*", "a?c"],
    Kind.PERSON_NAME: ["doe^john", "doe*", "*john*"],
    Kind.UID: ["2.25.1", "2.25.1,2.25.2"],
    Kind.INTEGER: ["1"],
    Kind.REAL: ["0.5"],
    Kind.DATE_TIME: ["2026", "20260101101500.000000", "2026-2027"],
}
_PAIRS = [
    [],
    [("offset", "10"), ("limit", "100")],
    [("StudyDescription", "ab *"), ("StudyID", "a[b]%_!*c")],
    [("StudyDate", "20260101-20260131"), ("StudyTime", "10-09")],
    [("ModalitiesInStudy", "CT\\MR"), ("multiplevaluematching", "true")],
    [("ModalitiesInStudy", "CT"), ("PatientID", "1")],
    [("ModalitiesInStudy", '""'), ("emptyvaluematching", "true")],
    [("PatientName", '""'), ("emptyvaluematching", "true")],
    [("PatientID", "1,2"), ("multiplevaluematching", "true")],
    [("PatientName", "jo do"), ("fuzzymatching", "true")],
    [("PatientName", "*a*"), ("StudyDescription", "*b*")],
]
_PAIRS_BELOW_STUDIES = [
    [("Modality", "CT"), ("PatientID", "1"), ("StudyDate", "20260101")],
    [
        ("RequestAttributesSequence.RequestedProcedureID", "1"),
        ("RequestAttributesSequence.ScheduledProcedureStepID", "2"),
    ],
]


def queries() -> Iterator[SearchQuery]:
    """Searches by each attribute in each way, by several at once, and below studies and series.

    Levels below that of an attribute differ only in what they join.
    """
    for attribute, level in product(SEARCH_ATTRIBUTES, Level):
        if level >= attribute.level:
            texts = _TEXTS[attribute.kind]
            for text in texts if level is attribute.level else texts[:1]:
                yield parse_query([(attribute.keyword, text)], level, version=2)
    for level in Level:
        below = [] if level is Level.STUDY else _PAIRS_BELOW_STUDIES
        for pairs in _PAIRS + below:
            yield parse_query(pairs, level, version=2)
    for level in (Level.SERIES, Level.INSTANCE):
        for pairs in ([], [("Modality", "CT")], [("PatientID", "1")]):
            yield parse_query(pairs, level, version=2, study=path().study)
    at = path()
    yield parse_query([], Level.INSTANCE, version=2, study=at.study, series=at.series)


def search_statements() -> Iterator[Issued]:
    """The statements of all shapes of those searches, also those that only many results need."""
    for query in (*queries(), *tag_queries()):
        shape, values = taken_apart(query)
        statements = statements_for(shape)
        # The keys alone are the same as in the page.
        of_shape = [
            statements.page,
            statements.count,
            *([] if shape.criteria else [statements.keys]),
        ]
        for statement in of_shape:
            yield Issued(statement, [{"partition_key": 1, **values}])


async def use(index: SqlIndex) -> None:
    """Do all of it on an index without instances."""
    partition = await index.create_partition("elsewhere")
    await index.list_partitions()
    await _store(index, partition)
    for query in (*queries(), *tag_queries()):
        await index.search(partition, replace(query, limit=1))
    for level in Level:
        await index.matches(level, [1, 2])
    await _read(index, partition)
    await _walk(SqlStudyTable(index), partition)
    await _follow(index)
    await _remove(index, partition)
    await _bring_back(SqlDeletions(index), index, partition)
    await _keep_state(SqlStateTable(index))
    await _operate(SqlOperationTable(index))
    await _tag(index, partition)
    await _update(SqlStudyUpdates(index), index, partition)
    assert await SqlSeriesTable(index).revisions([1, 2])
    await index.check()


def _instances() -> list[NewInstance]:
    of_items = {"RequestAttributesSequence": [{"RequestedProcedureID": "1"}] * 2}
    return [
        new_instance(path(1, 1, 1), series={"Modality": "CT", **of_items}),
        new_instance(path(1, 1, 2), series={"Modality": "CT", **of_items}),
        new_instance(path(1, 2, 1), series={"Modality": "MR"}),
        new_instance(path(2, 1, 1), study={"PatientName": "Roe^Jane"}),
    ]


async def _store(index: SqlIndex, partition: Partition) -> None:
    await index.commit(partition, [new_instance(path(100 + n)) for n in range(MANY)])
    await index.commit(partition, _instances())
    await index.commit(partition, _instances())
    renamed = new_instance(
        path(1, 1, 3),
        study={"PatientName": "Poe^Jim"},
        series={"Modality": "US", "RequestAttributesSequence": {"RequestedProcedureID": "2"}},
    )
    await index.commit(partition, [renamed])
    again = new_instance(path(1, 1, 3), content=b"other")
    await index.commit(partition, [again, replace(again)], replaced_until=LATER)


async def _read(index: SqlIndex, partition: Partition) -> None:
    for at in _levels():
        assert [item async for item in index.instances(partition, at)]
        assert await index.version(partition, at)
    await index.find_instance(partition, path())
    for at in _levels()[:2]:
        [state, *_] = await index.series(partition, at)
        await index.series_members(state, 0)
        await index.series_member_uids(state, 10**6)
    assert await index.record_series_document(state, 10**6, 2, LATER)
    assert await index.record_series_document(state, 10**6 + 1, 2, LATER)


async def _walk(table: SqlStudyTable, partition: Partition) -> None:
    for name in (None, partition.name):
        count, highest = await table.span(name)
        assert count
        assert await table.studies(name, 0, highest, 10)
    for most in (0, 1000):
        listed = await table.listed(partition.name, path().study, most)
        assert listed
        assert listed.series[0].instances
        assert await table.newest_metadata(partition.name, path().study)
        [patient] = listed.attributes["00100020"]["Value"]
        for name in (None, partition.name):
            assert await table.of_patient(name, patient, 10)


async def _follow(index: SqlIndex) -> None:
    assert await index.changes(0, 10)
    await index.changes_in_window(NOW, LATER, 0, 10)
    assert await index.latest_change()


async def _remove(index: SqlIndex, partition: Partition) -> None:
    for at in (path(1, 1, 3), path(1, 1, 1), path(1, 2, None), ResourcePath(study_uid(1))):
        assert await index.delete(partition, at, LATER)
        assert await index.has_deletion(partition, at)
    await index.add_deleted_blobs(["series-metadata/1/2.json.gz"], LATER)
    assert await index.waiting_blobs()
    due = await index.due_blobs(LATER + timedelta(1), 1000)
    await index.postpone_blobs([blobs.key for blobs in due], LATER + timedelta(1))
    await index.forget_blobs([blobs.key for blobs in due])
    await index.known_blob_ids(["0" * 32, "1" * 32])


async def _update(table: SqlStudyUpdates, index: SqlIndex, partition: Partition) -> None:
    operation = new_update(NOW)
    await SqlOperationTable(index).add(operation, alone=True)
    study = path(100).study
    before: dict[str, int] = {}
    for number in (1, 2):
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        name = {"PatientName": f"New^{number}"}
        updated = await new_heads(index, partition, study, name, tomorrow)
        progress = UpdateProgress(operation.id, before, {"studyProcessed": number}, 50)
        outcome = await table.commit(partition, study, updated, progress, LATER)
        assert outcome is UpdateOutcome.COMMITTED
        before = {"studyProcessed": number}


async def _bring_back(table: SqlDeletions, index: SqlIndex, partition: Partition) -> None:
    item = new_instance(path(3))
    await index.commit(partition, [item])
    await index.delete(partition, item.path, LATER)
    assert await table.uses([item.file.blob_id])
    assert await table.of_study(partition, item.path.study)
    assert not await table.restore(partition, [item])
    assert not await table.replaced_by(partition, [item])


async def _keep_state(table: SqlStateTable) -> None:
    version = await table.put("a", "b", "c", {"d": 1})
    await table.put("a", "b", "c", {"d": 2}, if_version=version)
    assert await table.get("a", "b", "c")
    assert [row async for row in table.list("a", "b")]
    await table.delete("a", "b", "c")


_OPERATION = Operation(
    id="0" * 32,
    type=OperationType.REINDEX,
    status=OperationStatus.NOT_STARTED,
    created=NOW,
    last_updated=NOW,
    percent_complete=None,
    input={},
    results=None,
)


async def _operate(table: SqlOperationTable) -> None:
    new = _OPERATION
    await table.add(new, alone=True)
    assert await table.find(new.id)
    assert await table.list(10, 0)
    assert await table.unfinished()
    done = OperationStatus.SUCCEEDED
    assert await table.update(new.id, NOW, status=done, percent_complete=100, results={"a": 1})
    assert await table.final(LATER, 10) == [new.id]
    await table.remove(new.id)


async def _tag(index: SqlIndex, partition: Partition) -> None:
    tags, reindexing = SqlTagTable(index), SqlReindexTable(index)
    present = await tags.restore(RESTORED, 1)
    tagged = [_tagged(new_instance(path(50, 1, n)), present) for n in range(1, 4)]
    await index.commit(partition, tagged[:2])
    await index.commit(partition, [tagged[2]])
    await index.commit(partition, [_tagged(new_instance(path(50, 2, 1)), present)])
    await index.commit(partition, [_tagged(new_instance(path(50)), present)], replaced_until=LATER)
    operation = replace(_OPERATION, id="1" * 32)
    new = NewTag(path="00200012", vr="IS", level=Level.INSTANCE)
    await tags.add([new], operation, 128)
    await SqlOperationTable(index).update(operation.id, NOW, status=OperationStatus.CANCELED)
    await tags.add([new], replace(operation, id="2" * 32), 128)
    await reindexing.begin(operation.id)
    tag_set = await reindexing.tags("2" * 32)
    [one, *_] = await reindexing.slices(10**9, 1, 10)
    there = await reindexing.instances(*one)
    reading = _values(tag_set)
    await reindexing.write([InstanceTags(item, reading, {}) for item in there])
    [tag] = tag_set.tags
    await reindexing.write([InstanceTags(there[0], TagValues(), {present.tags[0].key: "Wrong."})])
    await reindexing.advance(operation.id, one[0])
    await reindexing.finish("2" * 32)
    assert await tags.list(10, 0)
    await tags.errors(present.tags[0].tag, 10, 0)
    await tags.enable(tag.tag, is_enabled=False)
    for at in (path(50, 1, 2), path(50, 1, None), ResourcePath(study_uid(50))):
        await index.delete(partition, at, LATER)
    key = await tags.begin_deletion(tag.tag)
    while key is not None and await tags.delete_some(key):
        pass


RESTORED = [
    NewTag(path="00101010", vr="AS", level=Level.STUDY),
    NewTag(path="00181012", vr="DA", level=Level.SERIES),
    NewTag(path="00081070", vr="PN", level=Level.SERIES),
    NewTag(path="0008002A", vr="DT", level=Level.INSTANCE),
    NewTag(path="00101030", vr="DS", level=Level.STUDY),
    NewTag(path="00181315", vr="UI", level=Level.SERIES),
    NewTag(path="00280010", vr="US", level=Level.SERIES),
]


def _values(tag_set: TagSet) -> TagValues:
    values: dict[str, str | float] = {"DA": "20260101", "DT": "2026", "DS": 0.5, "US": 1, "IS": 1}
    found = (TagValue(tag, values.get(tag.vr, "1.2")) for tag in tag_set.tags)
    return TagValues(tag_set.version, tuple(found))


def _tagged(item: NewInstance, tag_set: TagSet) -> NewInstance:
    return replace(item, tag_values=_values(tag_set))


def tag_queries() -> Iterator[SearchQuery]:
    """Searches by extended query tags of each level and kind."""
    for (key, tag), level in product(enumerate(RESTORED, 1), Level):
        if level < tag.level:
            continue
        attribute = SearchAttribute(tag.path, tag.path, tag.vr, tag.level, extension=Extension(key))
        for text in _TEXTS[attribute.kind]:
            yield parse_query([(tag.path, text)], level, version=2, extra=[attribute])
        empty = [(tag.path, '""'), ("emptyvaluematching", "true")]
        yield parse_query(empty, level, version=2, extra=[attribute])
        if attribute.kind is Kind.PERSON_NAME:
            fuzzy = [(tag.path, "jo do"), ("fuzzymatching", "true")]
            yield parse_query(fuzzy, level, version=2, extra=[attribute])
        both = [(tag.path, _TEXTS[attribute.kind][0]), ("PatientID", "1")]
        yield parse_query(both, level, version=2, extra=[attribute])


def _levels() -> list[ResourcePath]:
    return [ResourcePath(study_uid(1)), path(1, 1, None), path(1, 1, 1)]
