"""Re-indexing, as rows of the index database."""

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.locks import lock_studies, locking_keys
from shared.adapters.sql_index.schema import (
    extended_query_tag,
    extended_query_tag_error,
    instance,
    reindexing,
    study,
    tag_set,
)
from shared.adapters.sql_index.tag_errors import add_errors
from shared.adapters.sql_index.tag_values import TABLE_OF_KIND, Placed, add_missing_values
from shared.adapters.sql_tag_table import read_tag_set
from shared.dicom.extended_query_tag import TagSet, TagValues
from shared.ports import (
    InstanceTags,
    InstanceToIndex,
    Reindexing,
    ReindexTable,
    TagStatus,
)

_OPERATION = reindexing.c.operation_id == bindparam("of_operation")
_PROGRESS = locking_keys(
    select(reindexing.c.highest, reindexing.c.lowest).where(_OPERATION), reindexing
)
_BEGIN = insert(reindexing)
_HIGHEST = select(func.max(instance.c.watermark))
_ADVANCE = (
    update(reindexing)
    .where(_OPERATION, reindexing.c.lowest > bindparam("new_lowest", type_=BigInteger))
    .values(lowest=bindparam("new_lowest", type_=BigInteger))
)
_FORGET = delete(reindexing).where(_OPERATION)
_READY = (
    update(extended_query_tag)
    .where(
        extended_query_tag.c.operation_id == bindparam("of_operation"),
        extended_query_tag.c.status == TagStatus.ADDING.value,
    )
    .values(status=TagStatus.READY.value, operation_id=None)
)
_TAGS = select(extended_query_tag.c.tag_key).where(
    extended_query_tag.c.operation_id == bindparam("of_operation")
)
_INSTANCES = (
    select(
        instance.c.partition_key,
        study.c.study_instance_uid,
        instance.c.watermark,
        func.coalesce(instance.c.head_id, instance.c.blob_id),
    )
    .select_from(instance.join(study, study.c.study_key == instance.c.study_key))
    .where(instance.c.watermark.between(bindparam("first"), bindparam("last")))
    .order_by(instance.c.watermark)
)
# On SQL Server no tag begins to be deleted while the transaction goes on.
_HOLD_TAGS = (
    select(tag_set.c.version)
    .where(tag_set.c.tag_set_key == literal_column("1"))
    .with_hint(tag_set, "WITH (REPEATABLEREAD, ROWLOCK)", "mssql")
)
_MARKS: BindParameter[int] = bindparam("watermarks", expanding=True)
_THERE = select(instance.c.watermark, instance.c.study_key, instance.c.series_key).where(
    instance.c.watermark.in_(_MARKS)
)
_KNOWN = [
    select(table.c.watermark, table.c.tag_key).where(table.c.watermark.in_(_MARKS))
    for table in (*dict.fromkeys(TABLE_OF_KIND.values()), extended_query_tag_error)
]


class SqlReindexTable(ReindexTable):
    """Re-indexing in the database of an index, which also closes it."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def begin(self, operation_id: str) -> Reindexing:
        """See ReindexTable."""
        return await self._database.write(lambda c: _begin(c, operation_id))

    async def tags(self, operation_id: str) -> TagSet:
        """See ReindexTable."""
        return await self._database.read(lambda c: _tags(c, operation_id))

    async def slices(self, below: int, count: int, size: int) -> Sequence[tuple[int, int]]:
        """See ReindexTable."""
        return await self._database.read(lambda c: _slices(c, below, count, size))

    async def instances(self, first: int, last: int) -> Sequence[InstanceToIndex]:
        """See ReindexTable."""
        ends = {"first": first, "last": last}
        return await self._database.read(
            lambda c: [InstanceToIndex(*row) for row in c.execute(_INSTANCES, ends)]
        )

    async def write(self, found: Sequence[InstanceTags]) -> None:
        """See ReindexTable."""
        await self._database.write(lambda c: write_missing(c, found))

    async def advance(self, operation_id: str, lowest: int) -> None:
        """See ReindexTable."""
        values = {"of_operation": operation_id, "new_lowest": lowest}
        await self._database.write(lambda c: c.execute(_ADVANCE, values))

    async def finish(self, operation_id: str) -> None:
        """See ReindexTable."""
        await self._database.write(lambda c: _finish(c, operation_id))


def _begin(connection: Connection, operation_id: str) -> Reindexing:
    row = connection.execute(_PROGRESS, {"of_operation": operation_id}).first()
    if row is not None:
        return Reindexing(*row)
    highest = connection.execute(_HIGHEST).scalar() or 0
    new = {"operation_id": operation_id, "highest": highest, "lowest": highest + 1}
    connection.execute(_BEGIN, new)
    return Reindexing(highest, highest + 1)


def _tags(connection: Connection, operation_id: str) -> TagSet:
    present = read_tag_set(connection)
    keys = set(connection.execute(_TAGS, {"of_operation": operation_id}).scalars())
    return TagSet(present.version, tuple(tag for tag in present.tags if tag.key in keys))


@cache
def _slice(size: int) -> Select[Any, Any]:
    # The size as a number: with a parameter, SQLAlchemy makes no TOP of it for SQL Server.
    below = (
        select(instance.c.watermark)
        .where(instance.c.watermark < bindparam("below", type_=BigInteger))
        .order_by(instance.c.watermark.desc())
        .limit(size)
        .subquery()
    )
    return select(func.min(below.c.watermark), func.max(below.c.watermark))


def _slices(connection: Connection, below: int, count: int, size: int) -> list[tuple[int, int]]:
    slices: list[tuple[int, int]] = []
    while len(slices) < count:
        first, last = connection.execute(_slice(size), {"below": below}).one()
        if first is None:
            break
        slices.append((first, last))
        below = first
    return slices


def write_missing(connection: Connection, found: Sequence[InstanceTags]) -> None:
    """Write what was found in instances that are still there, where it is not there yet."""
    by_partition = sorted(found, key=lambda item: item.instance.partition_key)
    for key, items in groupby(by_partition, key=lambda item: item.instance.partition_key):
        _write_in_partition(connection, key, list(items))


def _write_in_partition(
    connection: Connection, partition_key: int, found: Sequence[InstanceTags]
) -> None:
    lock_studies(connection, partition_key, (item.instance.study_uid for item in found))
    connection.execute(_HOLD_TAGS).all()
    living = {tag.key for tag in read_tag_set(connection).tags}
    marks: dict[str, Any] = {"watermarks": [item.instance.watermark for item in found]}
    there = {
        mark: (study_key, series_key)
        for mark, study_key, series_key in connection.execute(_THERE, marks)
    }
    known = {tuple(row) for statement in _KNOWN for row in connection.execute(statement, marks)}
    found = [item for item in found if item.instance.watermark in there]
    placed = []
    for item in found:
        mark = item.instance.watermark
        new = [
            value
            for value in item.values.values
            if value.tag.key in living and (mark, value.tag.key) not in known
        ]
        placed.append(Placed(mark, *there[mark], TagValues(item.values.version, tuple(new))))
    add_missing_values(connection, partition_key, placed)
    errors = {
        (item.instance.watermark, tag_key): message
        for item in found
        for tag_key, message in item.errors.items()
        if tag_key in living and (item.instance.watermark, tag_key) not in known
    }
    add_errors(connection, errors)


def _finish(connection: Connection, operation_id: str) -> None:
    connection.execute(_READY, {"of_operation": operation_id})
    connection.execute(_FORGET, {"of_operation": operation_id})
