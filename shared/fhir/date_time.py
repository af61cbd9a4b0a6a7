"""Dates and times of DICOM as FHIR's: with a time only where the offset from UTC is known.

The offset is that of the value, else Timezone Offset From UTC, else that of the site's time zone at
that date. Without one there is just the date, since a guess could be another day.

Standard: PS3.5 6.2, PS3.3 C.12.1.1.8 (2025b); FHIR R4, 2.24.0.1.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from shared.dicom.searchable import tag_of
from shared.fhir.data_set import DataSet
from shared.fhir.mapping_warning import Warnings

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})\Z", re.ASCII)
_TIME = re.compile(r"(\d{2}):?(?:(\d{2}):?(?:(\d{2})(?:\.(\d{1,6}))?)?)?\Z", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?\Z",
    re.ASCII,
)
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})\Z", re.ASCII)
_FIRST_YEAR = 1850
_OFFSETS = (timedelta(hours=-12), timedelta(hours=14))
_HOUR_MINUTES = 60
_LEAP_SECOND = 60

NO_DATE = "It is no plausible date."
NO_TIME = "It is no time, and was left out."
NO_OFFSET = "It is no offset from UTC."
NO_ZONE = "The offset from UTC is not known, so the time was left out."


@dataclass(frozen=True, slots=True)
class Clock:
    """What the times of a data set are told by; without a zone they are not told."""

    zone: tzinfo | None

    @classmethod
    def of(cls, data_set: DataSet, site: ZoneInfo | None, warnings: Warnings) -> "Clock":
        """The clock of a data set."""
        text = data_set.text("TimezoneOffsetFromUTC")
        offset = None if text is None else _offset(text)
        if text is not None and offset is None:
            warnings.add(tag_of("TimezoneOffsetFromUTC"), NO_OFFSET)
        return cls(site if offset is None else offset)


def fhir_date(data_set: DataSet, keyword: str, warnings: Warnings) -> str | None:
    """A DA value as a date."""
    text = data_set.text(keyword)
    if text is None:
        return None
    found = _date(text)
    if found is None:
        warnings.add(tag_of(keyword), NO_DATE)
        return None
    return found.isoformat()


def fhir_date_time(
    data_set: DataSet, date_keyword: str, time_keyword: str, clock: Clock, warnings: Warnings
) -> str | None:
    """A DA and a TM value as a dateTime."""
    day = fhir_date(data_set, date_keyword, warnings)
    text = data_set.text(time_keyword)
    if day is None or text is None:
        return day
    return _zoned(day, text, clock.zone, tag_of(time_keyword), warnings)


def fhir_moment(text: str, text_tag: str, clock: Clock, warnings: Warnings) -> str | None:
    """A DT value, whose own offset goes before any other, as a dateTime."""
    found = _DATE_TIME.match(text)
    if found is None:
        warnings.add(text_tag, NO_DATE)
        return None
    year, month, day, moment, suffix = found.groups()
    if _date(f"{year}{month or '01'}{day or '01'}") is None:
        warnings.add(text_tag, NO_DATE)
        return None
    known = "-".join(part for part in (year, month, day) if part is not None)
    if moment is None:
        return known
    zone = clock.zone if suffix is None else _offset(suffix)
    return _zoned(known, moment, zone, text_tag, warnings)


def _zoned(day: str, text: str, zone: tzinfo | None, time_tag: str, warnings: Warnings) -> str:
    found = _time(text)
    if found is None:
        warnings.add(time_tag, NO_TIME)
        return day
    moment, digits = found
    if moment is None:
        return day  # The hour alone: FHIR has no such precision.
    if zone is None:
        warnings.add(time_tag, NO_ZONE)
        return day
    zoned = datetime.combine(date.fromisoformat(day), moment, zone)
    offset = zoned.strftime("%z")
    fraction = f".{digits}" if digits else ""
    return f"{zoned:%Y-%m-%dT%H:%M:%S}{fraction}{offset[:3]}:{offset[3:5]}"


def _date(text: str) -> date | None:
    found = _DATE.match(text)
    if found is None:
        return None
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    return day if day.year >= _FIRST_YEAR and day <= tomorrow else None


def _time(text: str) -> tuple[time | None, str] | None:
    """The time to the second and the digits of its fraction; None for the hour alone."""
    found = _TIME.match(text)
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    if minute is None:
        return None, ""
    seconds = int(second or 0)
    try:
        # Many who read FHIR do not know of leap seconds.
        moment = time(int(hour), int(minute), 59 if seconds == _LEAP_SECOND else seconds)
    except ValueError:
        return None
    return moment, fraction or ""


def _offset(text: str) -> timezone | None:
    found = _OFFSET.match(text)
    if found is None or text == "-0000" or int(found[3]) >= _HOUR_MINUTES:
        return None
    distance = timedelta(hours=int(found[2]), minutes=int(found[3]))
    offset = -distance if found[1] == "-" else distance
    return timezone(offset) if _OFFSETS[0] <= offset <= _OFFSETS[1] else None
