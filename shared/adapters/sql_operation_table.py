"""Long-running operations as rows of the index database."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.schema import operation
from shared.ports import Operation, OperationStatus, OperationTable, OperationType

_FINAL = [status.value for status in OperationStatus if status.is_final]
_UNFINISHED = [status.value for status in OperationStatus if not status.is_final]

_ALL = select(operation)
_ONE = _ALL.where(operation.c.operation_id == bindparam("id"))
_PAGE = (
    _ALL.order_by(operation.c.created.desc(), operation.c.operation_id)
    .limit(bindparam("limit", type_=operation.c.percent_complete.type))
    .offset(bindparam("offset", type_=operation.c.percent_complete.type))
)
_NOT_FINAL = _ALL.where(operation.c.status.in_(_UNFINISHED)).order_by(operation.c.created)
# SQL Server must lock the range, lest two of a type be added at once; SQLite has one writer.
_OF_TYPE = _NOT_FINAL.where(operation.c.type == bindparam("of_type")).with_hint(
    operation, "WITH (UPDLOCK, HOLDLOCK)", "mssql"
)
_ADD = insert(operation)
_CHANGE = update(operation).where(
    operation.c.operation_id == bindparam("id"), operation.c.status.in_(_UNFINISHED)
)
_OLD = (
    select(operation.c.operation_id)
    .where(operation.c.status.in_(_FINAL), operation.c.last_updated < bindparam("before"))
    .order_by(operation.c.last_updated)
    .limit(bindparam("limit", type_=operation.c.percent_complete.type))
)
_REMOVE = delete(operation).where(operation.c.operation_id == bindparam("id"))


class SqlOperationTable(OperationTable):
    """Operations in the database of an index, which also closes it."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def add(self, operation: Operation, *, alone: bool) -> Operation | None:
        """See OperationTable."""
        return await self._database.write(lambda c: add_operation(c, operation, alone=alone))

    async def find(self, operation_id: str) -> Operation | None:
        """See OperationTable."""
        return await self._database.read(
            lambda c: next(_operations(c.execute(_ONE, {"id": operation_id}).all()), None)
        )

    async def list(self, limit: int, offset: int) -> Sequence[Operation]:
        """See OperationTable."""
        page = {"limit": limit, "offset": offset}
        return await self._database.read(lambda c: list(_operations(c.execute(_PAGE, page).all())))

    async def unfinished(self) -> Sequence[Operation]:
        """See OperationTable."""
        return await self._database.read(lambda c: list(_operations(c.execute(_NOT_FINAL).all())))

    async def update(
        self,
        operation_id: str,
        now: datetime,
        *,
        status: OperationStatus,
        percent_complete: int | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> bool:
        """See OperationTable."""
        values: dict[str, Any] = {"last_updated": now, "status": status.value}
        if percent_complete is not None:
            values["percent_complete"] = percent_complete
        if results is not None:
            values["results"] = orjson.dumps(results).decode()
        change = _CHANGE.values(values)
        return await self._database.write(
            lambda c: c.execute(change, {"id": operation_id}).rowcount == 1
        )

    async def final(self, before: datetime, limit: int) -> Sequence[str]:
        """See OperationTable."""
        page = {"before": before, "limit": limit}
        return await self._database.read(lambda c: list(c.execute(_OLD, page).scalars()))

    async def remove(self, operation_id: str) -> None:
        """See OperationTable."""

        def remove(connection: Connection) -> None:
            connection.execute(_REMOVE, {"id": operation_id})

        await self._database.write(remove)


def add_operation(connection: Connection, new: Operation, *, alone: bool) -> Operation | None:
    """Note a new operation, or give the one that must end first."""
    if alone:
        others = connection.execute(_OF_TYPE, {"of_type": new.type.value}).all()
        if others:
            return next(_operations(others))
    row = {
        "operation_id": new.id,
        "type": new.type.value,
        "status": new.status.value,
        "created": new.created,
        "last_updated": new.last_updated,
        "percent_complete": new.percent_complete,
        "input": orjson.dumps(new.input).decode(),
        "results": None if new.results is None else orjson.dumps(new.results).decode(),
    }
    connection.execute(_ADD, row)
    return None


def _operations(rows: Sequence[Row[*tuple[Any, ...]]]) -> Iterator[Operation]:
    for row in rows:
        yield Operation(
            id=row.operation_id,
            type=OperationType(row.type),
            status=OperationStatus(row.status),
            created=row.created,
            last_updated=row.last_updated,
            percent_complete=row.percent_complete,
            input=orjson.loads(row.input),
            results=None if row.results is None else orjson.loads(row.results),
        )
