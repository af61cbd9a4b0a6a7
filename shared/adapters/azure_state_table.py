"""Small state in the tables of a storage account."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import EdmType, EntityProperty, TableClient, TableEntity, UpdateMode

from shared.adapters.azure_account import StorageAccount
from shared.adapters.own_threads import OwnThreads
from shared.errors import ConflictError, StoreUnavailableError
from shared.ports import StateRow, StateTable, StateValue

_OF_PARTITION = "PartitionKey eq @partition"
_FORBIDDEN = re.compile(r"[/\\#?%!\x00-\x1f\x7f-\x9f]")
"""In keys (Microsoft Learn, "Understanding the Table service data model"), and our own mark."""
_MARKED = re.compile(r"!([0-9A-F]{2})")


class AzureStateTable(StateTable):
    """State rows in table storage; a table is made by the first row that is written to it.

    A row's version is its ETag. Keys with characters that are forbidden there are written in
    another way, which is the one that they are listed by.
    """

    def __init__(self, account: StorageAccount, *, page_rows: int = 1000) -> None:
        self._account = account
        self._page_rows = page_rows
        # Its asynchronous client would need one more HTTP library.
        self._threads = OwnThreads("tables")

    async def get(self, table: str, partition: str, key: str) -> StateRow | None:
        """See StateTable."""
        return await self._run(self._get, table, partition, key)

    def _get(self, table: str, partition: str, key: str) -> StateRow | None:
        try:
            return _row(self._table(table).get_entity(_encoded(partition), _encoded(key)))
        except ResourceNotFoundError:
            return None

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
        return await self._run(
            self._put, self._table(table), _entity(partition, key, values), if_version
        )

    def _put(self, table: TableClient, entity: "_Entity", if_version: str | None) -> str:
        try:
            return _write(table, entity, if_version)
        except ResourceNotFoundError as error:
            if if_version:
                raise ConflictError(_CHANGED) from error
        self._account.tables.create_table_if_not_exists(table.table_name)
        return _write(table, entity, if_version)

    async def delete(self, table: str, partition: str, key: str) -> None:
        """See StateTable."""
        # Neither a missing row nor a missing table is an error to this client.
        await self._run(self._table(table).delete_entity, _encoded(partition), _encoded(key))

    async def list(self, table: str, partition: str) -> AsyncIterator[StateRow]:
        """See StateTable."""
        entities = self._table(table).query_entities(
            _OF_PARTITION,
            parameters={"partition": _encoded(partition)},
            results_per_page=self._page_rows,
        )
        pages = entities.by_page()
        while page := await self._run(_next_page, pages):
            for row in page:
                yield row

    def _table(self, name: str) -> TableClient:
        return self._account.tables.get_table_client(name)

    async def _run[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def translated() -> R:
            with _translated():
                return function(*args, **kwargs)

        return await self._threads.run(translated)


_CHANGED = "The row has changed since it was read."

type _Entity = dict[str, Any]


def _entity(partition: str, key: str, values: Mapping[str, StateValue]) -> _Entity:
    keys = {"PartitionKey": _encoded(partition), "RowKey": _encoded(key)}
    return {name: _property(value) for name, value in values.items()} | keys


def _property(value: StateValue) -> StateValue | EntityProperty:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return EntityProperty(value, EdmType.INT64) if is_integer else value


def _row(entity: TableEntity) -> StateRow:
    values = {
        name: value.value if isinstance(value, EntityProperty) else value
        for name, value in entity.items()
        if name not in ("PartitionKey", "RowKey")
    }
    return StateRow(_decoded(entity["RowKey"]), values, str(entity.metadata["etag"]))


def _write(table: TableClient, entity: _Entity, if_version: str | None) -> str:
    if if_version is None:
        written = table.upsert_entity(entity, UpdateMode.REPLACE)
    elif if_version:
        written = table.update_entity(
            entity,
            UpdateMode.REPLACE,
            etag=if_version,
            match_condition=MatchConditions.IfNotModified,
        )
    else:
        written = table.create_entity(entity)
    return str(written["etag"])


def _next_page(pages: Iterator[Iterator[TableEntity]]) -> list[StateRow]:
    try:
        # Azure may send a page of none before one of some.
        while (page := next(pages, None)) is not None:
            if rows := [_row(entity) for entity in page]:
                return rows
    except ResourceNotFoundError:
        pass  # The table has not been written to.
    return []


def _encoded(key: str) -> str:
    return _FORBIDDEN.sub(lambda found: f"!{ord(found[0]):02X}", key)


def _decoded(key: str) -> str:
    return _MARKED.sub(lambda found: chr(int(found[1], 16)), key)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ResourceExistsError, ResourceModifiedError) as error:
        raise ConflictError(_CHANGED) from error
    except AzureError as error:
        raise StoreUnavailableError("Table storage does not answer.") from error
