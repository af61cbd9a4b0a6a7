"""An engine for Azure SQL whose driver only notes what SQL Server would be sent.

All above the driver is what runs on Azure: SQLAlchemy's dialect, its batches of rows, its types of
parameters. An insert that asks for keys gets one for each row, and the set of extended query tags
has its first version; every other statement finds nothing.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, create_engine

type Row = tuple[Any, ...]

SQL_VARCHAR, SQL_WVARCHAR = 12, -9

INTERFACE = SimpleNamespace(
    paramstyle="qmark",
    version="5.5.0",
    Error=type("Error", (Exception,), {}),
    Cursor=SimpleNamespace(nextset=None),
    SQL_VARCHAR=SQL_VARCHAR,
    SQL_WVARCHAR=SQL_WVARCHAR,
    NUMBER="NUMBER",
    DATETIME="DATETIME",
)
"""What SQLAlchemy asks of pyodbc, which cannot be imported where there is no ODBC."""

_ABOUT_SERVER = {
    "SELECT CAST(SERVERPROPERTY('ProductVersion') AS VARCHAR)": "12.0.2000.8",
    "SELECT schema_name()": "dbo",
}
"""What Azure SQL says of itself when SQLAlchemy first connects."""

_LOCKED = "SELECT @outcome"
_VERSION_OF_TAG_SET = "SELECT (SELECT tag_set.version "

_ROWS_TO_INSERT = re.compile(r"OUTPUT inserted\.\w+.* FROM \(VALUES (.*)\) AS imp_sen", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement with the parameters of one execution, and the types they are sent as."""

    text: str
    parameters: Row
    types: Row


@dataclass
class Wire:
    """All that was sent, in order."""

    sent: list[Sent] = field(default_factory=list)

    @contextmanager
    def connected(self) -> Iterator[tuple["Wire", Connection]]:
        """A connection, in a transaction, that sends here."""
        engine = create_engine(
            "mssql+pyodbc://", module=INTERFACE, creator=lambda: _Connection(self)
        )
        engine.connect().close()  # SQLAlchemy asks what the server is; that is none of ours.
        self.sent.clear()
        with engine.begin() as connection:
            yield self, connection
        engine.dispose()

    @property
    def texts(self) -> list[str]:
        """The distinct statements, in the order of their first use."""
        return list(dict.fromkeys(item.text for item in self.sent))


class _Connection:
    autocommit = False

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def cursor(self) -> "_Cursor":
        return _Cursor(self._wire)

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...

    def add_output_converter(self, *of_type: object) -> None: ...


class _Cursor:
    rowcount = 1  # Alembic counts the rows of its one row.

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._types: Row = ()
        self._rows: list[Row] = []
        self.description: list[Row] | None = None

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        self._types = tuple(size[0] for size in sizes)

    def execute(self, text: str, parameters: Row = ()) -> None:
        self._wire.sent.append(Sent(text, tuple(parameters), self._types))
        self._rows = _found(text)
        width = len(self._rows[0]) if self._rows else 1
        self.description = [("column", None, None, None, None, None, None)] * width

    def executemany(self, text: str, rows: Sequence[Row]) -> None:
        self._wire.sent += [Sent(text, tuple(row), self._types) for row in rows]
        self.description = None

    def fetchone(self) -> Row | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Row]:
        rows, self._rows = self._rows, []
        return rows

    def nextset(self) -> bool:
        return False

    def close(self) -> None: ...


def _found(text: str) -> list[Row]:
    if text in _ABOUT_SERVER:
        return [(_ABOUT_SERVER[text],)]
    if _LOCKED in text or text.startswith(_VERSION_OF_TAG_SET):
        return [(0,)]
    if inserts := _ROWS_TO_INSERT.search(text):
        return [(key, key) for key in range(inserts[1].count("("))]
    return [(1,)] if "OUTPUT inserted." in text else []
