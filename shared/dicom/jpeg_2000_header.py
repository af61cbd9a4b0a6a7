"""What a compressed frame says of itself: the headers of JPEG 2000 and HTJ2K.

Only headers are read, never pixels; and only what they say, not whether it is wanted here.

Standard: PS3.5 8.2 (2025b); ITU-T T.800 A.4 to A.6, T.814 A.2.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct, unpack_from

from shared.dicom.jpeg_header import MAX_SEGMENTS, BrokenHeaderError, Chunk, ends_of_content

type _Position = tuple[int, int]
"""A marker, and where its parameters begin."""

START_OF_CODESTREAM = b"\xff\x4f\xff\x51"
"""The two markers that JPEG 2000 and HTJ2K begin with."""

_COD, _COC, _CAP, _TLM = 0xFF52, 0xFF53, 0xFF50, 0xFF55
_SOT, _SOD, _START_OF_TILE = 0xFF90, 0xFF93, b"\xff\x90"
_SIZE = Struct(">8IH")
_STYLE = Struct(">BBHBBBBBB")
_HIGH_THROUGHPUT = 1 << 17
_HAS_PRECINCTS = 1
_RPCL = 2
_SIGNED = 0x80


@dataclass(frozen=True, slots=True)
class Jpeg2000Header:
    """The main header of JPEG 2000 or HTJ2K.

    Attributes:
        precision: Bits of a sample of the first component; `is_signed` likewise.
        components: Of each, three bytes: precision and sign, horizontal and vertical sampling.
        tiles: How many there are; 0 where they have no size.
        smallest_block: Of blocks and precincts; the binary logarithm of the samples in it.
            A tile may have smaller ones.
        first_tile: Where its header begins.
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
    first_tile: int
    is_reversible: bool
    has_color_transform: bool
    is_high_throughput: bool
    is_progressive: bool

    @property
    def samples(self) -> int:
        """The number of components."""
        return len(self.components) // 3


def read_jpeg_2000_header(content: Chunk) -> Jpeg2000Header:
    """Read the main header of JPEG 2000 or HTJ2K, without the boxes of a file.

    Raises:
        BrokenHeaderError: It is none, or ends early.
    """
    with ends_of_content():
        return _jpeg_2000_header(content)


def smallest_blocks_of_tiles(content: Chunk, header: Jpeg2000Header) -> Iterator[int | None]:
    """For each tile-part the smallest block where it has a coding style of its own, or None.

    Raises:
        BrokenHeaderError: A tile-part has no header, or ends in it.
    """
    at = header.first_tile
    with ends_of_content():
        while bytes(content[at : at + 2]) == _START_OF_TILE:
            (length,) = unpack_from(">I", content, at + 6)
            segments = _tile_header(content, at + 12)
            yield min(_smallest_blocks(content, segments, header.samples), default=None)
            # Without a length it is the last.
            at += length or len(content)


def _jpeg_2000_header(content: Chunk) -> Jpeg2000Header:
    if bytes(content[:4]) != START_OF_CODESTREAM:
        raise BrokenHeaderError
    segments = list(_main_header(content))
    positions = dict(segments)
    # Decoders differ in which of two coding styles they follow (T.800 A.6.1 allows one).
    if [marker for marker, _ in segments].count(_COD) != 1:
        raise BrokenHeaderError
    right, bottom, left, top, tile_columns, tile_rows, _, _, samples = _SIZE.unpack_from(content, 8)
    components = bytes(content[42 : 42 + 3 * samples])
    if len(components) != 3 * samples or not samples:
        raise BrokenHeaderError
    _, progression, _, transform, *_, coding = _STYLE.unpack_from(content, positions[_COD])
    has_tiles = tile_columns and tile_rows
    capabilities = unpack_from(">I", content, positions[_CAP])[0] if _CAP in positions else 0
    return Jpeg2000Header(
        rows=bottom - top,
        columns=right - left,
        precision=(components[0] & ~_SIGNED) + 1,
        is_signed=bool(components[0] & _SIGNED),
        components=components,
        tiles=-(-right // tile_columns) * -(-bottom // tile_rows) if has_tiles else 0,
        smallest_block=min(_smallest_blocks(content, segments, samples)),
        first_tile=positions[_SOT] - 4,
        is_reversible=coding == 1,
        has_color_transform=transform == 1,
        is_high_throughput=bool(capabilities & _HIGH_THROUGHPUT),
        is_progressive=progression == _RPCL and _TLM in positions,
    )


def _main_header(content: Chunk) -> Iterator[_Position]:
    """The segments up to the first tile, that of its start included."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker, length = unpack_from(">HH", content, at)
        if marker < 0xFF00 or length < 2:  # noqa: PLR2004
            break
        yield marker, at + 4
        if marker == _SOT:
            return
        at += 2 + length
    raise BrokenHeaderError


def _tile_header(content: Chunk, at: int) -> Iterator[_Position]:
    """The segments between the start of a tile-part and its data."""
    for _ in range(MAX_SEGMENTS):
        marker, length = unpack_from(">HH", content, at)
        if marker == _SOD:
            return
        yield marker, at + 4
        at += 2 + max(length, 2)
    raise BrokenHeaderError


def _smallest_blocks(content: Chunk, segments: Iterable[_Position], samples: int) -> Iterator[int]:
    """The smallest block of each coding style, be it of all components or of one."""
    for marker, at in segments:
        if marker == _COD:
            yield _smallest_block(content, at, at + 5)
        elif marker == _COC:
            # The number of a component has two bytes where one is too short.
            flags = at + (1 if samples <= 256 else 2)  # noqa: PLR2004
            yield _smallest_block(content, flags, flags + 1)


def _smallest_block(content: Chunk, flags: int, at: int) -> int:
    levels, width, height = content[at], content[at + 1], content[at + 2]
    smallest = (width & 0xF) + (height & 0xF) + 4
    if content[flags] & _HAS_PRECINCTS:
        sizes = bytes(content[at + 5 : at + 6 + levels])
        smallest = min([smallest, *((size & 0xF) + (size >> 4) for size in sizes)])
    return smallest
