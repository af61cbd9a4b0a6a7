"""The values that instances have of extended query tags.

Every instance has rows of its own, so that what an older one has is known when a newer one goes.
Those of the newest instance of their owner are marked; they alone are searched.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from shared.adapters.sql_index.columns import comparable
from shared.adapters.sql_index.schema import (
    MAX_WORD,
    extended_query_tag,
    extended_query_tag_error,
    instance,
    tag_set,
    tag_value_datetime,
    tag_value_integer,
    tag_value_person_name,
    tag_value_real,
    tag_value_string,
    tag_value_word,
)
from shared.dicom.extended_query_tag import TagValue, TagValues
from shared.dicom.person_name import words
from shared.dicom.resource import Level
from shared.dicom.searchable import Kind, kind_of_vr

type Row = dict[str, Any]
type _Select = Select[*tuple[Any, ...]]

TABLE_OF_KIND: dict[Kind, Table] = {
    Kind.TEXT: tag_value_string,
    Kind.UID: tag_value_string,
    Kind.PERSON_NAME: tag_value_person_name,
    Kind.DATE: tag_value_datetime,
    Kind.TIME: tag_value_datetime,
    Kind.DATE_TIME: tag_value_datetime,
    Kind.INTEGER: tag_value_integer,
    Kind.REAL: tag_value_real,
}
"""Where the values of each kind are; the words of names are in a table besides."""

TABLES = (*dict.fromkeys(TABLE_OF_KIND.values()), tag_value_word)

TAG_SET_VERSION = (
    select(tag_set.c.version).where(tag_set.c.tag_set_key == literal_column("1")).scalar_subquery()
)
"""Which set of tags there is now."""

_IS_NEWEST: ColumnElement[int] = literal_column("1")
_TAG: BindParameter[int] = bindparam("of_tag", type_=tag_value_string.c.tag_key.type)
_OWNER: BindParameter[int] = bindparam("of_owner", type_=tag_value_string.c.owner_key.type)


@dataclass(frozen=True, slots=True)
class Placed:
    """An instance by its own key and the keys above it, and what it has of tags."""

    watermark: int
    study_key: int
    series_key: int
    values: TagValues

    def owner_key(self, level: Level) -> int:
        """Key of what a tag of this level belongs to."""
        keys = {Level.STUDY: self.study_key, Level.SERIES: self.series_key}
        return keys.get(level, self.watermark)


def _values_of(table: Table) -> Table:
    """Where the newest of the owners of a table's rows is told from."""
    return tag_value_person_name if table is tag_value_word else table


def _newest(table: Table) -> Any:  # noqa: ANN401
    others = _values_of(table).alias("others")
    return (
        select(func.max(others.c.watermark))
        .where(others.c.tag_key == _TAG, others.c.owner_key == _OWNER)
        .scalar_subquery()
    )


def _of_owner(table: Table) -> Update:
    return update(table).where(table.c.tag_key == _TAG, table.c.owner_key == _OWNER)


_ADD = {table: insert(table) for table in TABLES}
_OLD = {
    table: _of_owner(table).where(table.c.is_newest == _IS_NEWEST).values(is_newest=0)
    for table in TABLES
}
_NO_LONGER_NEWEST = {
    table: _OLD[table].where(table.c.watermark < _newest(table)) for table in TABLES
}
_NEWEST_AGAIN = {
    table: _of_owner(table)
    .where(table.c.is_newest == literal_column("0"), table.c.watermark == _newest(table))
    .values(is_newest=1)
    for table in TABLES
}
_OWNED = (*TABLES, extended_query_tag_error)
_DROP = {table: delete(table).where(table.c.watermark == bindparam("of_row")) for table in _OWNED}
_INSTANCES: dict[Level, _Select] = {
    Level.STUDY: select(instance.c.watermark).where(instance.c.study_key == bindparam("of_row")),
    Level.SERIES: select(instance.c.watermark).where(instance.c.series_key == bindparam("of_row")),
}
_DROP_BELOW = {
    level: [delete(table).where(table.c.watermark.in_(rows)) for table in _OWNED]
    for level, rows in _INSTANCES.items()
} | {Level.INSTANCE: list(_DROP.values())}
_TAGS_OF_LEVEL = select(
    extended_query_tag.c.tag_key, extended_query_tag.c.vr, extended_query_tag.c.level
).where(extended_query_tag.c.level < literal_column(str(int(Level.INSTANCE))))


def add_values(connection: Connection, partition_key: int, instances: Iterable[Placed]) -> None:
    """Add what instances have that are newer than all others, in the order of their watermarks."""
    rows = _Rows(partition_key)
    for placed in instances:
        rows.take(placed, is_newest=True)
    for table, owners in rows.of_owners.items():
        pairs = [{"of_tag": tag, "of_owner": owner} for tag, owner in sorted(owners)]
        connection.execute(_OLD[table], pairs)
    rows.write(connection)


def add_missing_values(
    connection: Connection, partition_key: int, instances: Iterable[Placed]
) -> None:
    """Add what instances have of any age, of tags that they have no rows of."""
    rows = _Rows(partition_key)
    for placed in instances:
        rows.take(placed, is_newest=False)
    rows.write(connection)
    for table, owners in rows.of_owners.items():
        mark_newest(connection, table, owners)


def mark_newest(connection: Connection, table: Table, owners: Iterable[tuple[int, int]]) -> None:
    """Mark the newest rows of (tag, owner) anew."""
    pairs = [{"of_tag": tag, "of_owner": owner} for tag, owner in sorted(owners)]
    if pairs:
        connection.execute(_NO_LONGER_NEWEST[table], pairs)
        connection.execute(_NEWEST_AGAIN[table], pairs)


def drop_values(connection: Connection, watermarks: Iterable[int]) -> None:
    """Drop all that is kept of instances: values, and what was wrong with them."""
    rows = [{"of_row": watermark} for watermark in watermarks]
    for statement in _DROP.values() if rows else ():
        connection.execute(statement, rows)


def drop_values_below(connection: Connection, level: Level, key: int) -> None:
    """Drop what is kept of the instances of a study or series, which still are there, or of one."""
    for statement in _DROP_BELOW[level]:
        connection.execute(statement, {"of_row": key})


def recompute(
    connection: Connection, study_keys: Iterable[int], series_keys: Iterable[int]
) -> None:
    """Let studies and series have the values of the newest of the instances that they have now."""
    owners = {Level.STUDY: list(study_keys), Level.SERIES: list(series_keys)}
    marked: dict[Table, set[tuple[int, int]]] = {}
    for row in connection.execute(_TAGS_OF_LEVEL):
        for table in tables_of(row.vr):
            pairs = ((row.tag_key, owner) for owner in owners[Level(row.level)])
            marked.setdefault(table, set()).update(pairs)
    for table, of_table in marked.items():
        mark_newest(connection, table, of_table)


def tables_of(vr: str) -> Sequence[Table]:
    """Where the values of tags of a VR are."""
    table = TABLE_OF_KIND[kind_of_vr(vr)]
    return (table, tag_value_word) if table is tag_value_person_name else (table,)


class _Rows:
    """The rows of values, by their tables, and the studies and series that they belong to."""

    def __init__(self, partition_key: int) -> None:
        self._partition_key = partition_key
        self._rows: dict[Table, list[Row]] = {}
        self._newest: dict[tuple[int, int], list[Row]] = {}
        self.of_owners: dict[Table, set[tuple[int, int]]] = {}

    def take(self, placed: Placed, *, is_newest: bool) -> None:
        for found in placed.values.values:
            self._take(placed, found, is_newest=is_newest or found.tag.level is Level.INSTANCE)

    def _take(self, placed: Placed, found: TagValue, *, is_newest: bool) -> None:
        level, key = found.tag.level, found.tag.key
        owner = placed.owner_key(level)
        common = {
            "watermark": placed.watermark,
            "tag_key": key,
            "partition_key": self._partition_key,
            "owner_key": owner,
            "is_newest": int(is_newest),
        }
        new: list[Row] = []
        for table, value in _comparables(found):
            new.append({**common, "value": value})
            self._rows.setdefault(table, []).append(new[-1])
        if level is Level.INSTANCE or not new:
            return
        for table in tables_of(found.tag.vr):
            self.of_owners.setdefault(table, set()).add((key, owner))
        for row in self._newest.get((key, owner), ()):
            row["is_newest"] = 0
        self._newest[key, owner] = new

    def write(self, connection: Connection) -> None:
        for table, rows in self._rows.items():
            connection.execute(_ADD[table], rows)


def _comparables(found: TagValue) -> Iterator[tuple[Table, object]]:
    """A value as it is compared, and the words of a name; none if it cannot be compared."""
    value = comparable(found.tag.kind, str(found.value))
    if value is None:
        return
    yield TABLE_OF_KIND[found.tag.kind], value
    if found.tag.kind is Kind.PERSON_NAME:
        for word in dict.fromkeys(word[:MAX_WORD] for word in words(str(found.value))):
            yield tag_value_word, word
