"""What else than DICOM a file claims to be in the 128 bytes before its prefix.

Standard: PS3.10 7.1 and 7.5 (2025b); the danger is CVE-2019-11687.
"""

from collections.abc import Buffer, Sequence
from enum import Enum

PREAMBLE_LENGTH = 128
_PREFIX = b"DICM"


class PreambleKind(Enum):
    """What the first bytes of a file say it is."""

    ABSENT = "absent"
    EMPTY = "empty"
    TIFF = "tiff"
    EXECUTABLE = "executable"
    OTHER = "other"


_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EXECUTABLE = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"dex\n",
    b"\0asm",
)


def harmless(start: Buffer) -> Sequence[Buffer]:
    """The beginning of a file, up to anywhere behind its prefix, as it may be sent to others.

    A preamble that makes the file a program is sent as zeros; one of a TIFF is left, as slides are
    shared so.
    """
    head = bytes(memoryview(start)[: PREAMBLE_LENGTH + len(_PREFIX)])
    is_program = kind_of_preamble(head[:PREAMBLE_LENGTH]) is PreambleKind.EXECUTABLE
    if not is_program or head[PREAMBLE_LENGTH:] != _PREFIX:
        return [start]
    return [bytes(PREAMBLE_LENGTH), memoryview(start)[PREAMBLE_LENGTH:]]


def kind_of_preamble(preamble: bytes) -> PreambleKind:
    """Tell what a preamble would make of the file if its DICOM were ignored."""
    if preamble.startswith(_EXECUTABLE):
        return PreambleKind.EXECUTABLE
    if preamble.startswith(_TIFF):
        return PreambleKind.TIFF
    return PreambleKind.OTHER if preamble.strip(b"\0") else PreambleKind.EMPTY
