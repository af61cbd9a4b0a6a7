"""Search: first the keys of one page of results, newest first, then the rows of that page."""

from typing import Any

import orjson
from sqlalchemy import Connection, FromClause, Row, Select, func, select

from shared.adapters.sql_index.columns import COLUMNS, TABLES
from shared.adapters.sql_index.matching import condition_on_row
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
from shared.dicomweb.query import FuzzyName, SearchQuery
from shared.ports import Match, Matches

_COUNTED = 10_001
"""So many results are counted, and no more."""

type _Select = Select[*tuple[Any, ...]]
type _Row = Row[*tuple[Any, ...]]

_KEYS = {
    Level.STUDY: study.c.study_key,
    Level.SERIES: series.c.series_key,
    Level.INSTANCE: instance.c.watermark,
}


def search(connection: Connection, partition_key: int, query: SearchQuery) -> Matches:
    """The page of results that a query asks for, and how many come after it."""
    keys = matching_keys(partition_key, query)
    rows = connection.execute(page_of_results(query, keys)).all()
    results = [_match(query.level, row) for row in rows[: query.limit]]
    if len(rows) <= query.limit:
        return Matches(results, 0)
    return Matches(results, _remaining(connection, keys, query.offset + query.limit))


def _remaining(connection: Connection, keys: _Select, given: int) -> int | None:
    if given >= _COUNTED:
        return None
    counted = select(func.count()).select_from(keys.limit(_COUNTED).subquery())
    total = connection.execute(counted).scalar_one()
    return None if total == _COUNTED else total - given


def matching_keys(partition_key: int, query: SearchQuery) -> _Select:
    """The keys of everything that a query matches."""
    table = TABLES[query.level]
    conditions = [table.c.partition_key == partition_key]
    needed = {table}
    if query.study is not None:
        conditions.append(study.c.study_instance_uid == query.study)
        needed.add(study)
    if query.series is not None:
        conditions.append(series.c.series_instance_uid == query.series)
        needed.add(series)
    for condition in query.conditions:
        is_alone = len(query.conditions) == 1 and query.study is None
        conditions.append(
            condition_on_row(query.level, partition_key, condition, is_alone=is_alone)
        )
        if condition.attribute.tag in COLUMNS and not isinstance(condition, FuzzyName):
            needed.add(TABLES[condition.attribute.level])
    joined: FromClause = table
    if study in needed - {table}:
        joined = joined.join(
            study,
            (study.c.study_key == table.c.study_key) & (study.c.partition_key == partition_key),
        )
    if series in needed - {table}:
        # By the study's key too: it is what the unique index on a series' UID begins with.
        joined = joined.join(
            series,
            (series.c.series_key == table.c.series_key)
            & (series.c.study_key == table.c.study_key)
            & (series.c.partition_key == partition_key),
        )
    return select(_KEYS[query.level].label("key")).select_from(joined).where(*conditions)


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


def page_of_results(query: SearchQuery, keys: _Select) -> _Select:
    """The rows of one page, and one more; with all that is told of the levels above."""
    newest_first = keys.order_by(_KEYS[query.level].desc())
    page = newest_first.limit(query.limit + 1).offset(query.offset).subquery("page")
    newest = select(instance.c.blob_id).order_by(instance.c.watermark.desc()).limit(1)
    match query.level:
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
                instance.c.blob_id,
            ).select_from(
                page.join(instance, instance.c.watermark == page.c.key)
                .join(series, series.c.series_key == instance.c.series_key)
                .join(study, study.c.study_key == instance.c.study_key)
            )
    return rows.order_by(page.c.key.desc())


def _match(level: Level, row: _Row) -> Match:
    series_uid = instance_uid = None
    attributes: Document = orjson.loads(row.study_attributes)
    computed = {
        INSTANCE_AVAILABILITY: element("CS", ["ONLINE"]),
        MODALITIES_IN_STUDY: element("CS", orjson.loads(row.modalities)),
        NUMBER_OF_STUDY_RELATED_SERIES: element("IS", [row.study_series_count]),
        NUMBER_OF_STUDY_RELATED_INSTANCES: element("IS", [row.study_instance_count]),
    }
    if level >= Level.SERIES:
        series_uid = Uid(row.series_instance_uid)
        attributes |= orjson.loads(row.series_attributes)
        computed[NUMBER_OF_SERIES_RELATED_INSTANCES] = element("IS", [row.series_instance_count])
    if level >= Level.INSTANCE:
        instance_uid = Uid(row.sop_instance_uid)
        attributes |= orjson.loads(row.instance_attributes)
    path = ResourcePath(Uid(row.study_instance_uid), series_uid, instance_uid)
    return Match(path, attributes, computed, row.blob_id)
