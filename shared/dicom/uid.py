"""Unique identifiers as values."""

import re
from typing import NewType

from shared.errors import InvalidUidError

MAX_UID_LENGTH = 64

Uid = NewType("Uid", str)
"""Digits and dots, at most 64, ending in a digit, without padding."""

_UID = re.compile(r"[0-9.]*[0-9]\Z", re.ASCII)
_PADDING = " \0"


def parse_uid(text: str) -> Uid:
    """Read a UID from outside, dropping the trailing padding that senders add.

    Leading zeros in components are let through, as real modalities send them.

    Raises:
        InvalidUidError: The text is longer than 64 or has other characters than digits and dots.

    Standard: PS3.5 9.1 (2025b); tolerance of padding and zeros: reference.
    """
    uid = text.rstrip(_PADDING)
    if len(uid) > MAX_UID_LENGTH or not _UID.match(uid):
        raise InvalidUidError(
            "A unique identifier must have at most 64 characters, digits and dots, "
            "and end with a digit."
        )
    return Uid(uid)
