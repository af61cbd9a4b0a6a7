"""Why instances are not indexed by extended query tags; an error goes with its instance."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from itertools import batched

from sqlalchemy import Connection, bindparam, insert, select, update

from shared.adapters.sql_index.schema import extended_query_tag, extended_query_tag_error
from shared.dicom.resource import ResourcePath
from shared.ports import NewInstance

type Errors = Mapping[tuple[int, int], str]
"""Sentences by watermarks and the keys of tags."""

_WATERMARKS_AT_ONCE = 500

_ADD = insert(extended_query_tag_error)
_KNOWN = select(extended_query_tag_error.c.watermark, extended_query_tag_error.c.tag_key).where(
    extended_query_tag_error.c.watermark.in_(bindparam("watermarks", expanding=True))
)
_DISABLE = (
    update(extended_query_tag)
    .where(extended_query_tag.c.tag_key == bindparam("of_key"))
    .values(query_status="disabled")
)


def add_errors(connection: Connection, errors: Errors) -> None:
    """Note errors, and let their tags not be searched by until an operator says otherwise."""
    _add(connection, errors)
    _disable(connection, {key for _, key in errors})


def known_errors(
    connection: Connection, watermarks: Mapping[int, ResourcePath]
) -> set[tuple[ResourcePath, int]]:
    """Which of these instances have errors already: their paths, and the keys of tags."""
    return {
        (watermarks[watermark], key)
        for some in batched(watermarks, _WATERMARKS_AT_ONCE, strict=False)
        for watermark, key in connection.execute(_KNOWN, {"watermarks": some})
    }


def carry_errors(
    connection: Connection,
    instances: Iterable[tuple[NewInstance, int]],
    known: Collection[tuple[ResourcePath, int]],
) -> None:
    """Note the errors of instances with their watermarks.

    Those that were known before disable no tag, as the operator may have enabled it since.
    """
    of_instances = [
        (item.path, (watermark, key), sentence)
        for item, watermark in instances
        for key, sentence in item.tag_errors.items()
    ]
    _add(connection, {place: sentence for _, place, sentence in of_instances})
    _disable(connection, {key for path, (_, key), _ in of_instances if (path, key) not in known})


def _add(connection: Connection, errors: Errors) -> None:
    now = datetime.now(UTC)
    rows = [
        {"tag_key": key, "watermark": watermark, "created": now, "message": sentence}
        for (watermark, key), sentence in errors.items()
    ]
    if rows:
        connection.execute(_ADD, rows)


def _disable(connection: Connection, keys: Collection[int]) -> None:
    if keys:
        connection.execute(_DISABLE, [{"of_key": key} for key in sorted(keys)])
