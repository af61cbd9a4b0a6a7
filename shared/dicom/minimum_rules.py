"""What values of indexed attributes must be at least: less than the Standard says.

Each rule is given one value, names with their groups joined by =, and gives why it is refused.

Standard: PS3.5 Table 6.2-1 (2025b), loosened and worded as the reference has it.
"""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from shared.dicom.uid import parse_uid
from shared.errors import InvalidUidError

_CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f]")
_LONG_STRING = 64
_MAX_GROUPS, _MAX_COMPONENTS = 3, 5


def _at_most(length: int) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        return (
            f"Value exceeds maximum length of {length} characters." if len(value) > length else None
        )

    return check


def _age(value: str) -> str | None:
    return None if len(value) == 4 else "Value length is not expected length of 4 characters."  # noqa: PLR2004


def _date(value: str) -> str | None:
    try:
        date(int(value[:4]), int(value[4:6]), int(value[6:]))
        is_day = _EIGHT_DIGITS.match(value) is not None
    except ValueError:
        is_day = False
    return None if is_day else "Value cannot be parsed as a valid date."


_EIGHT_DIGITS = re.compile(r"\d{8}\Z", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?\s*\Z", re.ASCII)
_INTEGER = re.compile(r"\s*[+-]?\d{1,12}\s*\Z", re.ASCII)


def _time(value: str) -> str | None:
    return None if _TIME.match(value) else "Value cannot be parsed as a valid time."


def _integer(value: object) -> str | None:
    if isinstance(value, int) or (isinstance(value, str) and _INTEGER.match(value)):
        return None
    return "Value cannot be parsed as a valid integer."


def _date_time(value: str) -> str | None:
    found = _DATE_TIME.match(value)
    if found is None:
        return "Value cannot be parsed as a valid date and time."
    year, month, day = (int(part or 1) for part in found.groups())
    try:
        date(year, month, day)
    except ValueError:
        return "Value cannot be parsed as a valid date and time."
    return None


_DATE_TIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})"
    r"(?:(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?)?)?"
    r"(?:[+-](?:0\d|1[0-4])[0-5]\d)?\s*\Z",
    re.ASCII,
)


def _decimal(value: object) -> str | None:
    if isinstance(value, int | float) or (isinstance(value, str) and _DECIMAL.match(value)):
        return None
    return "Value cannot be parsed as a valid decimal number."


_DECIMAL = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\s*\Z", re.ASCII)


def _number_of(length: int) -> Callable[[object], str | None]:
    """A number of a binary VR; in a document it is no longer bytes, or not such a number."""

    def check(value: object) -> str | None:
        if isinstance(value, int | float) or value in _NOT_FINITE:
            return None
        return f"Value length is not expected length of {length} bytes."

    return check


_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def _long_string(value: str) -> str | None:
    if len(value) > _LONG_STRING:
        return f"Value exceeds maximum length of {_LONG_STRING} characters."
    if "\\" in value or _CONTROL.search(value):
        return "Value contains invalid character."
    return None


def _person_name(value: str) -> str | None:
    groups = value.split("=")
    if len(groups) > _MAX_GROUPS:
        return "Value contains too many groups."
    for group in groups:
        if len(group) > _LONG_STRING:
            return f"Value exceeds maximum length of {_LONG_STRING} characters."
        if group.count("^") >= _MAX_COMPONENTS:
            return "Value contains too many components."
        if _CONTROL.search(group):
            return "Value contains invalid character."
    return None


def _unique_identifier(value: str) -> str | None:
    try:
        parse_uid(value)
    except InvalidUidError:
        return "Value is not a valid unique identifier."
    return None


MINIMUM_RULES: dict[str, Callable[[Any], str | None]] = {
    "AE": _at_most(16),
    "AS": _age,
    "CS": _at_most(16),
    "DA": _date,
    "DS": _decimal,
    "DT": _date_time,
    "FD": _number_of(8),
    "FL": _number_of(4),
    "IS": _integer,
    "LO": _long_string,
    "PN": _person_name,
    "SH": _at_most(16),
    "SL": _number_of(4),
    "SS": _number_of(2),
    "TM": _time,
    "UI": _unique_identifier,
    "UL": _number_of(4),
    "US": _number_of(2),
}
"""By VR; those of the indexed attributes and of extended query tags."""
