"""The conditions of a search as SQL over the searchable columns."""

from itertools import pairwise
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, select

from shared.adapters.sql_index.columns import COLUMNS, TABLES
from shared.adapters.sql_index.schema import MAX_TEXT, MAX_WORD, person_name_word, series
from shared.dicom.resource import Level
from shared.dicom.searchable import MODALITIES_IN_STUDY
from shared.dicomweb.query import Condition, Exact, FuzzyName, OneOf, Range, Wildcard

_ESCAPE = "!"
_LIKE = {"*": "%", "?": "_", **{char: _ESCAPE + char for char in "%_[!"}}
_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


_ANY_SERIES = series.alias("any_series")


def condition_on_row(
    level: Level, partition_key: int, condition: Condition, *, is_alone: bool
) -> ColumnElement[bool]:
    """What must hold of a row of this level, or of the rows above that it is joined to.

    Args:
        level: Of the row.
        partition_key: In which partition.
        condition: What is asked.
        is_alone: Whether the search has no other condition, so that this one leads to the rows.
    """
    study_key = TABLES[level].c.study_key
    if isinstance(condition, FuzzyName):
        return and_(*(_has_word(study_key, partition_key, condition, w) for w in condition.words))
    if condition.attribute.tag == MODALITIES_IN_STUDY:
        of_modality = select(_ANY_SERIES.c.study_key).where(
            _ANY_SERIES.c.partition_key == partition_key,
            _holds(_ANY_SERIES.c.modality, condition),
        )
        if is_alone:
            return study_key.in_(of_modality)
        return of_modality.where(_ANY_SERIES.c.study_key == study_key).exists()
    return _holds(COLUMNS[condition.attribute.tag], condition)


def _has_word(
    study_key: Column[int], partition_key: int, condition: FuzzyName, word: str
) -> ColumnElement[bool]:
    words = select(person_name_word.c.study_key).where(
        person_name_word.c.partition_key == partition_key,
        person_name_word.c.attribute == condition.attribute.tag,
        _begins_with(person_name_word.c.word, word[:MAX_WORD]),
    )
    return study_key.in_(words)


def _holds(column: Column[Any], condition: Condition) -> ColumnElement[bool]:
    match condition:
        case Exact(_, str(text)):
            return column == text[:MAX_TEXT]
        case Exact(_, number):
            return column == number
        case OneOf(_, values):
            return column.in_(values)
        case Range(_, low, high):
            ends = [] if low is None else [column >= low]
            return and_(*ends, *([] if high is None else [column <= high]))
        case Wildcard():
            return _like(column, condition)
        case FuzzyName():
            raise TypeError(condition)  # Its words are matched, not its column.


def _like(column: Column[Any], condition: Wildcard) -> ColumnElement[bool]:
    prefix, pattern = condition.prefix, condition.pattern
    if pattern.rstrip("*") == prefix:
        return _begins_with(column, prefix)
    # The prefix narrows the index; the rest is compared row by row.
    collapsed = pattern[:1] + "".join(b for a, b in pairwise(pattern) if (a, b) != ("*", "*"))
    like = column.like("".join(_LIKE.get(char, char) for char in collapsed), escape=_ESCAPE)
    return and_(_begins_with(column, prefix), like) if prefix else like


def _begins_with(column: Column[Any], prefix: str) -> ColumnElement[bool]:
    """A prefix as a half-open range, which an index serves and LIKE would not."""
    end = after(prefix)
    return column >= prefix if end is None else and_(column >= prefix, column < end)


def after(prefix: str) -> str | None:
    """The first text after all that begin with a prefix, in the order of code points."""
    stem = prefix.rstrip(chr(_LAST))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return stem[:-1] + chr(following)
