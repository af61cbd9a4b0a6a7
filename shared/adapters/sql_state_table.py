"""Small state in rows of the index database, where there is no table storage."""

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, bindparam, delete, insert, select, update

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.locks import locking_keys
from shared.adapters.sql_index.schema import state_row
from shared.errors import ConflictError
from shared.ports import StateRow, StateTable, StateValue

_PAGE = 500

_ROWS = select(state_row.c.row_key, state_row.c.row_values, state_row.c.version).where(
    state_row.c.table_name == bindparam("table"), state_row.c.partition == bindparam("partition")
)
_ONE = _ROWS.where(state_row.c.row_key == bindparam("key"))
_TO_WRITE = locking_keys(_ONE, state_row)
_PAGE_OF_ROWS = (
    _ROWS.where(state_row.c.row_key > bindparam("after")).order_by(state_row.c.row_key).limit(_PAGE)
)
_IS_ROW = (
    state_row.c.table_name == bindparam("table"),
    state_row.c.partition == bindparam("in_partition"),
    state_row.c.row_key == bindparam("key"),
)
_ADD = insert(state_row)
_REPLACE = update(state_row).where(*_IS_ROW)
_REMOVE = delete(state_row).where(*_IS_ROW)


class SqlStateTable(StateTable):
    """State rows in the database of an index, which also closes it."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def get(self, table: str, partition: str, key: str) -> StateRow | None:
        """See StateTable."""
        return await self._database.read(lambda c: _read(c, _ONE, table, partition, key))

    async def put(
        self,
        table: str,
        partition: str,
        key: str,
        values: Mapping[str, StateValue],
        *,
        if_version: str | None = None,
    ) -> str:
        """See StateTable."""
        row = StateRow(key, values, secrets.token_hex(16))
        await self._database.write(lambda c: _write(c, table, partition, row, if_version))
        return row.version

    async def delete(self, table: str, partition: str, key: str) -> None:
        """See StateTable."""
        parameters = {"table": table, "in_partition": partition, "key": key}

        def remove(connection: Connection) -> None:
            connection.execute(_REMOVE, parameters)

        await self._database.write(remove)

    async def list(self, table: str, partition: str) -> AsyncIterator[StateRow]:
        """See StateTable; read in pages, each a snapshot of its own."""
        after = ""
        while True:
            page = await self._page(table, partition, after)
            for row in page:
                yield row
            if len(page) < _PAGE:
                return
            after = page[-1].key

    async def _page(self, table: str, partition: str, after: str) -> "_Rows":
        parameters = {"table": table, "partition": partition, "after": after}
        return await self._database.read(
            lambda c: [_state_row(row) for row in c.execute(_PAGE_OF_ROWS, parameters)]
        )


type _Rows = list[StateRow]


def _read(
    connection: Connection,
    statement: Select[*tuple[Any, ...]],
    table: str,
    partition: str,
    key: str,
) -> StateRow | None:
    parameters = {"table": table, "partition": partition, "key": key}
    row = connection.execute(statement, parameters).first()
    return None if row is None else _state_row(row)


def _state_row(row: Row[*tuple[Any, ...]]) -> StateRow:
    return StateRow(row.row_key, orjson.loads(row.row_values), row.version)


def _write(
    connection: Connection, table: str, partition: str, row: StateRow, if_version: str | None
) -> None:
    held = _read(connection, _TO_WRITE, table, partition, row.key)
    if if_version is not None and if_version != (held.version if held else ""):
        raise ConflictError("The row has changed since it was read.")
    values = {"version": row.version, "row_values": orjson.dumps(row.values).decode()}
    if held is None:
        identity = {"table_name": table, "partition": partition, "row_key": row.key}
        connection.execute(_ADD, {**identity, **values})
    else:
        identity = {"table": table, "in_partition": partition, "key": row.key}
        connection.execute(_REPLACE, {**identity, **values})
