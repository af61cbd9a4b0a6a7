"""Blobs that nothing needs any more, and that wait for their removal."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import batched
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, func, insert, null, select, update

from shared.adapters.sql_index.attributes import to_text
from shared.adapters.sql_index.locks import locking_rows
from shared.adapters.sql_index.schema import deleted_blob, instance
from shared.dicom.blob_names import blob_id_of, dicom_blob, instance_blobs, metadata_blob
from shared.ports import DeletedBlobs, InstanceFile

_IDS_AT_ONCE = 1000

_ADD = insert(deleted_blob)
_DUE = locking_rows(
    select(
        deleted_blob.c.deleted_blob_key,
        deleted_blob.c.names,
        deleted_blob.c.change_id,
    )
    .where(deleted_blob.c.until <= bindparam("now"))
    .order_by(deleted_blob.c.until)
    .limit(bindparam("limit", type_=deleted_blob.c.deleted_blob_key.type)),
    deleted_blob,
)
_MAKE_FINAL = (
    update(deleted_blob)
    .where(deleted_blob.c.deleted_blob_key == bindparam("row_key"))
    .values(change_id=null())
)
_POSTPONE = (
    update(deleted_blob)
    .where(deleted_blob.c.deleted_blob_key.in_(bindparam("keys", expanding=True)))
    .values(until=bindparam("later", type_=deleted_blob.c.until.type))
)
_COUNT = select(func.count()).select_from(deleted_blob)
_FORGET = delete(deleted_blob).where(
    deleted_blob.c.deleted_blob_key.in_(bindparam("keys", expanding=True))
)
_NAMED = select(instance.c.blob_id).where(
    instance.c.blob_id.in_(bindparam("blob_ids", expanding=True))
)
_NAMED_HEADS = select(instance.c.head_id).where(
    instance.c.head_id.in_(bindparam("blob_ids", expanding=True))
)
_WAITING = select(deleted_blob.c.blob_id).where(
    deleted_blob.c.blob_id.in_(bindparam("blob_ids", expanding=True))
)
_WAITING_HEADS = select(deleted_blob.c.head_id).where(
    deleted_blob.c.head_id.in_(bindparam("blob_ids", expanding=True))
)


def add_instances(
    connection: Connection, blobs: Iterable[tuple[str, bool]], until: datetime
) -> None:
    """Let the blobs of instances wait, each told by its id and whether it has a frame map blob."""
    rows: list[dict[str, Any]] = [
        {
            "blob_id": blob_id,
            "names": to_text(instance_blobs(blob_id, has_frames_blob=has_frames_blob)),
            "until": until,
        }
        for blob_id, has_frames_blob in blobs
    ]
    if rows:
        connection.execute(_ADD, rows)


def add_deleted(
    connection: Connection, deletions: Iterable[tuple[int, InstanceFile]], until: datetime
) -> None:
    """Let the blobs of deleted instances wait, each with the change_id of its deletion."""
    rows: list[dict[str, Any]] = [
        {
            "blob_id": file.blob_id,
            "head_id": None if file.head is None else file.head.blob_id,
            "names": to_text(_names(file)),
            "until": until,
            "change_id": change_id,
        }
        for change_id, file in deletions
    ]
    connection.execute(_ADD, rows)


def _names(file: InstanceFile) -> list[str]:
    names = instance_blobs(file.blob_id, has_frames_blob=file.frames == "blob")
    if file.head is None:
        return [*names]
    return [*names, dicom_blob(file.head.blob_id), metadata_blob(file.head.blob_id)]


def waiting(connection: Connection, blob_ids: Sequence[str]) -> frozenset[str]:
    """Those whose blobs wait for their removal."""
    found: set[str] = set()
    for some in batched(blob_ids, _IDS_AT_ONCE, strict=False):
        for statement in (_WAITING, _WAITING_HEADS):
            found.update(connection.execute(statement, {"blob_ids": some}).scalars())
    return frozenset(found)


def add_names(connection: Connection, names: Sequence[str], until: datetime) -> None:
    """Let blobs wait, each by itself."""
    rows: list[dict[str, Any]] = [
        {"blob_id": blob_id_of(name), "names": to_text([name]), "until": until} for name in names
    ]
    if rows:
        connection.execute(_ADD, rows)


def due(connection: Connection, now: datetime, limit: int) -> list[DeletedBlobs]:
    """Blobs whose time has come, oldest first; from now on their deletion cannot be undone."""
    rows = connection.execute(_DUE, {"now": now, "limit": limit}).all()
    undoable = [{"row_key": row.deleted_blob_key} for row in rows if row.change_id is not None]
    if undoable:
        connection.execute(_MAKE_FINAL, undoable)
    return [DeletedBlobs(row.deleted_blob_key, tuple(orjson.loads(row.names))) for row in rows]


def postpone(connection: Connection, keys: Sequence[int], until: datetime) -> None:
    """Let rows wait longer."""
    for some in batched(keys, _IDS_AT_ONCE, strict=False):
        connection.execute(_POSTPONE, {"keys": some, "later": until})


def count(connection: Connection) -> int:
    """How many rows wait."""
    return connection.execute(_COUNT).scalar_one()


def forget(connection: Connection, keys: Sequence[int]) -> None:
    """Drop rows whose blobs are removed."""
    for some in batched(keys, _IDS_AT_ONCE, strict=False):
        connection.execute(_FORGET, {"keys": some})


def known_blob_ids(connection: Connection, blob_ids: Sequence[str]) -> frozenset[str]:
    """Those that an instance names, or that wait for their removal."""
    known: set[str] = set()
    for some in batched(blob_ids, _IDS_AT_ONCE, strict=False):
        for named in (_NAMED, _NAMED_HEADS):
            known.update(connection.execute(named, {"blob_ids": some}).scalars())
    return waiting(connection, blob_ids) | known
