"""Extended query tags as rows of the index database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.locks import locking_rows
from shared.adapters.sql_index.schema import (
    extended_query_tag,
    extended_query_tag_error,
    instance,
    partition,
    series,
    study,
    tag_set,
)
from shared.adapters.sql_index.tag_values import TABLES, TAG_SET_VERSION
from shared.adapters.sql_operation_table import add_operation
from shared.dicom.extended_query_tag import NewTag, TagSet
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.errors import ConflictError, TagLimitError
from shared.ports import ExtendedQueryTag, Operation, TagError, TagStatus, TagTable

_ENABLED, _DISABLED = "enabled", "disabled"
_ROWS_AT_ONCE = 1000

_NUMBER = extended_query_tag.c.level.type
_PATH = extended_query_tag.c.path == bindparam("of_path")
_KEY = extended_query_tag.c.tag_key == bindparam("of_key")
_ERRORS = (
    select(func.count())
    .select_from(extended_query_tag_error)
    .where(extended_query_tag_error.c.tag_key == extended_query_tag.c.tag_key)
    .scalar_subquery()
)
_ALL = select(extended_query_tag, _ERRORS.label("errors"))
_TO_JOIN = locking_rows(_ALL, extended_query_tag)
_ONE = _ALL.where(_PATH)
_PAGE = (
    _ALL.order_by(extended_query_tag.c.tag_key)
    .limit(bindparam("limit", type_=_NUMBER))
    .offset(bindparam("offset", type_=_NUMBER))
)
_INDEXED = (
    select(extended_query_tag, literal_column("0").label("errors"))
    .where(extended_query_tag.c.status != TagStatus.DELETING.value)
    .order_by(extended_query_tag.c.tag_key)
)
_MOVE_VERSION = (
    update(tag_set)
    .where(tag_set.c.tag_set_key == literal_column("1"))
    .values(version=tag_set.c.version + 1)
)
_SET_VERSION = update(tag_set).where(tag_set.c.tag_set_key == literal_column("1"))
_ADD = insert(extended_query_tag)
_JOIN_OPERATION = update(extended_query_tag).where(_KEY)
_CHANGE = update(extended_query_tag).where(_PATH)
_ERROR_PAGE = (
    select(
        partition.c.name,
        study.c.study_instance_uid,
        series.c.series_instance_uid,
        instance.c.sop_instance_uid,
        extended_query_tag_error.c.created,
        extended_query_tag_error.c.message,
    )
    .select_from(
        extended_query_tag.join(
            extended_query_tag_error,
            extended_query_tag_error.c.tag_key == extended_query_tag.c.tag_key,
        )
        .join(instance, instance.c.watermark == extended_query_tag_error.c.watermark)
        .join(series, series.c.series_key == instance.c.series_key)
        .join(study, study.c.study_key == instance.c.study_key)
        .join(partition, partition.c.partition_key == instance.c.partition_key)
    )
    .where(_PATH)
    .order_by(extended_query_tag_error.c.watermark)
    .limit(bindparam("limit", type_=_NUMBER))
    .offset(bindparam("offset", type_=_NUMBER))
)
_OWNED = (*TABLES, extended_query_tag_error)
_DELETE_SOME = [
    delete(table).where(
        table.c.tag_key == bindparam("of_key"),
        table.c.watermark.in_(
            select(table.c.watermark)
            .where(table.c.tag_key == bindparam("of_key"))
            .limit(_ROWS_AT_ONCE)
        ),
    )
    for table in _OWNED
]
_DELETE = delete(extended_query_tag).where(_KEY)


class SqlTagTable(TagTable):
    """Tags in the database of an index, which also closes it."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def tag_set(self) -> TagSet:
        """See TagTable."""
        return await self._database.read(read_tag_set)

    async def add(
        self, tags: Sequence[NewTag], operation: Operation, most: int
    ) -> Operation | None:
        """See TagTable."""
        return await self._database.write(lambda c: _add(c, tags, operation, most))

    async def list(self, limit: int, offset: int) -> Sequence[ExtendedQueryTag]:
        """See TagTable."""
        page = {"limit": limit, "offset": offset}
        return await self._database.read(lambda c: [_tag(row) for row in c.execute(_PAGE, page)])

    async def find(self, path: str) -> ExtendedQueryTag | None:
        """See TagTable."""
        return await self._database.read(lambda c: _find(c, path))

    async def enable(self, path: str, *, is_enabled: bool) -> ExtendedQueryTag | None:
        """See TagTable."""
        values = {"query_status": _ENABLED if is_enabled else _DISABLED}
        return await self._database.write(lambda c: _change(c, path, values))

    async def errors(self, path: str, limit: int, offset: int) -> Sequence[TagError]:
        """See TagTable."""
        page = {"of_path": path, "limit": limit, "offset": offset}
        return await self._database.read(
            lambda c: [_error(row) for row in c.execute(_ERROR_PAGE, page)]
        )

    async def begin_deletion(self, path: str) -> int | None:
        """See TagTable."""
        return await self._database.write(lambda c: _begin_deletion(c, path))

    async def delete_some(self, key: int) -> bool:
        """See TagTable."""
        return await self._database.write(lambda c: _delete_some(c, key))

    async def restore(self, tags: Sequence[NewTag], version: int) -> TagSet:
        """See TagTable."""
        return await self._database.write(lambda c: _restore(c, tags, version))


def read_tag_set(connection: Connection) -> TagSet:
    """The tags that instances are indexed by."""
    # The version first: with tags of a later one it is refused, the other way round it is not.
    version = connection.execute(select(TAG_SET_VERSION)).scalar_one()
    return TagSet(version, tuple(_tag(row).indexed for row in connection.execute(_INDEXED)))


def _find(connection: Connection, path: str) -> ExtendedQueryTag | None:
    row = connection.execute(_ONE, {"of_path": path}).first()
    return None if row is None else _tag(row)


def _add(
    connection: Connection, tags: Sequence[NewTag], operation: Operation, most: int
) -> Operation | None:
    other = add_operation(connection, operation, alone=True)
    if other is not None:
        return other
    connection.execute(_MOVE_VERSION)  # From here on no instance is stored by another set.
    held = {tag.path: tag for tag in map(_tag, connection.execute(_TO_JOIN))}
    new = [tag for tag in tags if tag.path not in held]
    if len(held) + len(new) > most:
        raise TagLimitError(f"There may be {most} extended query tags at most.")
    for tag in tags:
        if tag.path in held:
            _join_operation(connection, held[tag.path], tag, operation.id)
    if new:
        connection.execute(_ADD, [_row(tag, TagStatus.ADDING, operation.id) for tag in new])
    return None


def _join_operation(
    connection: Connection, held: ExtendedQueryTag, tag: NewTag, operation_id: str
) -> None:
    """Let a tag whose operation came to nothing take part in a new one; there is no other."""
    is_same = (held.vr, held.level, held.private_creator) == (
        tag.vr,
        tag.level,
        tag.private_creator,
    )
    if held.status is not TagStatus.ADDING or not is_same:
        raise ConflictError("One of the extended query tags exists already.")
    connection.execute(_JOIN_OPERATION, {"of_key": held.key, "operation_id": operation_id})


def _change(connection: Connection, path: str, values: dict[str, str]) -> ExtendedQueryTag | None:
    connection.execute(_CHANGE.values(values), {"of_path": path})
    return _find(connection, path)


def _begin_deletion(connection: Connection, path: str) -> int | None:
    connection.execute(_MOVE_VERSION)
    tag = _change(connection, path, {"status": TagStatus.DELETING.value})
    return None if tag is None else tag.key


def _delete_some(connection: Connection, key: int) -> bool:
    some = {"of_key": key}
    if any(connection.execute(statement, some).rowcount for statement in _DELETE_SOME):
        return True
    connection.execute(_DELETE, {"of_key": key})
    return False


def _restore(connection: Connection, tags: Sequence[NewTag], version: int) -> TagSet:
    connection.execute(_SET_VERSION.values(version=version))
    if tags:
        connection.execute(_ADD, [_row(tag, TagStatus.READY, None) for tag in tags])
    return read_tag_set(connection)


def _row(tag: NewTag, status: TagStatus, operation_id: str | None) -> dict[str, Any]:
    return {
        "path": tag.path,
        "vr": tag.vr,
        "private_creator": tag.private_creator,
        "level": int(tag.level),
        "status": status.value,
        "query_status": _ENABLED,
        "operation_id": operation_id,
    }


def _tag(row: Row[*tuple[Any, ...]]) -> ExtendedQueryTag:
    return ExtendedQueryTag(
        key=row.tag_key,
        path=row.path,
        vr=row.vr,
        level=Level(row.level),
        private_creator=row.private_creator,
        status=TagStatus(row.status),
        is_enabled=row.query_status == _ENABLED,
        errors=row.errors,
        operation_id=row.operation_id,
    )


def _error(row: Row[*tuple[Any, ...]]) -> TagError:
    name, study_uid, series_uid, instance_uid, created, message = row
    path = ResourcePath(Uid(study_uid), Uid(series_uid), Uid(instance_uid))
    return TagError(name, path, created, message)
