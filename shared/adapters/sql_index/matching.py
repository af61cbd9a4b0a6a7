"""The conditions of a search as SQL over the searchable columns."""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
)

from shared.adapters.sql_index.columns import COLUMNS, ITEM_COLUMNS, TABLES
from shared.adapters.sql_index.schema import (
    MAX_TEXT,
    MAX_WORD,
    person_name_word,
    request_item,
    series,
    tag_value_word,
)
from shared.adapters.sql_index.tag_values import TABLE_OF_KIND
from shared.dicom.resource import Level
from shared.dicom.searchable import MODALITIES_IN_STUDY, Kind
from shared.dicomweb.condition import (
    CombinedRange,
    Condition,
    Empty,
    Exact,
    FuzzyName,
    OneOf,
    Range,
    Wildcard,
)

_ESCAPE = "!"
_LIKE = {"*": "%", "?": "_", **{char: _ESCAPE + char for char in "%_[!"}}
_LAST_OF_THEIRS = "\ud7ff\uffff\U0010ffff"
"""What comes after these in the order of code points, SQLite's, does not in that of the units of
UTF-16, SQL Server's."""

PARTITION_KEY = bindparam("partition_key", type_=series.c.partition_key.type)
"""In which partition; a parameter of every statement of a search."""

_ANY_SERIES = series.alias("any_series")
_OTHER_SERIES = series.alias("other_series")


class Sign(Enum):
    """How a column is compared with a value."""

    EQUAL = "="
    ONE_OF = "in"
    FROM = ">="
    UP_TO = "<="
    BELOW = "<"
    LIKE = "like"
    EMPTY = "is null"


type _Comparison = tuple[Sign, object]


@dataclass(frozen=True, slots=True)
class Extended:
    """The extended query tag that an attribute is: its key, level and how its values compare."""

    key: int
    level: Level
    kind: Kind


@dataclass(frozen=True, slots=True)
class Criterion:
    """A condition without its values: searches that differ in nothing else share a statement.

    Attributes:
        signs: The comparisons that must hold: of each word of a fuzzy name, of each end of a date
            and a time that are compared as one, or of the attribute.
        time_tag: The time of a date, where both are compared as one.
        extension: What it is, if it is an extended query tag.
    """

    tag: str
    is_fuzzy: bool
    signs: tuple[tuple[Sign, ...], ...]
    time_tag: str | None = None
    extension: Extended | None = None

    @property
    def is_in_item(self) -> bool:
        """Whether the attribute lies in an item of a sequence."""
        return "." in self.tag

    @property
    def is_unanchored(self) -> bool:
        """Whether it is a pattern that begins with a wildcard, so that no index narrows it."""
        is_pattern = self.signs == ((Sign.LIKE,),)
        return is_pattern and self.extension is None and self.tag in COLUMNS


def criterion_of(condition: Condition) -> tuple[Criterion, list[object]]:
    """A condition taken apart into what it is and its values, in the order of the signs."""
    time_tag = None
    match condition:
        case FuzzyName():
            parts = [_with_prefix(word[:MAX_WORD]) for word in condition.words]
        case CombinedRange():
            ends = ((Sign.FROM, condition.low), (Sign.UP_TO, condition.high))
            parts = [[(sign, part) for part in end] for sign, end in ends if end is not None]
            time_tag = condition.time.tag
        case _:
            parts = [_comparisons(condition)]
    signs = tuple(tuple(sign for sign, _ in part) for part in parts)
    values = [value for part in parts for sign, value in part if sign is not Sign.EMPTY]
    is_fuzzy = isinstance(condition, FuzzyName)
    attribute = condition.attribute
    extended = (
        None
        if attribute.extension is None
        else Extended(attribute.extension.key, attribute.level, attribute.kind)
    )
    return Criterion(attribute.tag, is_fuzzy, signs, time_tag, extended), values


def _comparisons(condition: Exact | OneOf | Range | Wildcard | Empty) -> list[_Comparison]:
    match condition:
        case Exact(_, str(text)):
            return [(Sign.EQUAL, text[:MAX_TEXT])]
        case Exact(_, number):
            return [(Sign.EQUAL, number)]
        case OneOf(_, values):
            return [(Sign.ONE_OF, tuple(text[:MAX_TEXT] for text in values))]
        case Range(_, low, high):
            ends = ((Sign.FROM, low), (Sign.UP_TO, high))
            return [(sign, end) for sign, end in ends if end is not None]
        case Wildcard():
            return _like(condition)
        case Empty():
            return [(Sign.EMPTY, None)]


def _like(condition: Wildcard) -> list[_Comparison]:
    prefix, pattern = condition.prefix, condition.pattern
    if pattern.rstrip("*") == prefix:
        return _with_prefix(prefix)
    # The prefix narrows the index; the rest is compared row by row.
    like = (Sign.LIKE, _pattern(pattern))
    return [*_with_prefix(prefix), like] if prefix else [like]


def _with_prefix(prefix: str) -> list[_Comparison]:
    """A prefix as a half-open range, which an index serves and LIKE would not.

    Of a prefix that ends in a blank, SQL Server finds what lacks the blank too: it compares as if
    the shorter text went on in blanks.
    """
    end = after(prefix)
    text_range: list[_Comparison] = [
        (Sign.FROM, prefix),
        *([] if end is None else [(Sign.BELOW, end)]),
    ]
    if end is None or prefix.endswith(" "):
        text_range.append((Sign.LIKE, _pattern(prefix) + "%"))
    return text_range


def _pattern(text: str) -> str:
    return "".join(_LIKE.get(char, char) for char in text)


def after(prefix: str) -> str | None:
    """The first text after all that begin with a prefix, None if databases differ in it."""
    if not prefix or prefix[-1] in _LAST_OF_THEIRS:
        return None
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def condition_on_row(
    level: Level, criterion: Criterion, names: Iterator[str], *, is_alone: bool
) -> ColumnElement[bool]:
    """What must hold of a row of this level, or of the rows above that it is joined to.

    Args:
        level: Of the row.
        criterion: What is asked.
        names: For the parameters that hold its values.
        is_alone: Whether the search has no other condition, so that this one leads to the rows.
    """
    study_key = TABLES[level].c.study_key
    if criterion.is_fuzzy:
        return and_(*(_has_word(study_key, criterion.tag, part, names) for part in criterion.signs))
    if criterion.time_tag is not None:
        date, time = COLUMNS[criterion.tag], COLUMNS[criterion.time_tag]
        return and_(*(_end_of_moment(date, time, end[0], names) for end in criterion.signs))
    (signs,) = criterion.signs
    if criterion.tag == MODALITIES_IN_STUDY and signs == (Sign.EMPTY,):
        return _has_no_modality(study_key)
    if criterion.tag == MODALITIES_IN_STUDY:
        of_modality = select(_ANY_SERIES.c.study_key).where(
            _ANY_SERIES.c.partition_key == PARTITION_KEY,
            *_compared(_ANY_SERIES.c.modality, signs, names),
        )
        if is_alone:
            return study_key.in_(of_modality)
        return of_modality.where(_ANY_SERIES.c.study_key == study_key).exists()
    return and_(*_compared(COLUMNS[criterion.tag], signs, names))


def condition_on_row_above(
    level: Level, criterion: Criterion, names: Iterator[str]
) -> ColumnElement[bool]:
    """What must hold of the study or series of a row, which is looked for by itself.

    There are far fewer of those: to compare each of them costs less than to join every row.
    """
    column = COLUMNS[criterion.tag]
    above = column.table.alias("above")
    [key] = column.table.primary_key
    keys = select(above.c[key.name]).where(
        above.c.partition_key == PARTITION_KEY,
        *_compared(above.c[column.name], criterion.signs[0], names),
    )
    return TABLES[level].c[key.name].in_(keys)


def condition_on_tag(
    level: Level, criterion: Criterion, tag: Extended, names: Iterator[str]
) -> ColumnElement[bool]:
    """What must hold of the values of an extended query tag that a row of this level belongs to."""
    owner = _owner_key(level, tag.level)
    if criterion.signs == ((Sign.EMPTY,),):
        values = TABLE_OF_KIND[tag.kind]
        return ~_owners(values, tag.key).where(values.c.owner_key == owner).exists()
    table = tag_value_word if criterion.is_fuzzy else TABLE_OF_KIND[tag.kind]
    return and_(
        *(
            owner.in_(_owners(table, tag.key).where(*_compared(table.c.value, signs, names)))
            for signs in criterion.signs
        )
    )


def _owner_key(level: Level, of_tag: Level) -> Column[Any]:
    [key] = TABLES[of_tag].primary_key
    return TABLES[level].c[key.name]


def _owners(values: Table, tag_key: int) -> Select[int]:
    """What has values of a tag, each told by its newest instance alone."""
    return select(values.c.owner_key).where(
        values.c.tag_key == tag_key,
        values.c.partition_key == PARTITION_KEY,
        values.c.is_newest == literal_column("1"),
    )


def condition_on_items(
    level: Level, criteria: Sequence[Criterion], names: Iterator[str]
) -> ColumnElement[bool]:
    """One item of the sequence of a series must have all that is asked of items.

    Standard: PS3.4 C.2.2.2.6 (2025b).
    """
    conditions = [
        comparison
        for criterion in criteria
        for comparison in _compared(ITEM_COLUMNS[criterion.tag], criterion.signs[0], names)
    ]
    items = select(request_item.c.series_key).where(
        request_item.c.partition_key == PARTITION_KEY, *conditions
    )
    return TABLES[level].c.series_key.in_(items)


def _end_of_moment(
    date: Column[Any], time: Column[Any], sign: Sign, names: Iterator[str]
) -> ColumnElement[bool]:
    """A day beyond that of the end, or that day and a time up to it."""
    day, moment = next(names), next(names)
    at_end = _comparison(time, sign, moment)
    beyond = date > bindparam(day) if sign is Sign.FROM else date < bindparam(day)
    return and_(_comparison(date, sign, day), or_(beyond, at_end))


def _has_no_modality(study_key: Column[int]) -> ColumnElement[bool]:
    """Some series of the study lacks a modality, and none has one."""
    in_partition = _ANY_SERIES.c.partition_key == PARTITION_KEY
    without = select(_ANY_SERIES.c.study_key).where(in_partition, _ANY_SERIES.c.modality.is_(None))
    with_one = (
        select(_OTHER_SERIES.c.study_key)
        .where(
            _OTHER_SERIES.c.partition_key == PARTITION_KEY,
            _OTHER_SERIES.c.study_key == study_key,
            _OTHER_SERIES.c.modality.is_not(None),
        )
        .exists()
    )
    return and_(study_key.in_(without), ~with_one)


def _has_word(
    study_key: Column[int], tag: str, signs: Sequence[Sign], names: Iterator[str]
) -> ColumnElement[bool]:
    words = select(person_name_word.c.study_key).where(
        person_name_word.c.partition_key == PARTITION_KEY,
        person_name_word.c.attribute == tag,
        *_compared(person_name_word.c.word, signs, names),
    )
    return study_key.in_(words)


def _compared(
    column: Column[Any], signs: Sequence[Sign], names: Iterator[str]
) -> list[ColumnElement[bool]]:
    return [
        column.is_(None) if sign is Sign.EMPTY else _comparison(column, sign, next(names))
        for sign in signs
    ]


def _comparison(column: Column[Any], sign: Sign, name: str) -> ColumnElement[bool]:
    return _OPERATORS[sign](column, bindparam(name, expanding=sign is Sign.ONE_OF))


_OPERATORS: dict[Sign, Callable[[Column[Any], BindParameter[Any]], ColumnElement[bool]]] = {
    Sign.EQUAL: operator.eq,
    Sign.ONE_OF: lambda column, values: column.in_(values),
    Sign.FROM: operator.ge,
    Sign.UP_TO: operator.le,
    Sign.BELOW: operator.lt,
    Sign.LIKE: lambda column, pattern: column.like(pattern, escape=_ESCAPE),
}
