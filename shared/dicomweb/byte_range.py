"""Requests for a part of a value (RFC 9110 14)."""

import re

from shared.errors import RangeNotSatisfiableError

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*\Z", re.ASCII | re.IGNORECASE)


def parse_range(header: str | None, length: int) -> tuple[int, int] | None:
    """The range that is asked for of a value of `length` bytes: its offset and how many.

    None where the whole value is to be sent: without the header, or if it is malformed, in other
    units or of several ranges, which a server may ignore.

    Raises:
        RangeNotSatisfiableError: The range lies outside the value.
    """
    found = _RANGE.match(header or "")
    if found is None or found[1] == found[2] == "":
        return None
    first, last = found[1], found[2]
    if not first:
        start, end = max(0, length - int(last)), length
    else:
        start, end = int(first), length if not last else min(length, int(last) + 1)
        if last and int(last) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiableError("The byte range lies outside the value.", length)
    return start, end - start
