"""The conditions of a search as SQL over the searchable columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, bindparam, select

from shared.adapters.sql_index.columns import COLUMNS, TABLES
from shared.adapters.sql_index.schema import MAX_TEXT, MAX_WORD, person_name_word, series
from shared.dicom.resource import Level
from shared.dicom.searchable import MODALITIES_IN_STUDY
from shared.dicomweb.query import Condition, Exact, FuzzyName, OneOf, Range, Wildcard

_ESCAPE = "!"
_LIKE = {"*": "%", "?": "_", **{char: _ESCAPE + char for char in "%_[!"}}
_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)

PARTITION_KEY = bindparam("partition_key", type_=series.c.partition_key.type)
"""In which partition; a parameter of every statement of a search."""

_ANY_SERIES = series.alias("any_series")


class Sign(Enum):
    """How a column is compared with a value."""

    EQUAL = "="
    ONE_OF = "in"
    FROM = ">="
    UP_TO = "<="
    BELOW = "<"
    LIKE = "like"


type _Comparison = tuple[Sign, object]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A condition without its values: searches that differ in nothing else share a statement.

    Attributes:
        signs: The comparisons that must hold, of each word of a fuzzy name, or of the attribute.
    """

    tag: str
    is_fuzzy: bool
    signs: tuple[tuple[Sign, ...], ...]


def criterion_of(condition: Condition) -> tuple[Criterion, list[object]]:
    """A condition taken apart into what it is and its values, in the order of the signs."""
    if isinstance(condition, FuzzyName):
        parts = [_with_prefix(word[:MAX_WORD]) for word in condition.words]
    else:
        parts = [_comparisons(condition)]
    signs = tuple(tuple(sign for sign, _ in part) for part in parts)
    values = [value for part in parts for _, value in part]
    return Criterion(condition.attribute.tag, isinstance(condition, FuzzyName), signs), values


def _comparisons(condition: Exact | OneOf | Range | Wildcard) -> list[_Comparison]:
    match condition:
        case Exact(_, str(text)):
            return [(Sign.EQUAL, text[:MAX_TEXT])]
        case Exact(_, number):
            return [(Sign.EQUAL, number)]
        case OneOf(_, values):
            return [(Sign.ONE_OF, values)]
        case Range(_, low, high):
            ends = ((Sign.FROM, low), (Sign.UP_TO, high))
            return [(sign, end) for sign, end in ends if end is not None]
        case Wildcard():
            return _like(condition)


def _like(condition: Wildcard) -> list[_Comparison]:
    prefix, pattern = condition.prefix, condition.pattern
    if pattern.rstrip("*") == prefix:
        return _with_prefix(prefix)
    # The prefix narrows the index; the rest is compared row by row.
    collapsed = pattern[:1] + "".join(b for a, b in pairwise(pattern) if (a, b) != ("*", "*"))
    like = (Sign.LIKE, "".join(_LIKE.get(char, char) for char in collapsed))
    return [*_with_prefix(prefix), like] if prefix else [like]


def _with_prefix(prefix: str) -> list[_Comparison]:
    """A prefix as a half-open range, which an index serves and LIKE would not."""
    end = after(prefix)
    return [(Sign.FROM, prefix), *([] if end is None else [(Sign.BELOW, end)])]


def after(prefix: str) -> str | None:
    """The first text after all that begin with a prefix, in the order of code points."""
    stem = prefix.rstrip(chr(_LAST))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return stem[:-1] + chr(following)


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
    (signs,) = criterion.signs
    if criterion.tag == MODALITIES_IN_STUDY:
        of_modality = select(_ANY_SERIES.c.study_key).where(
            _ANY_SERIES.c.partition_key == PARTITION_KEY,
            *_compared(_ANY_SERIES.c.modality, signs, names),
        )
        if is_alone:
            return study_key.in_(of_modality)
        return of_modality.where(_ANY_SERIES.c.study_key == study_key).exists()
    return and_(*_compared(COLUMNS[criterion.tag], signs, names))


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
    return [_comparison(column, sign, next(names)) for sign in signs]


def _comparison(column: Column[Any], sign: Sign, name: str) -> ColumnElement[bool]:
    match sign:
        case Sign.EQUAL:
            return column == bindparam(name)
        case Sign.ONE_OF:
            return column.in_(bindparam(name, expanding=True))
        case Sign.FROM:
            return column >= bindparam(name)
        case Sign.UP_TO:
            return column <= bindparam(name)
        case Sign.BELOW:
            return column < bindparam(name)
        case Sign.LIKE:
            return column.like(bindparam(name), escape=_ESCAPE)
