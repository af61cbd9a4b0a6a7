"""Every kind of search is served by an index, as SQLite itself plans it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, event

from shared.adapters.sql_deletions import deletions_of_study
from shared.adapters.sql_index.changes import (
    changes_after,
    changes_in_window,
    has_deletion,
    has_unnumbered,
    latest_change,
)
from shared.adapters.sql_index.commit import FIND
from shared.adapters.sql_index.search import matches_of, search
from shared.adapters.sql_index.sqlite import reader_engine
from shared.adapters.sql_study_table import studies_of_patient
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.searchable import SEARCH_ATTRIBUTES, Kind, SearchAttribute
from shared.dicomweb.query import SearchQuery, parse_query
from tests.contracts.index_data import path, study_uid
from tests.contracts.tsql.usage import tag_queries

TABLES = (
    *("study", "series", "above", "any_series", "other_series", "instance", "person_name_word"),
    *("request_item", "partition", "extended_query_tag", "tag_value"),
)
TEXTS = {
    Kind.DATE: ["20260101", "20260101-20260131", "-20260131"],
    Kind.TIME: ["101500.000000", "10-11"],
    Kind.TEXT: ["abc", "abc*", "*abc*", "a?c"],
    Kind.PERSON_NAME: ["abc", "abc*", "*abc*"],
    Kind.UID: ["2.25.1", "2.25.1,2.25.2"],
    Kind.INTEGER: ["1"],
}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = reader_engine(database_url, connections=1)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _plan(connection: Connection, query: SearchQuery) -> list[str]:
    """The steps of every statement that a search runs."""
    return _steps(connection, lambda: search(connection, 1, query))


def _steps(connection: Connection, run: Callable[[], object]) -> list[str]:
    statements: list[tuple[str, Any]] = []

    def note(*arguments: Any) -> None:
        _, _, statement, parameters, *_ = arguments
        if statement != "BEGIN":
            statements.append((str(statement), parameters))

    event.listen(connection, "before_cursor_execute", note)
    run()
    event.remove(connection, "before_cursor_execute", note)
    cursor = connection.connection.cursor()
    steps = []
    for statement, parameters in statements:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        steps += [str(row[3]) for row in cursor.fetchall()]
    return steps


def _scans(plan: list[str]) -> list[str]:
    """Steps that read all of a table; for a Bloom filter or automatic index SQLite does so too."""
    whole = ("BLOOM", "AUTOMATIC", *(f"SCAN {name}" for name in TABLES))
    return [step for step in plan if step.startswith(whole) or "AUTOMATIC" in step]


@pytest.mark.parametrize(
    ("attribute", "level"),
    [
        pytest.param(attribute, level, id=f"{attribute.keyword}-{level.name}")
        for attribute in SEARCH_ATTRIBUTES
        for level in Level
        if level >= attribute.level
    ],
)
def test_no_condition_makes_a_search_scan_a_table(
    connection: Connection, attribute: SearchAttribute, level: Level
) -> None:
    for text in TEXTS[attribute.kind]:
        query = parse_query([(attribute.keyword, text)], level, version=2)
        assert query.conditions
        assert _scans(_plan(connection, query)) == []


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize(
    "pairs",
    [
        [("StudyDate", "20260101-20260131"), ("StudyTime", "10-09")],
        [("ModalitiesInStudy", "CT\\MR"), ("multiplevaluematching", "true")],
        [("ModalitiesInStudy", "CT,MR")],
        [("ModalitiesInStudy", '""'), ("emptyvaluematching", "true")],
        [("PatientName", '""'), ("emptyvaluematching", "true")],
        [("PatientID", "1,2"), ("multiplevaluematching", "true")],
    ],
)
def test_lists_and_empty_values_and_moments_scan_no_table(
    connection: Connection, pairs: list[tuple[str, str]], level: Level
) -> None:
    query = parse_query(pairs, level, version=2)
    assert query.conditions
    assert _scans(_plan(connection, query)) == []


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("keyword", ["PatientName", "ReferringPhysicianName"])
def test_fuzzy_matching_scans_no_table(connection: Connection, keyword: str, level: Level) -> None:
    pairs = [(keyword, "jo do"), ("fuzzymatching", "true")]
    assert _scans(_plan(connection, parse_query(pairs, level, version=2))) == []


def test_no_search_by_an_extended_query_tag_scans_a_table(connection: Connection) -> None:
    for query in tag_queries():
        plan = _plan(connection, query)
        assert _scans(plan) == [], query.conditions
        kinds = [step for step in plan if "tag_value" in step]
        assert kinds
        assert all(step.startswith("SEARCH tag_value_") for step in kinds)
        assert not any("(tag_key=?)" in step for step in kinds)


@pytest.mark.parametrize("level", list(Level))
def test_a_search_without_conditions_reads_in_the_order_of_results(
    connection: Connection, level: Level
) -> None:
    plan = _plan(connection, parse_query([], level, version=2))
    table = level.name.lower()
    assert f"SEARCH {table} USING COVERING INDEX ix_{table}_partition (partition_key=?)" in plan
    assert _scans(plan) == []
    assert [step for step in plan if "TEMP B-TREE" in step] == ["USE TEMP B-TREE FOR ORDER BY"]


@pytest.mark.parametrize("keyword", ["PatientName", "SeriesDescription"])
def test_a_pattern_without_a_beginning_is_compared_with_few_rows(
    connection: Connection, keyword: str
) -> None:
    query = parse_query([(keyword, "*a*b*")], Level.INSTANCE, version=2)
    plan = _plan(connection, query)
    assert any(step.startswith("SEARCH above USING") for step in plan)
    assert not any("ix_instance_partition" in step for step in plan)
    assert _scans(plan) == []


@pytest.mark.parametrize("level", list(Level))
def test_results_of_keys_are_looked_up_by_them(connection: Connection, level: Level) -> None:
    plan = _steps(connection, lambda: matches_of(connection, level, [1, 2, 3]))
    assert f"SEARCH {level.name.lower()} USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert _scans(plan) == []


@pytest.mark.parametrize("level", [Level.SERIES, Level.INSTANCE])
@pytest.mark.parametrize("pairs", [[], [("Modality", "CT")]])
def test_a_search_below_a_study_begins_at_the_study(
    connection: Connection, level: Level, pairs: list[tuple[str, str]]
) -> None:
    query = parse_query(pairs, level, version=2, study=path().study)
    plan = _plan(connection, query)
    assert any("ix_study_study_instance_uid" in step for step in plan)
    assert _scans(plan) == []


def test_a_search_below_a_series_begins_at_the_series(connection: Connection) -> None:
    query = parse_query([], Level.INSTANCE, version=2, study=path().study, series=path().series)
    plan = _plan(connection, query)
    assert any("ix_series_series_instance_uid (study_key=? AND" in step for step in plan)
    assert any("ix_instance_series (series_key=?)" in step for step in plan)
    assert _scans(plan) == []


@pytest.mark.parametrize("coarse", [("PatientSex", "M"), ("StudyDate", "20200101-20301231")])
def test_of_two_conditions_the_more_selective_one_is_looked_up(
    connection: Connection, coarse: tuple[str, str]
) -> None:
    query = parse_query([coarse, ("PatientID", "1")], Level.STUDY, version=2)
    assert any("ix_study_patient_id_in_partition" in step for step in _plan(connection, query))


@pytest.mark.parametrize("instances", [1, 256])
def test_a_commit_looks_up_each_instance_by_its_uids(
    connection: Connection, instances: int
) -> None:
    uids = [f"2.25.{number}" for number in range(instances)]
    batch = {"partition_key": 1, "study_uids": uids, "series_uids": uids, "instance_uids": uids}
    of_tag_set, of_study, of_series, of_instance = _steps(
        connection, lambda: connection.execute(FIND, batch).all()
    )
    assert of_tag_set == "SEARCH tag_set USING INTEGER PRIMARY KEY (rowid=?)"
    assert "ix_study_study_instance_uid (partition_key=? AND study_instance_uid=?)" in of_study
    assert "ix_series_series_instance_uid (study_key=? AND series_instance_uid=?)" in of_series
    assert "ix_instance_sop_instance_uid (series_key=? AND sop_instance_uid=?)" in of_instance


@pytest.mark.parametrize("at", [ResourcePath(study_uid()), path(instance=None), path()])
def test_a_deletion_is_looked_up_among_the_deletions_alone(
    connection: Connection, at: ResourcePath
) -> None:
    (step,) = _steps(connection, lambda: has_deletion(connection, 1, at))
    assert "SEARCH change USING INDEX ix_change_deleted (partition_key=? AND study_instance" in step


def test_what_of_a_study_can_be_brought_back_is_found_by_its_deletions(
    connection: Connection,
) -> None:
    steps = _steps(connection, lambda: deletions_of_study(connection, 1, study_uid()))
    *_, changes, blobs = [step for step in steps if "change" in step or "deleted_blob" in step]
    assert "SEARCH change USING INDEX ix_change_deleted (partition_key=? AND study_inst" in changes
    assert "SEARCH deleted_blob USING INDEX ix_deleted_blob_change_id" in blobs


@pytest.mark.parametrize("partition_name", [None, "Microsoft.Default"])
def test_studies_are_found_by_their_patient(
    connection: Connection, partition_name: str | None
) -> None:
    asked = {"patient": "p1", "limit": 50}
    steps = _steps(connection, lambda: studies_of_patient(connection, partition_name, asked))
    index = "ix_study_patient_id_in_partition (partition_key=? AND patient_id=?)"
    assert f"SEARCH study USING INDEX {index}" in steps


LOOKED_UP = [
    "SEARCH partition USING INTEGER PRIMARY KEY",
    "SEARCH study USING COVERING INDEX ix_study_study_instance_uid",
    "SEARCH series USING COVERING INDEX ix_series_series_instance_uid",
    "SEARCH instance USING INDEX ix_instance_sop_instance_uid",
]


def test_entries_of_the_feed_are_found_by_their_sequence(connection: Connection) -> None:
    first, *others = _steps(connection, lambda: changes_after(connection, 5, 10))
    assert first == "SEARCH change USING INDEX ix_change_sequence (sequence>?)"
    assert all(step.startswith(known) for step, known in zip(others, LOOKED_UP, strict=True))
    latest, *others = _steps(connection, lambda: latest_change(connection))
    assert latest.startswith("SEARCH change USING INDEX ix_change_sequence")
    assert all(step.startswith(known) for step, known in zip(others, LOOKED_UP, strict=True))


def test_both_ends_of_a_window_of_the_feed_are_found_by_their_timestamps(
    connection: Connection,
) -> None:
    ends = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    start, end = _steps(connection, lambda: changes_in_window(connection, *ends, 0, 10))
    seek = "SEARCH change USING COVERING INDEX ix_change_timestamp"
    assert [start, end] == [f"{seek} (timestamp>?)", f"{seek} (timestamp<?)"]


def test_changes_without_a_number_are_found_among_themselves(connection: Connection) -> None:
    (step,) = _steps(connection, lambda: has_unnumbered(connection))
    assert "USING INDEX ix_change_unnumbered" in step
