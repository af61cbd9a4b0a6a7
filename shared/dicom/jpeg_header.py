"""What a compressed frame says of itself: the headers of JPEG and JPEG-LS.

Only headers are read, never pixels; and only what they say, not whether it is wanted here.

Standard: PS3.5 8.2 (2025b); ITU-T T.81 B.2, T.87 C.2.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from struct import Struct, unpack_from
from struct import error as StructError  # noqa: N812

type Chunk = bytes | memoryview
type _Segment = tuple[int, int, int]
"""A marker, and where its parameters begin and end."""

BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS, JPEG_LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7
"""Processes of JPEG and JPEG-LS, by the markers of their frame headers."""

START_OF_IMAGE = b"\xff\xd8"

_NO_FRAMES = frozenset({0xC4, 0xC8, 0xCC})
_FRAMES = frozenset(range(0xC0, 0xD0)) - _NO_FRAMES | {JPEG_LS}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _APP0, _APP14 = 0xDA, 0xE0, 0xEE
_JFIF = b"JFIF\0"
_FRAME = Struct(">BHHB")

# Real headers have some ten of them, or some hundred with a colour profile.
MAX_SEGMENTS, _MAX_FILL_BYTES = 1000, 1000


class BrokenHeaderError(Exception):
    """A frame has no header of its kind, or ends in it."""

    def __init__(self, *, ends_early: bool = False) -> None:
        super().__init__(ends_early)
        self.ends_early = ends_early


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """The header of JPEG or JPEG-LS.

    Attributes:
        process: The marker of the frame header.
        precision: Bits of a sample.
        identifiers: Of the components, one byte each; `samplings` likewise.
        is_jfif: It has a JFIF segment, so three components are luminance and chrominance.
        adobe_transform: The colour transform that an Adobe segment names, if there is one.
        scan_parameter: The predictor of lossless JPEG or the error bound of JPEG-LS, where the
            header was read that far.
    """

    process: int
    rows: int
    columns: int
    precision: int
    identifiers: bytes
    samplings: bytes
    is_jfif: bool
    adobe_transform: int | None
    scan_parameter: int | None

    @property
    def samples(self) -> int:
        """The number of components."""
        return len(self.identifiers)


def read_jpeg_header(content: Chunk, *, to_scan: bool) -> JpegHeader:
    """Read the header of JPEG or JPEG-LS as far as its frame header, or that of its first scan.

    Raises:
        BrokenHeaderError: It is none, or ends early.
    """
    with ends_of_content():
        return _jpeg_header(content, to_scan=to_scan)


@contextmanager
def ends_of_content() -> Iterator[None]:
    """Give reading past the end as an error of a header."""
    try:
        yield
    except (StructError, IndexError) as error:
        raise BrokenHeaderError(ends_early=True) from error


def _jpeg_header(content: Chunk, *, to_scan: bool) -> JpegHeader:
    segments = list(_segments(content, {_START_OF_SCAN} if to_scan else _FRAMES))
    process, at = next(((m, at) for m, at, _ in reversed(segments) if m in _FRAMES), (0, 0))
    if not process:
        raise BrokenHeaderError
    precision, rows, columns, count = _FRAME.unpack_from(content, at)
    components = bytes(content[at + 6 : at + 6 + 3 * count])
    if len(components) != 3 * count or not count:
        raise BrokenHeaderError
    last, at, _ = segments[-1]
    return JpegHeader(
        process=process,
        rows=rows,
        columns=columns,
        precision=precision,
        identifiers=components[::3],
        samplings=components[1::3],
        is_jfif=any(m == _APP0 and bytes(content[at : at + 5]) == _JFIF for m, at, _ in segments),
        adobe_transform=_adobe_transform(content, segments),
        # After the components of the scan.
        scan_parameter=content[at + 1 + 2 * content[at]] if last == _START_OF_SCAN else None,
    )


def _segments(content: Chunk, last: Collection[int]) -> Iterator[_Segment]:
    """The segments of a JPEG header up to one of the last markers, or to the first scan."""
    if bytes(content[:2]) != START_OF_IMAGE:
        raise BrokenHeaderError
    at = 2
    for _ in range(MAX_SEGMENTS):
        # Any number of FF may stand before a marker (T.81 B.1.1.2).
        if content[at] != 0xFF:  # noqa: PLR2004
            raise BrokenHeaderError
        fill = bytes(content[at : at + _MAX_FILL_BYTES])
        at += len(fill) - len(fill.lstrip(b"\xff"))
        marker = content[at]
        at += 1
        if marker in _STANDALONE:
            continue
        (length,) = unpack_from(">H", content, at)
        yield marker, at + 2, at + length
        if marker in last or marker == _START_OF_SCAN:
            return
        # No segment is shorter than its length field.
        at += max(length, 2)
    raise BrokenHeaderError


def _adobe_transform(content: Chunk, segments: list[_Segment]) -> int | None:
    transform = None
    for marker, at, end in segments:
        if marker == _APP14 and bytes(content[at : at + 5]) == b"Adobe" and end > at + 11:
            transform = content[at + 11]
    return transform
