"""Which document of a series is the newest."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from shared.adapters.sql_index import deleted_blobs
from shared.adapters.sql_index.locks import locking_rows
from shared.adapters.sql_index.schema import series
from shared.dicom.blob_names import series_document_blob

_NEWEST = locking_rows(
    select(series.c.document_revision).where(series.c.series_key == bindparam("row_key")), series
)
_RECORD = (
    update(series)
    .where(series.c.series_key == bindparam("row_key"))
    .values(
        document_revision=bindparam("new_revision"),
        document_count=bindparam("new_count"),
    )
)


def record(
    connection: Connection, series_key: int, revision: int, count: int, superseded_until: datetime
) -> bool:
    """Make a document the newest, unless a newer one is or the series is gone."""
    row = connection.execute(_NEWEST, {"row_key": series_key}).first()
    if row is None:
        return False
    newest = row.document_revision
    if newest is not None and newest >= revision:
        return bool(newest == revision)
    values = {"row_key": series_key, "new_revision": revision, "new_count": count}
    connection.execute(_RECORD, values)
    if newest is not None:
        superseded = series_document_blob(series_key, newest)
        deleted_blobs.add_names(connection, [superseded], superseded_until)
    return True
