"""Search: first the keys of one page of results, newest first, then the rows of that page."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import batched, chain, count
from typing import Any

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Row,
    Select,
    Table,
    bindparam,
    func,
    select,
)

from shared.adapters.sql_index.columns import COLUMNS, TABLES
from shared.adapters.sql_index.matching import (
    PARTITION_KEY,
    Criterion,
    condition_on_items,
    condition_on_row,
    condition_on_row_above,
    condition_on_tag,
    criterion_of,
)
from shared.adapters.sql_index.schema import instance, series, study
from shared.dicom.json_model import Document
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.searchable import (
    INSTANCE_AVAILABILITY,
    MODALITIES_IN_STUDY,
    NUMBER_OF_SERIES_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_SERIES,
)
from shared.dicom.uid import Uid
from shared.dicom.value_representation import element
from shared.dicomweb.query import SearchQuery
from shared.ports import Match, Matches

_COUNTED = 10_001
"""So many results are counted, and no more."""

_AT_ONCE = 1000
"""So many results are read at once."""

_SHAPES = 256
"""Of so many kinds of search the statements are kept."""

type _Select = Select[*tuple[Any, ...]]
type _Row = Row[*tuple[Any, ...]]

_KEYS = {
    Level.STUDY: study.c.study_key,
    Level.SERIES: series.c.series_key,
    Level.INSTANCE: instance.c.watermark,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A search without its values."""

    level: Level
    is_in_study: bool
    is_in_series: bool
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of every search of one shape."""

    page: _Select
    keys: _Select
    count: _Select


def search(connection: Connection, partition_key: int, query: SearchQuery) -> Matches:
    """The page of results that a query asks for, and how many come after it."""
    shape, values = taken_apart(query)
    statements = statements_for(shape)
    parameters = {"partition_key": partition_key, **values}
    keys: Sequence[int] = ()
    if query.limit <= _AT_ONCE:
        rows = connection.execute(statements.page, parameters).all()
        results = _matches(query.level, rows[: query.limit])
        has_more = len(rows) > query.limit
    else:
        keys = connection.execute(statements.keys, parameters).scalars().all()
        has_more = len(keys) > query.limit
        results = matches_of(connection, query.level, keys[:_AT_ONCE])
        keys = keys[_AT_ONCE : query.limit]
    if not has_more:
        return Matches(results, 0, keys)
    given = query.offset + query.limit
    if given >= _COUNTED:
        return Matches(results, None, keys)
    total = connection.execute(statements.count, parameters).scalar_one()
    return Matches(results, None if total == _COUNTED else total - given, keys)


def matches_of(connection: Connection, level: Level, keys: Sequence[int]) -> list[Match]:
    """The results of these keys that are still there, newest first."""
    return [
        match
        for some in batched(keys, _AT_ONCE, strict=False)
        for match in _matches(level, connection.execute(_OF_KEYS[level], {"keys": some}))
    ]


def _matches(level: Level, rows: Iterable[_Row]) -> list[Match]:
    above = _Above()
    return [_match(level, row, above) for row in rows]


def taken_apart(query: SearchQuery) -> tuple[Shape, dict[str, Any]]:
    """What sort of search a query is, and the values of the parameters of its statements."""
    # What is asked of items is asked of one item at once, so it comes together, at the end.
    parts = sorted(map(criterion_of, query.conditions), key=lambda part: part[0].is_in_item)
    criteria = tuple(criterion for criterion, _ in parts)
    shape = Shape(query.level, query.study is not None, query.series is not None, criteria)
    values = dict(zip(_names(), chain.from_iterable(found for _, found in parts), strict=False))
    scope = {"study_uid": query.study, "series_uid": query.series}
    return shape, {**scope, "page_limit": query.limit + 1, "page_offset": query.offset, **values}


class _Offset(BindParameter[int]):
    """An offset that is told at execution.

    For SQL Server, SQLAlchemy (2.1) asks the offset of a subquery for its number only to see that
    there is one, and knows no answer for a parameter.
    """

    inherit_cache = True
    _limit_offset_value = 0


@lru_cache(_SHAPES)
def statements_for(shape: Shape) -> Statements:
    """The statements for a shape; to build them costs more than most searches."""
    keys = _matching_keys(shape)
    counted = select(func.count()).select_from(keys.limit(_COUNTED).subquery())
    limit, offset = bindparam("page_limit", type_=Integer), _Offset("page_offset", type_=Integer)
    page = keys.order_by(_KEYS[shape.level].desc()).limit(limit).offset(offset)
    return Statements(_results(shape.level, page), page, counted)


def _names() -> Iterator[str]:
    """Names of the parameters for the values of conditions, in their order."""
    return (f"value_{number}" for number in count())


def _matching_keys(shape: Shape) -> _Select:
    """The keys of everything that a search matches."""
    table = TABLES[shape.level]
    needed: set[FromClause] = set()
    conditions = [table.c.partition_key == PARTITION_KEY]
    if shape.is_in_study:
        conditions.append(study.c.study_instance_uid == bindparam("study_uid"))
        needed.add(study)
    if shape.is_in_series:
        conditions.append(series.c.series_instance_uid == bindparam("series_uid"))
        needed.add(series)
    names = _names()
    of_items = [criterion for criterion in shape.criteria if criterion.is_in_item]
    others = shape.criteria[: len(shape.criteria) - len(of_items)]
    conditions += [_condition(shape, criterion, names, needed) for criterion in others]
    if of_items:
        conditions.append(condition_on_items(shape.level, of_items, names))
    rows = _joined(table, needed)
    return select(_KEYS[shape.level].label("key")).select_from(rows).where(*conditions)


def _condition(
    shape: Shape, criterion: Criterion, names: Iterator[str], needed: set[FromClause]
) -> ColumnElement[bool]:
    """A condition on the rows, and on those of the tables that it then needs."""
    if criterion.extension is not None:
        return condition_on_tag(shape.level, criterion, criterion.extension, names)
    column = COLUMNS.get(criterion.tag)
    is_above = column is not None and column.table is not TABLES[shape.level]
    is_everywhere = not shape.is_in_study
    if is_above and is_everywhere and all(one.is_unanchored for one in shape.criteria):
        return condition_on_row_above(shape.level, criterion, names)
    if column is not None and not criterion.is_fuzzy:
        needed.add(column.table)
    is_alone = is_everywhere and len(shape.criteria) == 1
    return condition_on_row(shape.level, criterion, names, is_alone=is_alone)


def _joined(table: Table, needed: set[FromClause]) -> FromClause:
    joined: FromClause = table
    if study in needed - {table}:
        joined = joined.join(
            study,
            (study.c.study_key == table.c.study_key) & (study.c.partition_key == PARTITION_KEY),
        )
    if series in needed - {table}:
        # By the study's key too: it is what the unique index on a series' UID begins with.
        joined = joined.join(
            series,
            (series.c.series_key == table.c.series_key)
            & (series.c.study_key == table.c.study_key)
            & (series.c.partition_key == PARTITION_KEY),
        )
    return joined


_METADATA_ID = func.coalesce(instance.c.head_id, instance.c.blob_id)
_STUDY_COLUMNS = (
    study.c.study_instance_uid,
    study.c.attributes.label("study_attributes"),
    study.c.modalities,
    study.c.series_count.label("study_series_count"),
    study.c.instance_count.label("study_instance_count"),
)
_SERIES_COLUMNS = (
    series.c.series_instance_uid,
    series.c.attributes.label("series_attributes"),
    series.c.instance_count.label("series_instance_count"),
)


def _results(level: Level, keys: _Select) -> _Select:
    """The rows of results, newest first, with all that is told of the levels above."""
    page = keys.subquery("page")
    newest = select(_METADATA_ID).order_by(instance.c.watermark.desc()).limit(1)
    match level:
        case Level.STUDY:
            blob = newest.where(instance.c.study_key == study.c.study_key).scalar_subquery()
            rows = select(*_STUDY_COLUMNS, blob.label("blob_id")).select_from(
                page.join(study, study.c.study_key == page.c.key)
            )
        case Level.SERIES:
            blob = newest.where(instance.c.series_key == series.c.series_key).scalar_subquery()
            rows = select(*_STUDY_COLUMNS, *_SERIES_COLUMNS, blob.label("blob_id")).select_from(
                page.join(series, series.c.series_key == page.c.key).join(
                    study, study.c.study_key == series.c.study_key
                )
            )
        case Level.INSTANCE:
            rows = select(
                *_STUDY_COLUMNS,
                *_SERIES_COLUMNS,
                instance.c.sop_instance_uid,
                instance.c.attributes.label("instance_attributes"),
                _METADATA_ID.label("blob_id"),
                instance.c.transfer_syntax_uid,
                instance.c.pixel_data_offset,
            ).select_from(
                page.join(instance, instance.c.watermark == page.c.key)
                .join(series, series.c.series_key == instance.c.series_key)
                .join(study, study.c.study_key == instance.c.study_key)
            )
    return rows.order_by(page.c.key.desc())


_OF_KEYS = {
    level: _results(
        level, select(key.label("key")).where(key.in_(bindparam("keys", expanding=True)))
    )
    for level, key in _KEYS.items()
}


class _Documents(dict[str, Document]):
    """Documents by their text."""

    def __missing__(self, text: str) -> Document:
        document: Document = orjson.loads(text)
        self[text] = document
        return document


class _Above(dict[tuple[Any, ...], tuple[Document, Document]]):
    """Attributes, kept and computed, by the columns they are read from: rows often share them."""

    def __init__(self) -> None:
        super().__init__()
        self._documents = _Documents()

    def __missing__(self, columns: tuple[Any, ...]) -> tuple[Document, Document]:
        of_study, modalities, series_count, instance_count, *of_series = columns
        attributes = self._documents[of_study]
        computed = {
            INSTANCE_AVAILABILITY: element("CS", ["ONLINE"]),
            MODALITIES_IN_STUDY: element("CS", orjson.loads(modalities)),
            NUMBER_OF_STUDY_RELATED_SERIES: element("IS", [series_count]),
            NUMBER_OF_STUDY_RELATED_INSTANCES: element("IS", [instance_count]),
        }
        if of_series:
            attributes = attributes | self._documents[of_series[0]]
            computed[NUMBER_OF_SERIES_RELATED_INSTANCES] = element("IS", [of_series[1]])
        self[columns] = attributes, computed
        return attributes, computed


def _match(level: Level, row: _Row, above: _Above) -> Match:
    # By position, in the order in which they are selected: there may be many thousands of rows.
    study_uid, *others = row
    if level is Level.STUDY:
        *columns, blob_id = others
        attributes, computed = above[tuple(columns)]
        return Match(ResourcePath(Uid(study_uid)), attributes, computed, blob_id)
    of_study, (series_uid, of_series, series_count, *own) = others[:4], others[4:]
    attributes, computed = above[(*of_study, of_series, series_count)]
    if level is Level.SERIES:
        path = ResourcePath(Uid(study_uid), Uid(series_uid))
        return Match(path, attributes, computed, own[0])
    instance_uid, text, blob_id, syntax_uid, offset = own
    return Match(
        ResourcePath(Uid(study_uid), Uid(series_uid), Uid(instance_uid)),
        attributes | orjson.loads(text),
        computed,
        blob_id,
        syntax_uid,
        offset is not None,
    )
