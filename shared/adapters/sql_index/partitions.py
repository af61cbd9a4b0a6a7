"""Partitions: the tenants of the archive."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select

from shared.adapters.sql_index.locks import locking_keys
from shared.adapters.sql_index.schema import partition
from shared.ports import Partition

_ALL = select(partition.c.partition_key, partition.c.name, partition.c.created).order_by(
    partition.c.partition_key
)
_BY_NAME = _ALL.where(partition.c.name == bindparam("name"))
_TO_ADD = locking_keys(_BY_NAME, partition)
_ADD = insert(partition)


def find_partition(connection: Connection, name: str) -> Partition | None:
    """Find a partition by its name."""
    return _find(connection, _BY_NAME, name)


def _find(
    connection: Connection, statement: Select[*tuple[Any, ...]], name: str
) -> Partition | None:
    row = connection.execute(statement, {"name": name}).first()
    return None if row is None else Partition(*row)


def create_partition(connection: Connection, name: str) -> Partition:
    """Find a partition, or make it."""
    found = _find(connection, _TO_ADD, name)
    if found is not None:
        return found
    connection.execute(_ADD, {"name": name, "created": datetime.now(UTC)})
    row = connection.execute(_BY_NAME, {"name": name}).one()
    return Partition(*row)


def list_partitions(connection: Connection) -> list[Partition]:
    """All partitions, oldest first."""
    return [Partition(*row) for row in connection.execute(_ALL)]
