"""How the value of a search parameter becomes a condition.

Standard: PS3.18 8.3.4.1 to .6, PS3.4 C.2.2.2 (2025b); rules and texts of v1: reference.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from shared.dicom.person_name import fold, fold_case, fold_person_name, words
from shared.dicom.searchable import (
    COMBINED_DATE_TIMES,
    MODALITIES_IN_STUDY,
    Kind,
    SearchAttribute,
)
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
from shared.dicomweb.search_value import (
    Interval,
    date_interval,
    date_time_interval,
    integer,
    real,
    time_interval,
)
from shared.errors import InvalidQueryError

MAX_LIST = 500
_MAX_VALUES = 1000
_MAX_WORDS = 16
_MAX_WILDCARDS = 16
_MAX_ALL_OF = 16
_EMPTY = '""'
_WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_LIST_VRS = frozenset({"AE", "AS", "CS", "LO", "PN", "SH", "UC"})


@dataclass(frozen=True, slots=True)
class Matching:
    """The rules that the values of one request are read by.

    Attributes:
        is_multiple: Whether multiplevaluematching is asked for.
        is_empty: Whether emptyvaluematching is.
    """

    version: int
    is_fuzzy: bool = False
    is_multiple: bool = False
    is_empty: bool = False

    def conditions(self, texts: Mapping[SearchAttribute, str]) -> tuple[Condition, ...]:
        """What the results must match; a universal match is no condition.

        Raises:
            InvalidQueryError: A value is malformed, or there are too many.
        """
        texts = dict(texts)
        combined = list(_combined(texts)) if self.version > 1 else []
        single = (found for attribute, text in texts.items() for found in self._of(attribute, text))
        conditions = (*combined, *single)
        lists = (condition.values for condition in conditions if isinstance(condition, OneOf))
        if sum(map(len, lists)) > _MAX_VALUES:
            raise InvalidQueryError(f"Invalid query: all lists may have {_MAX_VALUES} values.")
        return conditions

    def _of(self, attribute: SearchAttribute, text: str) -> Iterator[Condition]:
        bare = text.strip()
        if self.version > 1 and not bare.strip("*"):
            return
        if self.is_empty and bare == _EMPTY:
            yield Empty(attribute)
        elif (interval := _INTERVALS.get(attribute.kind)) is not None:
            yield _range(attribute, bare, interval)
        elif (number := _NUMBERS.get(attribute.kind)) is not None:
            yield Exact(attribute, number(text, attribute.keyword))
        elif attribute.kind is Kind.PERSON_NAME and self.is_fuzzy:
            yield from self._fuzzy(attribute, text)
        else:
            yield from self._values(attribute, self._parts(attribute, text))

    def _parts(self, attribute: SearchAttribute, text: str) -> list[str]:
        """The values of a list: a backslash is part of none, a comma of no code or identifier."""
        is_list = attribute.vr in _LIST_VRS or attribute.kind is Kind.UID
        if self.version == 1 or not is_list:
            return [text]
        if self.is_multiple or attribute.vr in ("CS", "UI"):
            text = text.replace(",", "\\")
        return [part for part in text.split("\\") if part.strip()]

    def _values(self, attribute: SearchAttribute, parts: list[str]) -> Iterator[Condition]:
        if len(parts) > MAX_LIST:
            raise InvalidQueryError(f"Invalid query: a list may have {MAX_LIST} values.")
        if len(parts) == 1:
            yield self._text(attribute, parts[0])
            return
        found = [self._text(attribute, part) for part in parts]
        values = tuple(
            item.value for item in found if isinstance(item, Exact) and isinstance(item.value, str)
        )
        if len(values) < len(found):
            raise InvalidQueryError("Invalid query: the values of a list may have no wildcards.")
        if self.is_multiple and attribute.tag == MODALITIES_IN_STUDY:
            # It alone has more than one value, so that all those asked for can be among them.
            if len(found) > _MAX_ALL_OF:
                raise InvalidQueryError(f"Invalid query: {_MAX_ALL_OF} values may be demanded.")
            yield from found
        elif values:
            yield OneOf(attribute, values)

    def _text(self, attribute: SearchAttribute, text: str) -> Condition:
        if attribute.kind is Kind.UID:
            return Exact(attribute, text.strip(" \0"))
        is_name = attribute.kind is Kind.PERSON_NAME
        if self.version > 1 and attribute.vr in _WILDCARD_VRS and ("*" in text or "?" in text):
            # Folding a pattern by the rules of a whole name would eat what its wildcards stand for.
            pattern = fold(text) if is_name else fold_case(text)
            return _wildcard(attribute, pattern)
        return Exact(attribute, fold_person_name(text) if is_name else fold_case(text))

    def _fuzzy(self, attribute: SearchAttribute, text: str) -> Iterator[Condition]:
        if self.version == 1 and '"' in text:
            raise InvalidQueryError("Invalid query: a quotation mark cannot be matched fuzzily.")
        found = words(text.replace("*", " ").replace("?", " "))
        if len(found) > _MAX_WORDS:
            raise InvalidQueryError(f"Invalid query: a name may have {_MAX_WORDS} words.")
        if found:
            yield FuzzyName(attribute, found)


def _wildcard(attribute: SearchAttribute, pattern: str) -> Wildcard:
    collapsed = "*".join(part for part in _between_stars(pattern))
    if collapsed.count("*") > _MAX_WILDCARDS:
        raise InvalidQueryError(f"Invalid query: a value may have {_MAX_WILDCARDS} wildcards.")
    return Wildcard(attribute, collapsed)


def _between_stars(pattern: str) -> Iterator[str]:
    """The parts between asterisks, of which many in a row say no more than one."""
    first, *inner = pattern.split("*")
    yield first
    yield from (part for part in inner[:-1] if part)
    yield from inner[-1:]


def _combined(texts: dict[SearchAttribute, str]) -> Iterator[Condition]:
    """Take out the dates and times that are given as ranges of the same form, for one range each.

    Standard: PS3.4 C.2.2.2.5.4 (2025b).
    """
    for date, time in COMBINED_DATE_TIMES:
        if date not in texts or time not in texts:
            continue
        days, times = _ends(texts[date]), _ends(texts[time])
        if days is None or times is None or list(map(bool, days)) != list(map(bool, times)):
            continue
        low = high = None
        if days[0]:
            low = date_interval(days[0], date.keyword)[0], time_interval(times[0], time.keyword)[0]
        if days[1]:
            high = date_interval(days[1], date.keyword)[1], time_interval(times[1], time.keyword)[1]
        if low is not None and high is not None and low > high:
            raise _reversed(date)
        if low is not None or high is not None:
            yield CombinedRange(date, time, low, high)
            del texts[date], texts[time]


def _ends(text: str) -> tuple[str, str] | None:
    low, dash, high = (part.strip() for part in text.partition("-"))
    return (low, high) if dash else None


def _range(
    attribute: SearchAttribute, text: str, interval: Callable[[str, str], Interval]
) -> Condition:
    ends = _ends(text)
    if ends is None:
        low, high = interval(text, attribute.keyword)
        return Exact(attribute, low) if low == high else Range(attribute, low, high)
    if not any(ends):
        raise InvalidQueryError(f"Invalid query: the range of '{attribute.keyword}' is empty.")
    first = interval(ends[0], attribute.keyword)[0] if ends[0] else None
    last = interval(ends[1], attribute.keyword)[1] if ends[1] else None
    if first is not None and last is not None and first > last:
        raise _reversed(attribute)
    return Range(attribute, first, last)


def _reversed(attribute: SearchAttribute) -> InvalidQueryError:
    return InvalidQueryError(
        f"Invalid query: the range of '{attribute.keyword}' ends before it begins."
    )


_INTERVALS: Mapping[Kind, Callable[[str, str], Interval]] = {
    Kind.DATE: date_interval,
    Kind.TIME: time_interval,
    Kind.DATE_TIME: date_time_interval,
}
_NUMBERS: Mapping[Kind, Callable[[str, str], int | float]] = {
    Kind.INTEGER: integer,
    Kind.REAL: real,
}
