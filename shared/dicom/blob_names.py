"""Where blobs lie: names made of a time-ordered number and a day, never of UIDs or patients.

A blob id is a UUID version 7 (RFC 9562) as 32 hexadecimal digits, so that ids sort by time and a
name tells the day it was made. The digits in front spread names over a store's partitions.
"""

import re
import secrets
import time
import zlib
from datetime import UTC, datetime

INSTANCE_KINDS = ("dicom", "metadata", "frames")
"""First segments of the names of blobs that belong to one instance."""

_BLOB_ID = re.compile(r"[0-9a-f]{32}(?=\.|\Z)")
_SPREAD = 100
# Enough to spread load; each more is a folder a day to make, to sync and to list.
_RANDOM_BITS = 62
_LAST_MILLISECOND = (1 << 48) - 1


def new_blob_id(now_ms: int | None = None) -> str:
    """Draw a blob id; `now_ms` is milliseconds since 1970 UTC, the present when absent."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    if not 0 <= milliseconds <= _LAST_MILLISECOND:
        raise ValueError(milliseconds)
    number = milliseconds << 80
    number |= 0x7 << 76 | secrets.randbits(12) << 64
    number |= 0b10 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return f"{number:032x}"


def time_of(blob_id: str) -> datetime:
    """When a blob id was drawn, UTC, to the millisecond."""
    milliseconds = int(blob_id[:12], 16)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def day_of(blob_id: str) -> str:
    """The UTC day on which a blob id was drawn, as yyyymmdd."""
    return time_of(blob_id).strftime("%Y%m%d")


def dicom_blob(blob_id: str) -> str:
    """The blob of a DICOM file, exactly as it was received."""
    return f"dicom/{_place(blob_id)}"


def metadata_blob(blob_id: str) -> str:
    """The blob of an instance's metadata."""
    return f"metadata/{_place(blob_id)}.json.gz"


def frames_blob(blob_id: str) -> str:
    """The blob of a frame map that is too big for the index."""
    return f"frames/{_place(blob_id)}.json.gz"


def instance_blobs(blob_id: str, *, has_frames_blob: bool) -> tuple[str, ...]:
    """The blobs of one stored instance."""
    names = (dicom_blob(blob_id), metadata_blob(blob_id))
    return (*names, frames_blob(blob_id)) if has_frames_blob else names


def blob_id_of(name: str) -> str | None:
    """The blob id that a name is made of, None when it is made of none."""
    found = _BLOB_ID.match(name.rpartition("/")[2])
    return None if found is None else found[0]


def tombstone_blob(blob_id: str) -> str:
    """The blob that tells which instances a deletion removed; the id is the deletion's own."""
    return f"tombstones/{_place(blob_id)}.json"


def series_document_blob(series_key: int, revision: int) -> str:
    """The blob of a series' metadata at a revision."""
    return f"series-metadata/{series_key}/{revision}.json.gz"


TAG_SETS = "extended-query-tags/"
"""Where the sets of extended query tags are, of which the last one counts."""


def tag_set_blob(version: int) -> str:
    """The blob of a set of extended query tags; later ones come later in the order of names."""
    return f"{TAG_SETS}{version:010d}.json"


UPDATES = "updates/"
"""Where it is noted which heads of updated instances were put in place."""


def update_blob(blob_id: str) -> str:
    """The blob that names heads which were put in place together; the id is its own."""
    return f"{UPDATES}{_place(blob_id)}.json"


def _place(blob_id: str) -> str:
    return f"{zlib.crc32(blob_id.encode()) % _SPREAD:02d}/{day_of(blob_id)}/{blob_id}"
