"""The change feed resource: what a client asks of it, and its entries as JSON (reference)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from shared.dicom.resource import ResourcePath
from shared.dicomweb.parameter import truth, whole_number
from shared.errors import InvalidQueryError

V1_MAX_LIMIT = 100
V1_DEFAULT_LIMIT = 10
V2_MAX_LIMIT = 200
V2_DEFAULT_LIMIT = 100

_MAX_OFFSET = (1 << 63) - 1
_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_FINER_THAN_A_TICK = re.compile(r"[.,]\d{6}\d*[1-9]", re.ASCII)
_DECODED_PLUS = re.compile(r" (?=\d\d:?\d\d\Z)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChangeFeedQuery:
    """A page of the change feed.

    Attributes:
        offset: v1: the sequence that the page comes after; v2: entries of the window to leave out.
        window: The moments that entries come from, with the first and without the last; None in
            v1, which knows only sequences.
    """

    offset: int
    limit: int
    has_metadata: bool
    window: tuple[datetime, datetime] | None


def parse_change_feed_query(pairs: Sequence[tuple[str, str]], *, version: int) -> ChangeFeedQuery:
    """Read the parameters of a page; their names have no case, and unknown ones are ignored.

    Raises:
        InvalidQueryError: One is malformed, or the window is empty.
    """
    given = _by_name(pairs)
    is_v1 = version == 1
    limit, most = (V1_DEFAULT_LIMIT, V1_MAX_LIMIT) if is_v1 else (V2_DEFAULT_LIMIT, V2_MAX_LIMIT)
    if "limit" in given:
        limit = whole_number(given["limit"], "Limit", 1, most)
    offset = whole_number(given.get("offset", "0"), "Offset", 0, _MAX_OFFSET)
    return ChangeFeedQuery(offset, limit, _has_metadata(given), None if is_v1 else _window(given))


def wants_metadata(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether the entry of the latest change shall have metadata.

    Raises:
        InvalidQueryError: `includeMetadata` is neither true nor false.
    """
    return _has_metadata(_by_name(pairs))


def _by_name(pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """The first value of each parameter."""
    return {name.lower(): text for name, text in reversed(pairs)}


def _has_metadata(given: Mapping[str, str]) -> bool:
    return truth(given.get("includemetadata", "true"), "IncludeMetadata")


def _window(given: Mapping[str, str]) -> tuple[datetime, datetime]:
    start, end = _BEGINNING_OF_TIME, _END_OF_TIME
    if "starttime" in given:
        start = _moment(given["starttime"], "StartTime")
    if "endtime" in given:
        end = _moment(given["endtime"], "EndTime")
    if end <= start:
        raise InvalidQueryError(
            "The query parameter 'EndTime' is invalid. It must be later than StartTime."
        )
    return start, end


def _moment(text: str, name: str) -> datetime:
    """A moment to the microsecond, as finely as changes are kept."""
    try:
        # An unencoded plus sign of a time zone has been read as a space.
        given = datetime.fromisoformat(_DECODED_PLUS.sub("+", text.strip()))
        moment = given.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _malformed(name) from error
    if given.tzinfo is None:
        raise _malformed(name)
    # The next microsecond, as what is before it lies before the finer moment too.
    is_finer = _FINER_THAN_A_TICK.search(text) is not None and moment < _END_OF_TIME
    return moment + _TICK if is_finer else moment


def _malformed(name: str) -> InvalidQueryError:
    return InvalidQueryError(
        f"The query parameter '{name}' is invalid. "
        "It must be a date and time with a time zone, as in ISO 8601."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A change as clients see it.

    Attributes:
        state: What has become of the instance since.
        metadata: The data set of the instance as it is now, as JSON text.
    """

    sequence: int
    partition_name: str
    path: ResourcePath
    action: str
    timestamp: datetime
    state: str
    metadata: bytes | None

    def to_json(self) -> bytes:
        """The entry as a JSON object."""
        members: dict[str, object] = {
            "sequence": self.sequence,
            "partitionName": self.partition_name,
            "studyInstanceUid": self.path.study,
            "seriesInstanceUid": self.path.series,
            "sopInstanceUid": self.path.instance,
            "action": self.action,
            "timestamp": self.timestamp,
            "state": self.state,
        }
        if self.metadata is not None:
            members["metadata"] = orjson.Fragment(self.metadata)
        return orjson.dumps(members)
