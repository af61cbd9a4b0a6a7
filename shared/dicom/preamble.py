"""What else than DICOM a file claims to be in the 128 bytes before its prefix.

Standard: PS3.10 7.1 and 7.5 (2025b); the danger is CVE-2019-11687.
"""

from enum import Enum

PREAMBLE_LENGTH = 128


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


def kind_of_preamble(preamble: bytes) -> PreambleKind:
    """Tell what a preamble would make of the file if its DICOM were ignored."""
    if preamble.startswith(_EXECUTABLE):
        return PreambleKind.EXECUTABLE
    if preamble.startswith(_TIFF):
        return PreambleKind.TIFF
    return PreambleKind.OTHER if preamble.strip(b"\0") else PreambleKind.EMPTY
