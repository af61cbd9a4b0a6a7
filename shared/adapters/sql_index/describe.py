"""Writing what studies and series are like: their attributes and all that is derived from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from shared.adapters.sql_index.attributes import to_text
from shared.adapters.sql_index.columns import column_values, item_values, name_words
from shared.adapters.sql_index.schema import person_name_word, request_item, series, study
from shared.dicom.json_model import Document, strings
from shared.dicom.resource import Level
from shared.dicom.searchable import tag_of

_MODALITY = tag_of("Modality")

_STUDY = update(study).where(study.c.study_key == bindparam("row_key"))
_SERIES = update(series).where(series.c.series_key == bindparam("row_key"))
_ADD_WORDS = insert(person_name_word)
_DROP_WORDS = delete(person_name_word).where(person_name_word.c.study_key == bindparam("row_key"))
_ADD_ITEMS = insert(request_item)
_DROP_ITEMS = delete(request_item).where(request_item.c.series_key == bindparam("row_key"))
_SERIES_ATTRIBUTES = select(series.c.attributes).where(series.c.study_key == bindparam("row_key"))

_SET_MODALITIES = (
    update(study)
    .where(study.c.study_key == bindparam("row_key"))
    .values(modalities=bindparam("all_modalities"))
)


@dataclass(frozen=True, slots=True)
class Described:
    """A study or series row with its attributes before, and as they shall be."""

    key: int
    before: Document
    after: Document


def described(level: Level, attributes: Document) -> dict[str, Any]:
    """The columns of a row that follow from its attributes."""
    return {"attributes": to_text(attributes), **column_values(level, attributes)}


def describe_studies(connection: Connection, partition_key: int, rows: Iterable[Described]) -> None:
    """Bring study rows and the words of their names to new attributes."""
    changed = [row for row in rows if row.before != row.after]
    if not changed:
        return
    values = [{"row_key": row.key, **described(Level.STUDY, row.after)} for row in changed]
    connection.execute(_STUDY, values)
    renamed = [row for row in changed if name_words(row.before) != name_words(row.after)]
    if renamed:
        connection.execute(_DROP_WORDS, [{"row_key": row.key} for row in renamed])
        add_name_words(connection, partition_key, ((row.key, row.after) for row in renamed))


def describe_series(connection: Connection, partition_key: int, rows: Iterable[Described]) -> None:
    """Bring series rows and the items of their sequences to new attributes."""
    changed = [row for row in rows if row.before != row.after]
    if not changed:
        return
    values = [{"row_key": row.key, **described(Level.SERIES, row.after)} for row in changed]
    connection.execute(_SERIES, values)
    other = [row for row in changed if item_values(row.before) != item_values(row.after)]
    if other:
        drop_request_items(connection, [row.key for row in other])
        add_request_items(connection, partition_key, ((row.key, row.after) for row in other))


def add_request_items(
    connection: Connection, partition_key: int, all_series: Iterable[tuple[int, Document]]
) -> None:
    """Add the items of the sequences of series that have none yet."""
    rows = [
        {"partition_key": partition_key, "series_key": key, "item": number, **values}
        for key, attributes in all_series
        for number, values in enumerate(item_values(attributes))
    ]
    if rows:
        connection.execute(_ADD_ITEMS, rows)


def drop_request_items(connection: Connection, series_keys: Iterable[int]) -> None:
    """Drop the items of series that go or change."""
    connection.execute(_DROP_ITEMS, [{"row_key": key} for key in series_keys])


def add_name_words(
    connection: Connection, partition_key: int, studies: Iterable[tuple[int, Document]]
) -> None:
    """Add the words of the names of studies that have none yet."""
    rows = [
        {"partition_key": partition_key, "attribute": tag, "word": word, "study_key": key}
        for key, attributes in studies
        for tag, word in sorted(name_words(attributes))
    ]
    if rows:
        connection.execute(_ADD_WORDS, rows)


def drop_name_words(connection: Connection, study_key: int) -> None:
    """Drop the words of a study that goes."""
    connection.execute(_DROP_WORDS, {"row_key": study_key})


def modality(attributes: Document) -> frozenset[str]:
    """The modality of a series, as a set of one or none."""
    return frozenset(strings(attributes, _MODALITY)[:1]) - {""}


def modalities_in(connection: Connection, study_key: int) -> frozenset[str]:
    """The modalities of all series of a study."""
    rows = connection.execute(_SERIES_ATTRIBUTES, {"row_key": study_key}).scalars()
    return frozenset[str]().union(*(modality(orjson.loads(attributes)) for attributes in rows))


def correct_modalities(connection: Connection, study_keys: Iterable[int]) -> None:
    """Bring the modalities of studies to those of their series."""
    for key in sorted(study_keys):
        modalities = sorted(modalities_in(connection, key))
        values = {"row_key": key, "all_modalities": to_text(modalities)}
        connection.execute(_SET_MODALITIES, values)
