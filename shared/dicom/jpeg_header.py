"""What a compressed frame says of itself: the headers of JPEG, JPEG-LS and JPEG 2000.

Only headers are read, never pixels; and only what they say, not whether it is wanted here.

Standard: PS3.5 8.2 (2025b); ITU-T T.81 B.2, T.87 C.2, T.800 A.5 and A.6, T.814 A.2.
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
START_OF_CODESTREAM = b"\xff\x4f\xff\x51"
"""The two markers that JPEG 2000 and HTJ2K begin with."""

_NO_FRAMES = frozenset({0xC4, 0xC8, 0xCC})
_FRAMES = frozenset(range(0xC0, 0xD0)) - _NO_FRAMES | {JPEG_LS}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _APP0, _APP14 = 0xDA, 0xE0, 0xEE
_JFIF = b"JFIF\0"
_FRAME = Struct(">BHHB")

_SIZ, _COD, _CAP, _TLM, _SOT = 0xFF51, 0xFF52, 0xFF50, 0xFF55, 0xFF90
_SIZE = Struct(">8IH")
_STYLE = Struct(">BBHBBBBBB")
_HIGH_THROUGHPUT = 1 << 17
_HAS_PRECINCTS = 1
_RPCL = 2
_SIGNED = 0x80
# Real headers have some ten of them, or some hundred with a colour profile.
_MAX_SEGMENTS, _MAX_FILL_BYTES = 1000, 1000


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


@dataclass(frozen=True, slots=True)
class Jpeg2000Header:
    """The main header of JPEG 2000 or HTJ2K.

    Attributes:
        precision: Bits of a sample of the first component; `is_signed` likewise.
        components: Of each, three bytes: precision and sign, horizontal and vertical sampling.
        tiles: How many there are; 0 where they have no size.
        smallest_block: Of blocks and precincts; the binary logarithm of the samples in it.
        is_high_throughput: The blocks are coded as HTJ2K has it.
        is_progressive: In the order that HTJ2K's RPCL syntax demands, tile lengths included.
    """

    rows: int
    columns: int
    precision: int
    is_signed: bool
    components: bytes
    tiles: int
    smallest_block: int
    is_reversible: bool
    has_color_transform: bool
    is_high_throughput: bool
    is_progressive: bool

    @property
    def samples(self) -> int:
        """The number of components."""
        return len(self.components) // 3


def read_jpeg_header(content: Chunk, *, to_scan: bool) -> JpegHeader:
    """Read the header of JPEG or JPEG-LS as far as its frame header, or that of its first scan.

    Raises:
        BrokenHeaderError: It is none, or ends early.
    """
    with _ends_of_content():
        return _jpeg_header(content, to_scan=to_scan)


def read_jpeg_2000_header(content: Chunk) -> Jpeg2000Header:
    """Read the main header of JPEG 2000 or HTJ2K, without the boxes of a file.

    Raises:
        BrokenHeaderError: It is none, or ends early.
    """
    with _ends_of_content():
        return _jpeg_2000_header(content)


@contextmanager
def _ends_of_content() -> Iterator[None]:
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
    for _ in range(_MAX_SEGMENTS):
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


def _jpeg_2000_header(content: Chunk) -> Jpeg2000Header:
    if bytes(content[:4]) != START_OF_CODESTREAM:
        raise BrokenHeaderError
    positions = _positions(content)
    right, bottom, left, top, tile_columns, tile_rows, _, _, samples = _SIZE.unpack_from(content, 8)
    components = bytes(content[42 : 42 + 3 * samples])
    if len(components) != 3 * samples or not samples:
        raise BrokenHeaderError
    style = positions[_COD]
    _, progression, _, transform, *_, coding = _STYLE.unpack_from(content, style)
    has_tiles = tile_columns and tile_rows
    capabilities = unpack_from(">I", content, positions[_CAP])[0] if _CAP in positions else 0
    return Jpeg2000Header(
        rows=bottom - top,
        columns=right - left,
        precision=(components[0] & ~_SIGNED) + 1,
        is_signed=bool(components[0] & _SIGNED),
        components=components,
        tiles=-(-right // tile_columns) * -(-bottom // tile_rows) if has_tiles else 0,
        smallest_block=_smallest_block(content, style),
        is_reversible=coding == 1,
        has_color_transform=transform == 1,
        is_high_throughput=bool(capabilities & _HIGH_THROUGHPUT),
        is_progressive=progression == _RPCL and _TLM in positions,
    )


def _positions(content: Chunk) -> dict[int, int]:
    """Where the parameters of each kind of segment begin, up to the first tile."""
    positions: dict[int, int] = {}
    at = 2
    for _ in range(_MAX_SEGMENTS):
        marker, length = unpack_from(">HH", content, at)
        if marker == _SOT or marker < 0xFF00 or length < 2:  # noqa: PLR2004
            break
        # Decoders differ in which of two they follow (T.800 A.6.1 allows one).
        if marker == _COD and _COD in positions:
            break
        positions[marker] = at + 4
        at += 2 + length
    if _COD not in positions or marker != _SOT:
        raise BrokenHeaderError
    return positions


def _smallest_block(content: Chunk, style: int) -> int:
    flags, _, _, _, levels, width, height, _, _ = _STYLE.unpack_from(content, style)
    smallest: int = (width & 0xF) + (height & 0xF) + 4
    if flags & _HAS_PRECINCTS:
        sizes = bytes(content[style + 10 : style + 11 + levels])
        smallest = min([smallest, *((size & 0xF) + (size >> 4) for size in sizes)])
    return smallest
