"""Reading studies, series and instances by their UIDs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, literal, select

from shared.adapters.sql_index.schema import instance, series, study
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.ports import Head, InstanceFile, SeriesState, StoredInstance, Version

type _Select = Select[*tuple[Any, ...]]

PAGE = 500
"""Instances that are read at once."""

_FILE_COLUMNS = (
    instance.c.blob_id,
    instance.c.length,
    instance.c.sha256,
    instance.c.transfer_syntax_uid,
    instance.c.pixel_data_offset,
    instance.c.frames,
    instance.c.head_id,
    instance.c.head_length,
    instance.c.body_offset,
)
_STUDY_SERIES = study.join(series, series.c.study_key == study.c.study_key)
_TO_INSTANCES = _STUDY_SERIES.join(instance, instance.c.series_key == series.c.series_key)
_INSTANCES = select(
    study.c.study_instance_uid,
    series.c.series_instance_uid,
    instance.c.sop_instance_uid,
    instance.c.watermark,
    *_FILE_COLUMNS,
).select_from(_TO_INSTANCES)
# A study's instances are read in order from the index on its key: joined by study, not by series.
_INSTANCES_OF_STUDY = select(*_INSTANCES.selected_columns).select_from(
    study.join(instance, instance.c.study_key == study.c.study_key).join(
        series, series.c.series_key == instance.c.series_key
    )
)
_SERIES = select(series, study.c.study_instance_uid).select_from(_STUDY_SERIES)
_VERSIONS: dict[Level, _Select] = {
    Level.STUDY: select(study.c.revision, study.c.instance_count),
    Level.SERIES: select(series.c.revision, series.c.instance_count).select_from(_STUDY_SERIES),
    Level.INSTANCE: select(instance.c.watermark, literal(1)).select_from(_TO_INSTANCES),
}


def _at(statement: _Select, level: Level) -> _Select:
    """Restrict a statement to what is at or below a path of this level."""
    statement = statement.where(
        study.c.partition_key == bindparam("partition_key"),
        study.c.study_instance_uid == bindparam("study_uid"),
    )
    if level >= Level.SERIES:
        statement = statement.where(series.c.series_instance_uid == bindparam("series_uid"))
    if level >= Level.INSTANCE:
        statement = statement.where(instance.c.sop_instance_uid == bindparam("instance_uid"))
    return statement


def _paged(statement: _Select) -> _Select:
    return (
        statement.where(instance.c.watermark > bindparam("after"))
        .order_by(instance.c.watermark)
        .limit(PAGE)
    )


_PAGES = {
    level: _paged(_at(_INSTANCES_OF_STUDY if level is Level.STUDY else _INSTANCES, level))
    for level in Level
}
_VERSION_AT = {level: _at(statement, level) for level, statement in _VERSIONS.items()}
_SERIES_AT = {
    level: _at(_SERIES, level).order_by(series.c.series_key)
    for level in (Level.STUDY, Level.SERIES)
}
_MEMBERS = (
    select(instance.c.sop_instance_uid, instance.c.watermark, *_FILE_COLUMNS)
    .where(
        instance.c.series_key == bindparam("series_key"),
        instance.c.watermark > bindparam("after"),
    )
    .order_by(instance.c.watermark)
)
_MEMBER_UIDS = select(instance.c.sop_instance_uid).where(
    instance.c.series_key == bindparam("series_key"),
    instance.c.watermark <= bindparam("up_to"),
)


def _parameters(partition_key: int, path: ResourcePath) -> dict[str, Any]:
    return {
        "partition_key": partition_key,
        "study_uid": path.study,
        "series_uid": path.series,
        "instance_uid": path.instance,
    }


def instances_page(
    connection: Connection, partition_key: int, path: ResourcePath, after: int = 0
) -> list[StoredInstance]:
    """The first PAGE instances at or below a path whose watermark is above `after`."""
    parameters = {**_parameters(partition_key, path), "after": after}
    return [_stored(row) for row in connection.execute(_PAGES[path.level], parameters)]


def all_instances(
    connection: Connection, partition_key: int, path: ResourcePath
) -> Iterator[StoredInstance]:
    """The instances at or below a path, by watermark."""
    page = instances_page(connection, partition_key, path)
    while page:
        yield from page
        after = page[-1].watermark
        page = instances_page(connection, partition_key, path, after) if len(page) == PAGE else []


def version(connection: Connection, partition_key: int, path: ResourcePath) -> Version | None:
    """The newest change at or below a path, and the number of instances there."""
    row = connection.execute(_VERSION_AT[path.level], _parameters(partition_key, path)).first()
    return None if row is None else Version(*row)


def series_at(connection: Connection, partition_key: int, path: ResourcePath) -> list[SeriesState]:
    """The series at or below a study or series path, oldest first."""
    rows = connection.execute(_SERIES_AT[path.level], _parameters(partition_key, path))
    return [_series_state(row) for row in rows]


def series_members(connection: Connection, state: SeriesState, after: int) -> list[StoredInstance]:
    """The instances of a series whose watermark is above `after`, by watermark."""
    rows = connection.execute(_MEMBERS, {"series_key": state.key, "after": after})
    study_uid, series_uid = state.path.study, state.path.series
    return [
        StoredInstance(ResourcePath(study_uid, series_uid, Uid(uid)), watermark, _file(*file))
        for uid, watermark, *file in rows
    ]


def series_member_uids(connection: Connection, state: SeriesState, up_to: int) -> list[Uid]:
    """The SOP Instance UIDs of a series whose watermark is at most `up_to`."""
    rows = connection.execute(_MEMBER_UIDS, {"series_key": state.key, "up_to": up_to})
    return [Uid(uid) for uid in rows.scalars()]


def _stored(row: Row[*tuple[Any, ...]]) -> StoredInstance:
    study_uid, series_uid, instance_uid, watermark, *file = row
    path = ResourcePath(Uid(study_uid), Uid(series_uid), Uid(instance_uid))
    return StoredInstance(path, watermark, _file(*file))


def _file(*columns: Any) -> InstanceFile:  # noqa: ANN401
    *stored, head_id, head_length, body_offset = columns
    file = InstanceFile(*stored)
    if head_id is None:
        return file
    return replace(file, head=Head(head_id, head_length, body_offset))


def _series_state(row: Row[*tuple[Any, ...]]) -> SeriesState:
    return SeriesState(
        ResourcePath(Uid(row.study_instance_uid), Uid(row.series_instance_uid)),
        row.series_key,
        row.revision,
        row.instance_count,
        row.changed_at,
        row.document_revision,
        row.document_count,
    )
