"""Dates and times as values have them, and nothing that is written beside them.

Standard: PS3.5 6.2, DA, DT and TM (2025b).
"""

import re

MOMENTS = frozenset({"DA", "DT", "TM"})

_TIME = r"\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?"
_TIME_ALONE = re.compile(rf"{_TIME}\Z", re.ASCII)
_DATE = re.compile(rf"(\d{{8}})((?:{_TIME})?(?:[+-]\d{{4}})?)\Z", re.ASCII)
_NO_WORDS = re.compile(r"[\d.:+ -]*\Z", re.ASCII)
_PADDING = " \0"


def parts(value: str) -> tuple[str, str] | None:
    """The eight digits of a date, and the time with its zone that follows them if there is one.

    None for what is no date, or has more with it.
    """
    found = _DATE.match(value.strip(_PADDING))
    return None if found is None else (found[1], found[2])


def is_time(value: str) -> bool:
    """Whether a value is a time of day alone."""
    return _TIME_ALONE.match(value.strip(_PADDING)) is not None


def has_words(value: str) -> bool:
    """Whether a value has what no date or time has, in the formats of old or of today."""
    return _NO_WORDS.match(value.strip(_PADDING)) is None
