"""Every statement of the index: those that modules prepare, and those that it issues."""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    ClauseElement,
    Column,
    Connection,
    Delete,
    Engine,
    Insert,
    Select,
    TextClause,
    Update,
    event,
)
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from shared import adapters
from shared.adapters import sql_index
from tests.contracts.tsql.wire import INTERFACE

_STATEMENTS = (Select, Insert, Update, Delete)
_VALUES = {str: "1.2.3", int: 1, datetime: datetime(2026, 1, 1, tzinfo=UTC)}
_IN_A_LIST = 3
_DIALECT = mssql.dialect(paramstyle="qmark")  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Issued:
    """A statement with its parameters: several sets of them where it is for many rows."""

    statement: ClauseElement
    parameters: Sequence[dict[str, Any]]

    def send(self, connection: Connection) -> None:
        """Issue it over another connection."""
        many = list(self.parameters)
        values = many if len(many) > 1 else many[0]
        result = connection.execute(self.statement, values)  # type: ignore[call-overload]
        if result.returns_rows:
            result.fetchall()


@contextmanager
def noted() -> Iterator[list[Issued]]:
    """The statements that are issued within, over whatever engine."""
    issued: list[Issued] = []

    def note(
        _connection: Connection, statement: ClauseElement, many: Any, one: Any, _options: object
    ) -> None:
        if isinstance(statement, _STATEMENTS):  # Savepoints are only SQLite's.
            issued.append(Issued(statement, list(many) or [one]))

    event.listen(Engine, "before_execute", note)
    try:
        yield issued
    finally:
        event.remove(Engine, "before_execute", note)


def prepared() -> dict[str, ClauseElement]:
    """The statements that modules hold, also in collections and objects, by where they are."""
    return {
        where: statement
        for module in _modules()
        for name, value in vars(importlib.import_module(module)).items()
        for where, statement in _held(value, f"{module.rpartition('.')[2]}.{name}")
    }


def written() -> list[str]:
    """The statements that modules hold as text, with marks for their parameters."""
    return [
        str(value.compile(dialect=_DIALECT))
        for module in _modules()
        for value in vars(importlib.import_module(module)).values()
        if isinstance(value, TextClause)
    ]


def _modules() -> Iterator[str]:
    for package in (sql_index, adapters):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name.startswith(f"{adapters.__name__}.sql_") and not module.ispkg:
                yield module.name


def _held(value: object, where: str) -> Iterator[tuple[str, ClauseElement]]:
    if isinstance(value, _STATEMENTS):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _held(item, f"{where}[{key}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _held(item, f"{where}[{number}]")
    elif type(value).__module__.startswith(sql_index.__name__) and hasattr(value, "__dict__"):
        for name, item in vars(value).items():
            yield from _held(item, f"{where}.{name}")


def takes_its_columns_from_rows(statement: ClauseElement) -> bool:
    """Whether a statement says what it sets only once it is issued with rows."""
    return isinstance(statement, Insert | Update) and not statement._values


def unlike_in_type(statement: ClauseElement) -> Iterator[str]:
    """Comparisons of a column with a parameter that is sent as another type.

    SQL Server converts the one of lower precedence: a VARCHAR column is converted row by row where
    it is compared with an NVARCHAR parameter, and no index is sought.
    """
    for item in visitors.iterate(statement):
        if isinstance(item, BinaryExpression):
            column, other = item.left, item.right
            if isinstance(column, Column) and isinstance(other, BindParameter):
                types = [_sent_as(column.type), _sent_as(other.type)]
                if types[0] != types[1]:
                    yield f"{item} as {types}"


def _sent_as(kind: TypeEngine[Any]) -> str:
    driver: Any = INTERFACE
    return str(kind.dialect_impl(_DIALECT).get_dbapi_type(driver))


def with_values(statement: ClauseElement) -> Issued:
    """A statement with made-up parameters of the types that it compares or sets."""
    compiled = statement.compile(dialect=_DIALECT)
    assert isinstance(compiled, SQLCompiler)
    needed = {name: item for name, item in compiled.binds.items() if item.required}
    return Issued(statement, [{name: _value(item) for name, item in needed.items()}])


def _value(parameter: BindParameter[Any]) -> object:
    kind = getattr(parameter.type, "impl", parameter.type)
    value = _VALUES[kind.python_type]
    return [value] * _IN_A_LIST if parameter.expanding else value
