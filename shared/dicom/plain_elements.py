"""Runs of plain elements: the hot path of a scan.

Plain is what the Standard knows or what is private, small, and the same whatever stands around it.

Standard: PS3.5 7.1 (2025b).
"""

from dataclasses import dataclass
from struct import Struct

from shared.dicom.charset import Encodings
from shared.dicom.dictionary import MIN_PRIVATE_CREATOR, PLAIN_TAGS
from shared.dicom.value_representation import BULK_VRS, CONVERT, LONG_VRS, Convert, Document

HEADER_LENGTH = 8
"""Bytes of tag and length, and of a VR with a 16-bit length."""

_EXPLICIT = Struct("<4s2sH").unpack_from
_IMPLICIT = Struct("<4sI").unpack_from


@dataclass(slots=True)
class OpenDataSet:
    """A data set being read: the whole one, or an item. `limit` is where it must end."""

    document: Document
    limit: int
    encodings: Encodings
    is_implicit: bool
    path: str
    # Command and file meta elements have no place in it.
    last: str = "0002FFFF"


# What the fast loops take: a tag of the Standard, a value that is small and needs no context.
_SHORT: dict[bytes, tuple[str, Convert]] = {
    vr.encode(): (vr, convert) for vr, convert in CONVERT.items() if vr not in LONG_VRS
}
_IMPLICIT_TAGS: dict[bytes, tuple[str, str, Convert]] = {
    tag: (key, vr, CONVERT[vr])
    for tag, (key, vr) in PLAIN_TAGS.items()
    if vr in CONVERT and vr not in BULK_VRS
}
_EXPLICIT_TAGS = {tag: key for tag, (key, _) in PLAIN_TAGS.items()}


_UNKNOWN = ("UN", CONVERT["UN"])
_PRIVATE_CREATOR = ("LO", CONVERT["LO"])


def _private_key(tag: bytes) -> str | None:
    """The key of a private attribute, or None: group lengths and the like are not plain."""
    if not tag[0] & 1 or not (tag[2] or tag[3]):
        return None
    return tag[1::-1].hex().upper() + tag[:1:-1].hex().upper()


def _private_implicit(tag: bytes) -> tuple[str, str, Convert] | None:
    """As `_private_key`, with what `vr_of` says of private attributes in implicit VR."""
    key = _private_key(tag)
    if key is None:
        return None
    is_creator = not tag[3] and tag[2] >= MIN_PRIVATE_CREATOR
    return (key, *(_PRIVATE_CREATOR if is_creator else _UNKNOWN))


def take_explicit(
    current: OpenDataSet, buffer: bytes, bounds: tuple[int, int, int], nul_ended: list[str]
) -> int:
    """Take elements of explicit VR, as long as they are plain, and give the position reached.

    Args:
        current: What they are added to.
        buffer: What they are in.
        bounds: Where they begin, where they must end, and the longest value that is plain in
            implicit VR; in explicit VR 16 bits of length bound it.
        nul_ended: Gets the keys of values whose last byte is NUL.
    """
    position, stop, _ = bounds
    last = current.last
    document, encodings = current.document, current.encodings
    while position + HEADER_LENGTH <= stop:
        tag, vr, length = _EXPLICIT(buffer, position)
        key = _EXPLICIT_TAGS.get(tag) or _private_key(tag)
        short = _SHORT.get(vr)
        start = position + HEADER_LENGTH
        end = start + length
        if key is None or short is None or end > stop or key <= last:
            break
        if length:
            document[key] = short[1](buffer[start:end], encodings)
            if not buffer[end - 1]:
                nul_ended.append(key)
        else:
            document[key] = {"vr": short[0]}
        last = key
        position = end
    current.last = last
    return position


def take_implicit(
    current: OpenDataSet, buffer: bytes, bounds: tuple[int, int, int], nul_ended: list[str]
) -> int:
    """Take elements of implicit VR as `take_explicit` does those of explicit VR."""
    position, stop, longest = bounds
    last = current.last
    document, encodings = current.document, current.encodings
    while position + HEADER_LENGTH <= stop:
        tag, length = _IMPLICIT(buffer, position)
        known = _IMPLICIT_TAGS.get(tag) or _private_implicit(tag)
        start = position + HEADER_LENGTH
        end = start + length
        if known is None or end > stop or length > longest or known[0] <= last:
            break
        last = known[0]
        if length:
            document[last] = known[2](buffer[start:end], encodings)
            if not buffer[end - 1]:
                nul_ended.append(last)
        else:
            document[last] = {"vr": known[1]}
        position = end
    current.last = last
    return position
