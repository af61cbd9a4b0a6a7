"""Removing instances, so that nothing of them stays behind in their study and series."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, bindparam, delete, select, update

from shared.adapters.sql_index import deleted_blobs
from shared.adapters.sql_index.attributes import SERIES_DOCUMENTS, STUDY_DOCUMENTS, to_text
from shared.adapters.sql_index.changes import add_changes
from shared.adapters.sql_index.describe import (
    Described,
    describe_series,
    describe_studies,
    drop_name_words,
    drop_request_items,
    modalities_in,
)
from shared.adapters.sql_index.locks import lock_studies, locking_rows
from shared.adapters.sql_index.reads import all_instances
from shared.adapters.sql_index.schema import instance, series, study
from shared.adapters.sql_index.tag_values import (
    TAG_SET_VERSION,
    drop_values_below,
    recompute,
)
from shared.dicom.blob_names import series_document_blob
from shared.dicom.resource import Level, ResourcePath
from shared.errors import ConflictError
from shared.ports import ChangeAction, StoredInstance

_STUDY = select(
    study.c.study_key,
    study.c.attributes,
    study.c.instance_count,
    TAG_SET_VERSION.label("tag_set_version"),
).where(
    study.c.partition_key == bindparam("partition_key"),
    study.c.study_instance_uid == bindparam("uid"),
)
# Locked, lest a document is recorded for a series that goes.
_ALL_SERIES = locking_rows(
    select(
        series.c.series_key,
        series.c.attributes,
        series.c.instance_count,
        series.c.document_revision,
    ).where(series.c.study_key == bindparam("row_key")),
    series,
)
_ONE_SERIES = _ALL_SERIES.where(series.c.series_instance_uid == bindparam("uid"))
_DROP_INSTANCES = {
    Level.STUDY: delete(instance).where(instance.c.study_key == bindparam("row_key")),
    Level.SERIES: delete(instance).where(instance.c.series_key == bindparam("row_key")),
    Level.INSTANCE: delete(instance).where(instance.c.watermark == bindparam("row_key")),
}
_DROP_SERIES = delete(series).where(series.c.series_key == bindparam("row_key"))
_DROP_STUDY = delete(study).where(study.c.study_key == bindparam("row_key"))
_SHRINK_SERIES = (
    update(series)
    .where(series.c.series_key == bindparam("row_key"))
    .values(
        instance_count=series.c.instance_count - bindparam("fewer_instances"),
        revision=bindparam("new_revision"),
        changed_at=bindparam("now", type_=series.c.changed_at.type),
    )
)
_SHRINK_STUDY = (
    update(study)
    .where(study.c.study_key == bindparam("row_key"))
    .values(
        series_count=study.c.series_count - bindparam("fewer_series"),
        instance_count=study.c.instance_count - bindparam("fewer_instances"),
        modalities=bindparam("all_modalities"),
        revision=bindparam("new_revision"),
    )
)


def delete_at(
    connection: Connection,
    partition_key: int,
    path: ResourcePath,
    blobs_until: datetime,
    noted: Collection[str] | None = None,
) -> list[StoredInstance]:
    """Remove everything at or below a path, and give what was removed, by watermark.

    Raises:
        ConflictError: Nothing is removed: `noted` does not name the blobs of all that is there.
    """
    lock_studies(connection, partition_key, [path.study])
    removed = list(all_instances(connection, partition_key, path))
    if noted is not None and not all(item.file.blob_id in noted for item in removed):
        raise ConflictError("There are new instances.")
    if removed:
        _Removal(connection, partition_key, path, removed, blobs_until).run()
    return removed


class _Removal:
    """The removal of instances of one study."""

    def __init__(
        self,
        connection: Connection,
        partition_key: int,
        path: ResourcePath,
        removed: list[StoredInstance],
        blobs_until: datetime,
    ) -> None:
        self._connection = connection
        self._partition_key = partition_key
        self._path = path
        self._removed = removed
        self._blobs_until = blobs_until
        self._changes: list[int] = []
        self._has_tags = False

    def run(self) -> None:
        """Remove them, and all that was there for their sake."""
        study_row = self._connection.execute(
            _STUDY, {"partition_key": self._partition_key, "uid": self._path.study}
        ).one()
        parameters = {"row_key": study_row.study_key, "uid": self._path.series}
        statement = _ALL_SERIES if self._path.series is None else _ONE_SERIES
        all_series = self._connection.execute(statement, parameters).all()
        self._changes = add_changes(
            self._connection,
            self._partition_key,
            [(ChangeAction.DELETE, item.path) for item in self._removed],
        )
        self._has_tags = study_row.tag_set_version > 0
        self._drop_instances(study_row.study_key, all_series[0].series_key)
        if self._path.instance is not None and all_series[0].instance_count > 1:
            self._shrink_series(all_series[0])
            gone = 0
        else:
            self._drop_series(all_series)
            gone = len(all_series)
        if study_row.instance_count > len(self._removed):
            self._shrink_study(study_row, gone)
        else:
            self._drop_study(study_row.study_key)

    def _drop_instances(self, study_key: int, series_key: int) -> None:
        keys = {
            Level.STUDY: study_key,
            Level.SERIES: series_key,
            Level.INSTANCE: self._removed[0].watermark,
        }
        level = self._path.level
        if self._has_tags:
            drop_values_below(self._connection, level, keys[level])
        self._connection.execute(_DROP_INSTANCES[level], {"row_key": keys[level]})
        files = (item.file for item in self._removed)
        deletions = zip(self._changes, files, strict=True)
        deleted_blobs.add_deleted(self._connection, deletions, self._blobs_until)

    def _drop_series(self, rows: Sequence[Row[*tuple[Any, ...]]]) -> None:
        documents = [
            series_document_blob(row.series_key, row.document_revision)
            for row in rows
            if row.document_revision is not None
        ]
        deleted_blobs.add_names(self._connection, documents, self._blobs_until)
        keys = [row.series_key for row in rows]
        SERIES_DOCUMENTS.drop(self._connection, keys)
        drop_request_items(self._connection, keys)
        self._connection.execute(_DROP_SERIES, [{"row_key": key} for key in keys])

    def _shrink_series(self, row: Row[*tuple[Any, ...]]) -> None:
        key = row.series_key
        values = {
            "row_key": key,
            "fewer_instances": len(self._removed),
            "new_revision": self._changes[-1],
            "now": datetime.now(UTC),
        }
        self._connection.execute(_SHRINK_SERIES, values)
        attributes = SERIES_DOCUMENTS.refold(self._connection, key)
        described = Described(key, orjson.loads(row.attributes), attributes)
        describe_series(self._connection, self._partition_key, [described])
        if self._has_tags:
            recompute(self._connection, [], [key])

    def _shrink_study(self, row: Row[*tuple[Any, ...]], gone: int) -> None:
        key = row.study_key
        values = {
            "row_key": key,
            "fewer_series": gone,
            "fewer_instances": len(self._removed),
            "all_modalities": to_text(sorted(modalities_in(self._connection, key))),
            "new_revision": self._changes[-1],
        }
        self._connection.execute(_SHRINK_STUDY, values)
        attributes = STUDY_DOCUMENTS.refold(self._connection, key)
        described = Described(key, orjson.loads(row.attributes), attributes)
        describe_studies(self._connection, self._partition_key, [described])
        if self._has_tags:
            recompute(self._connection, [key], [])

    def _drop_study(self, key: int) -> None:
        drop_name_words(self._connection, key)
        STUDY_DOCUMENTS.drop(self._connection, [key])
        self._connection.execute(_DROP_STUDY, {"row_key": key})
