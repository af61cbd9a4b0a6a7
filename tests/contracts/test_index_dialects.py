"""The statements of the index are the same on both databases; here they are seen to compile."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from sqlalchemy import ClauseElement, Delete, Dialect, Insert, Select, Update
from sqlalchemy.dialects import mssql, sqlite

from shared.adapters import sql_index
from shared.adapters.sql_index.attributes import SERIES_DOCUMENTS

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
