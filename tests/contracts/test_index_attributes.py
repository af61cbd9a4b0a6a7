"""Study and series attributes are what replaying the remaining instances would give."""

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.schema import metadata
from shared.dicom.json_model import Document, value
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.searchable import tag_of
from shared.dicomweb.query import parse_query
from shared.ports import Index, NewInstance, Partition
from tests.contracts.index_data import new_instance, path, study_uid

NOW = datetime.now(UTC)
SERIES = parse_query([], Level.SERIES, version=2)

_values = st.sampled_from(["", "a", "b"])
_study = st.fixed_dictionaries({}, optional={"PatientID": _values, "StudyID": _values})
_series = st.fixed_dictionaries({}, optional={"Modality": _values, "Laterality": _values})
_instance = st.builds(
    lambda series, number, of_study, of_series: new_instance(
        path(1, series, number), study=of_study, series=of_series
    ),
    st.integers(1, 2),
    st.integers(1, 4),
    _study,
    _series,
)
_store = st.lists(_instance, min_size=1, max_size=4)
_delete = st.builds(path, st.just(1), st.integers(1, 2), st.none() | st.integers(1, 4))


def _replay(items: list[NewInstance], level: Level) -> Document:
    attributes: Document = {}
    for item in items:
        for tag, element in item.attributes[level].items():
            if element.get("Value") or not attributes.get(tag, {}).get("Value"):
                attributes[tag] = element
    return attributes


def _is_below(item: ResourcePath, at: ResourcePath) -> bool:
    return item.series == at.series and at.instance in (None, item.instance)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(_store | _delete, max_size=12))
def test_attributes_equal_a_replay_of_the_instances_that_remain(
    database_url: str, steps: list[list[NewInstance] | ResourcePath]
) -> None:
    import asyncio

    asyncio.run(_check(database_url, steps))


async def _check(database_url: str, steps: list[list[NewInstance] | ResourcePath]) -> None:
    from shared.adapters.sql_index.index import SqlIndex

    index = SqlIndex(database_url, sync=False)
    partition = await index.create_partition("Microsoft.Default")
    await index.delete(partition, ResourcePath(study_uid()), NOW)
    held: dict[ResourcePath, NewInstance] = {}
    for step in steps:
        if isinstance(step, ResourcePath):
            await index.delete(partition, step, NOW)
            held = {at: item for at, item in held.items() if not _is_below(at, step)}
        else:
            fresh = [new_instance_like(item) for item in step]
            await index.commit(partition, fresh)
            for item in fresh:
                held.setdefault(item.path, item)
        await _compare(index, partition, list(held.values()))
    await index.close()


def new_instance_like(item: NewInstance) -> NewInstance:
    """The same instance with a blob of its own, as examples are run again."""
    return NewInstance(item.path, new_instance().file, item.attributes)


async def _compare(index: Index, partition: Partition, held: list[NewInstance]) -> None:
    found = await index.search(partition, SERIES)
    expected = {}
    for series in {item.path.series for item in held}:
        members = [item for item in held if item.path.series == series]
        expected[series] = _replay(held, Level.STUDY) | _replay(members, Level.SERIES)
    assert {match.path.series: match.attributes for match in found.results} == expected


async def _patient_id(index: Index, partition: Partition) -> str | None:
    [study] = (await index.search(partition, parse_query([], Level.STUDY, version=2))).results
    found = value(study.attributes, tag_of("PatientID"))
    return None if found is None else str(found)


async def test_the_newest_instance_decides_the_attributes_of_its_study(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(path(1, 1, 1), study={"PatientID": "1"})])
    await index.commit(partition, [new_instance(path(1, 1, 2), study={"PatientID": "2"})])
    assert await _patient_id(index, partition) == "2"


async def test_an_empty_value_never_replaces_one(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance(path(1, 1, 1), study={"PatientID": "1"})])
    await index.commit(partition, [new_instance(path(1, 1, 2), study={"PatientID": ""})])
    assert await _patient_id(index, partition) == "1"


async def test_an_instance_that_is_refused_changes_no_attribute(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(study={"PatientID": "1"})])
    await index.commit(partition, [new_instance(study={"PatientID": "2"})])
    assert await _patient_id(index, partition) == "1"


async def test_deleting_a_misfiled_instance_leaves_nothing_of_its_patient(
    index: Index, partition: Partition
) -> None:
    right = {"PatientID": "1", "PatientName": "Right^Ann"}
    wrong = {"PatientID": "2", "PatientName": "Wrong^Bob", "StudyDescription": "Bob's knee"}
    await index.commit(partition, [new_instance(path(1, 1, 1), study=right)])
    await index.commit(partition, [new_instance(path(1, 1, 2), study=wrong)])
    await index.delete(partition, path(1, 1, 2), NOW)
    [study] = (await index.search(partition, parse_query([], Level.STUDY, version=2))).results
    assert study.attributes == new_instance(study=right).attributes[Level.STUDY]
    for name, text in (("PatientID", "2"), ("StudyDescription", "Bob's knee")):
        query = parse_query([(name, text)], Level.STUDY, version=2)
        assert (await index.search(partition, query)).results == []


async def test_nothing_of_a_misfiled_instance_stays_in_any_row_of_what_remains(
    sql_index: SqlIndex, partition: Partition
) -> None:
    right = {"PatientID": "1", "PatientName": "Right^Ann"}
    wrong = {
        "PatientID": "CANARY",
        "PatientName": "Canary^Bob",
        "ReferringPhysicianName": "Canary^Eve",
    }
    of_series = {"Modality": "MR", "SeriesDescription": "Canary's knee"}
    await sql_index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), study=right),
            new_instance(path(1, 1, 2), study=wrong, series=of_series),
            new_instance(path(1, 2, 1), study=wrong, series=of_series),
        ],
    )
    assert await _rows_with(sql_index, "canary") >= {
        "person_name_word",
        "series",
        "series_attributes",
        "study",
        "study_attributes",
    }
    for misfiled in (path(1, 1, 2), path(1, 2, 1)):
        await sql_index.delete(partition, misfiled, NOW)
    assert await _rows_with(sql_index, "canary") == set()
    [study] = (await sql_index.search(partition, parse_query([], Level.STUDY, version=2))).results
    assert value(study.computed, tag_of("ModalitiesInStudy")) == "CT"
    assert value(study.computed, tag_of("NumberOfStudyRelatedSeries")) == 1
    assert value(study.computed, tag_of("NumberOfStudyRelatedInstances")) == 1
    for words, results in (("canary", 0), ("ann right", 1)):
        pairs = [("PatientName", words), ("fuzzymatching", "true")]
        found = await sql_index.search(partition, parse_query(pairs, Level.STUDY, version=2))
        assert len(found.results) == results


async def _rows_with(sql_index: SqlIndex, text: str) -> set[str]:
    """The tables that hold a text, in any column of any row."""

    def read(connection: Connection) -> set[str]:
        return {
            table.name
            for table in metadata.tables.values()
            if text in str(connection.execute(select(table)).all()).casefold()
        }

    return await sql_index.database.read(read)
