"""The values of search parameters, normalised as the index compares them.

Standard: PS3.18 8.3.4, PS3.4 C.2.2.2 (2025b); what v1 refuses, and in which words: reference.
"""

import re
from calendar import monthrange
from datetime import date

from shared.errors import InvalidQueryError

_DATE = re.compile(r"\d{8}\Z", re.ASCII)
_TIME = re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?\Z", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?\Z",
    re.ASCII,
)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_ECHO_LENGTH = 64

type Interval = tuple[str, str]
"""First and last moment that a value names, as fixed-width text; they are often the same."""


def echo(text: str) -> str:
    """What a client sent, made fit for an error text."""
    return _UNPRINTABLE.sub("?", text)[:_ECHO_LENGTH]


def date_interval(text: str, keyword: str) -> Interval:
    """A DA value, `yyyymmdd`.

    Raises:
        InvalidQueryError: There is no such day.
    """
    if not _is_day(text):
        raise InvalidQueryError(
            f"Invalid query: specified Date value '{echo(text)}' is invalid for attribute "
            f"'{keyword}'. Date should be valid and formatted as yyyyMMdd."
        )
    return text, text


def time_interval(text: str, keyword: str) -> Interval:
    """A TM value, from `HH` to `HHmmss.ffffff`, as what it covers in that last form.

    Raises:
        InvalidQueryError: There is no such time.
    """
    found = _TIME.match(text)
    if found is None:
        raise _invalid("Time", text, keyword)
    return _clock(found.groups(), text, keyword)


def date_time_interval(text: str, keyword: str) -> Interval:
    """A DT value without offset from UTC, from `yyyy` to `yyyyMMddHHmmss.ffffff`.

    Raises:
        InvalidQueryError: There is no such time, or it has an offset.
    """
    found = _DATE_TIME.match(text)
    if found is None:
        raise _invalid("DateTime", text, keyword)
    year, month, day, *rest = found.groups()
    first_month, last_month = month or "01", month or "12"
    try:
        last_day = day or f"{monthrange(int(year), int(last_month))[1]:02d}"
        date(int(year), int(first_month), int(day or "01"))
    except ValueError as error:
        raise _invalid("DateTime", text, keyword) from error
    first, last = _clock(tuple(rest), text, keyword)
    return f"{year}{first_month}{day or '01'}{first}", f"{year}{last_month}{last_day}{last}"


def integer(text: str, keyword: str) -> int:
    """A whole number.

    Raises:
        InvalidQueryError: It is none, or beyond 64 bits.
    """
    try:
        number = int(text)
    except ValueError as error:
        raise _invalid("Integer", text, keyword) from error
    if not -(1 << 63) <= number < 1 << 63:
        raise _invalid("Integer", text, keyword)
    return number


def real(text: str, keyword: str) -> float:
    """A finite number.

    Raises:
        InvalidQueryError: It is none.
    """
    try:
        number = float(text)
    except ValueError as error:
        raise _invalid("Real", text, keyword) from error
    if number - number != 0:
        raise _invalid("Real", text, keyword)
    return number


def _is_day(text: str) -> bool:
    if not _DATE.match(text):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def _clock(parts: tuple[str | None, ...], text: str, keyword: str) -> Interval:
    hour, minute, second, fraction = parts
    first = f"{hour or '00'}{minute or '00'}{second or '00'}.{(fraction or '').ljust(6, '0')}"
    last = f"{hour or '23'}{minute or '59'}{second or '59'}.{(fraction or '').ljust(6, '9')}"
    if first[:2] > "23" or first[2:4] > "59" or first[4:6] > "60":
        raise _invalid("Time", text, keyword)
    return first, last


def _invalid(kind: str, text: str, keyword: str) -> InvalidQueryError:
    return InvalidQueryError(
        f"Invalid query: specified {kind} value '{echo(text)}' is invalid for attribute "
        f"'{keyword}'."
    )
