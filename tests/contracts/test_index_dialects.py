"""The statements of the index are the same on both databases; here they are seen to compile."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from sqlalchemy import ClauseElement, Delete, Dialect, Insert, Select, Update
from sqlalchemy.dialects import mssql, sqlite

from shared.adapters import sql_index
from shared.adapters.sql_index.attributes import SERIES_DOCUMENTS
from shared.adapters.sql_index.commit import FIND, ROWS_AT_ONCE
from shared.adapters.sql_index.search import statements_for, taken_apart
from shared.dicom.resource import Level
from shared.dicom.uid import Uid
from shared.dicomweb.query import parse_query
from tests.contracts.index_data import path

MODULES = [
    f"{sql_index.__name__}.{module.name}"
    for module in pkgutil.iter_modules(sql_index.__path__)
    if module.name != "migrations"
] + ["shared.adapters.sql_state_table"]


def _statements(values: object) -> Iterator[ClauseElement]:
    if isinstance(values, dict):
        for value in values.values():
            yield from _statements(value)
    elif isinstance(values, Select | Insert | Update | Delete):
        yield values


DIALECTS: list[Dialect] = [sqlite.dialect(), mssql.dialect()]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("dialect", DIALECTS, ids=["sqlite", "mssql"])
def test_every_prepared_statement_compiles(dialect: Dialect) -> None:
    statements = [
        statement
        for module in MODULES
        for statement in _statements(vars(importlib.import_module(module)))
    ] + list(_statements(vars(SERIES_DOCUMENTS)))
    assert len(statements) > 40
    for statement in statements:
        assert str(statement.compile(dialect=dialect))


SEARCHES = [
    (Level.STUDY, {"StudyDate": "20260101-20260131", "ModalitiesInStudy": "CT"}, {}),
    (Level.STUDY, {"PatientName": "jo do", "fuzzymatching": "true", "offset": "10"}, {}),
    (Level.SERIES, {"ModalitiesInStudy": "CT"}, {}),
    (Level.SERIES, {"SeriesDescription": "a*[b]?%_"}, {"study": path().study}),
    (Level.INSTANCE, {"PatientID": "1", "Modality": "CT", "SOPInstanceUID": "1.2,1.3"}, {}),
    (Level.STUDY, {"StudyDate": "20260101-20260131", "StudyTime": "10-09"}, {}),
    (Level.STUDY, {"ModalitiesInStudy": '""', "emptyvaluematching": "true"}, {}),
    (Level.STUDY, {"ModalitiesInStudy": "CT,MR", "multiplevaluematching": "true"}, {}),
    (Level.SERIES, {"RequestAttributesSequence.RequestedProcedureID": "1,2"}, {}),
    (Level.INSTANCE, {}, {"study": path().study, "series": path().series}),
]


@pytest.mark.parametrize("dialect", DIALECTS, ids=["sqlite", "mssql"])
@pytest.mark.parametrize(("level", "parameters", "scope"), SEARCHES)
def test_searches_compile(
    dialect: Dialect, level: Level, parameters: dict[str, str], scope: dict[str, Uid]
) -> None:
    query = parse_query(list(parameters.items()), level, version=2, **scope)  # type: ignore[arg-type]
    shape, _ = taken_apart(query)
    statements = statements_for(shape)
    assert str(statements.page.compile(dialect=dialect))
    assert str(statements.count.compile(dialect=dialect))


def test_a_full_batch_is_found_within_the_parameters_that_azure_sql_takes() -> None:
    uids = [str(number) for number in range(ROWS_AT_ONCE)]
    batch = {"partition_key": 1, "study_uids": uids, "series_uids": uids, "instance_uids": uids}
    compiled = FIND.compile(dialect=mssql.dialect())  # type: ignore[no-untyped-call]
    assert 3 * ROWS_AT_ONCE < len(compiled.construct_expanded_state(batch).parameters) <= 2099
