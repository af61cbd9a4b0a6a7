"""The searchable columns: which attribute each holds, and how a value is folded for it."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Column, Table

from shared.adapters.sql_index.schema import (
    MAX_TEXT,
    MAX_WORD,
    instance,
    request_item,
    series,
    study,
)
from shared.dicom.json_model import Document, person_name, value
from shared.dicom.person_name import fold_case, fold_person_name, words
from shared.dicom.resource import Level
from shared.dicom.searchable import MODALITIES_IN_STUDY, SEARCH_ATTRIBUTES, Kind, SearchAttribute

type Comparable = str | int | float | None

TABLES: dict[Level, Table] = {Level.STUDY: study, Level.SERIES: series, Level.INSTANCE: instance}

_PATH_COLUMNS = frozenset({"study_instance_uid", "series_instance_uid", "sop_instance_uid"})
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TIME = re.compile(r"(\d\d)(\d\d)?(\d\d)?(?:\.(\d{1,6}))?\Z", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(\d\d(?:\d\d(?:\d\d(?:\.\d{1,6})?)?)?)?)?)?(?:[+-]\d{4})?\Z",
    re.ASCII,
)
_DATE = re.compile(r"\d{8}\Z", re.ASCII)
_INTEGERS = range(-(2**63), 2**63)


def _column_name(keyword: str) -> str:
    return _WORD_STARTS.sub("_", keyword.rpartition(".")[2]).lower()


COLUMNS: dict[str, Column[Comparable]] = {
    attribute.tag: TABLES[attribute.level].c[_column_name(attribute.keyword)]
    for attribute in SEARCH_ATTRIBUTES
    if attribute.tag != MODALITIES_IN_STUDY and "." not in attribute.tag
}
"""The column of each attribute that is matched in the row of its own level, by tag."""

_IN_ITEMS = tuple(attribute for attribute in SEARCH_ATTRIBUTES if "." in attribute.tag)
_MAX_ITEMS = 100

ITEM_COLUMNS: dict[str, Column[Comparable]] = {
    attribute.tag: request_item.c[_column_name(attribute.keyword)] for attribute in _IN_ITEMS
}
"""The column of each attribute that is matched in items of a sequence, by the tags to it."""

PERSON_NAMES = tuple(
    attribute.tag for attribute in SEARCH_ATTRIBUTES if attribute.kind is Kind.PERSON_NAME
)


@dataclass(frozen=True, slots=True)
class _Derived:
    """A column whose value is derived from the attributes of its row."""

    name: str
    attribute: SearchAttribute

    def value_in(self, document: Document) -> Comparable:
        tag = self.attribute.tag
        if self.attribute.kind is Kind.PERSON_NAME:
            found = person_name(document, tag)
        else:
            found = value(document, tag)
        return None if found is None else comparable(self.attribute.kind, str(found))


_DERIVED = {
    level: tuple(
        _Derived(COLUMNS[attribute.tag].name, attribute)
        for attribute in SEARCH_ATTRIBUTES
        if attribute.level is level
        and attribute.tag in COLUMNS
        and COLUMNS[attribute.tag].name not in _PATH_COLUMNS
    )
    for level in Level
}


def column_values(level: Level, document: Document) -> dict[str, Comparable]:
    """The searchable columns of a row with these attributes."""
    return {column.name: column.value_in(document) for column in _DERIVED[level]}


def item_values(document: Document) -> list[dict[str, Comparable]]:
    """The searchable columns of each item of the sequences of a series; there are not very many."""
    (sequence,) = {attribute.tag.split(".")[0] for attribute in _IN_ITEMS}
    items = document.get(sequence, {}).get("Value", ())[:_MAX_ITEMS]
    return [
        {
            ITEM_COLUMNS[attribute.tag].name: _comparable_in(item, attribute)
            for attribute in _IN_ITEMS
        }
        for item in items
        if isinstance(item, dict)
    ]


def _comparable_in(item: Document, attribute: SearchAttribute) -> Comparable:
    found = value(item, attribute.tag.rpartition(".")[2])
    return None if found is None else comparable(attribute.kind, str(found))


def comparable(kind: Kind, text: str) -> Comparable:
    """A value as the columns hold it, None when it is empty or cannot be compared."""
    return _COMPARABLE[kind](text)


def _name(text: str) -> str | None:
    return fold_person_name(text)[:MAX_TEXT] or None


def _uid(text: str) -> str | None:
    return text.rstrip(" \0") or None


def _text(text: str) -> str | None:
    return fold_case(text)[:MAX_TEXT] or None


def _date(text: str) -> str | None:
    text = text.strip(" \0").replace(".", "")  # yyyy.mm.dd is how ACR-NEMA wrote it.
    return text if _DATE.match(text) else None


def _time(text: str) -> str | None:
    found = _TIME.match(text.strip(" \0").replace(":", ""))
    if not found:
        return None
    hour, minute, second, fraction = found.groups(default="")
    return f"{hour}{minute:0<2}{second:0<2}.{fraction:0<6}"


def _integer(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if number in _INTEGERS else None


def _real(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date_time(text: str) -> str | None:
    """The first moment that a DT value names, by the clock of wherever it was written."""
    found = _DATE_TIME.match(text.strip(" \0"))
    if not found:
        return None
    year, month, day, clock = found.groups()
    return f"{year}{month or '01'}{day or '01'}{_time(clock or '00')}"


_COMPARABLE: dict[Kind, Callable[[str], Comparable]] = {
    Kind.TEXT: _text,
    Kind.UID: _uid,
    Kind.PERSON_NAME: _name,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DATE_TIME: _date_time,
    Kind.INTEGER: _integer,
    Kind.REAL: _real,
}


def name_words(document: Document) -> set[tuple[str, str]]:
    """The words of the names in a study's attributes, each with the tag of its attribute."""
    return {
        (tag, word[:MAX_WORD])
        for tag in PERSON_NAMES
        for word in words(person_name(document, tag) or "")
    }
