"""The size that a compressed frame says it has, read before any codec allocates for it.

Standard: ISO/IEC 10918-1 B.2, 14495-1 C.2, 15444-1 A.5 and A.6 (by way of PS3.5 8.2, 2025b).
"""

from dataclasses import dataclass
from struct import Struct, error

from shared.errors import NotAcceptableError

_FRAME = Struct(">BHHB")
_SEGMENT = Struct(">BBH")
_SIZE = Struct(">HIIIIIIIIH")
_STYLE = Struct(">BBHBBBBBB")
START_OF_CODESTREAM = b"\xff\x4f\xff\x51"
"""The two markers that JPEG 2000 and HTJ2K begin with."""

_START_OF_IMAGE, _JP2 = b"\xff\xd8", b"\x00\x00\x00\x0c"
# Hierarchical and arithmetic processes have no decoder here; DICOM has retired them.
_FRAME_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}
_UNSERVED_FRAME_MARKERS = set(range(0xC5, 0xD0)) - {0xC8, 0xCC}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_PREFIX, _PROGRESSIVE, _SIGNED = 0xFF, 0xC2, 0x80
_START_OF_SCAN, _CODING_STYLE, _START_OF_TILE = 0xDA, 0x52, 0x90
_APPLICATION = {0xE0, 0xEE}
_TOLD = 12
_HIGH_THROUGHPUT = 1 << 14
_MAX_SCANS = 128
_MAX_TILES = 0xFFFF
_MAX_BLOCKS = 1 << 22
_HAS_PRECINCTS = 1


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """What the header of a compressed frame says.

    Attributes:
        marker: That of the start of frame, which names the process; 0 for JPEG 2000.
        bits: Of a sample.
        is_high_throughput: The blocks of JPEG 2000 are coded as HTJ2K has it.
        is_jfif: The frame has a JFIF segment, so three components are luminance and chrominance.
        adobe_transform: The colour transform that an Adobe segment names, if there is one.
        component_ids: Of JPEG, one byte a component.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    marker: int = 0
    is_signed: bool = False
    is_high_throughput: bool = False
    is_jfif: bool = False
    adobe_transform: int | None = None
    component_ids: bytes = b""


def read_coded_frame(data: bytes) -> CodedFrame:
    """Read the header of a frame of JPEG, JPEG-LS, JPEG 2000 or HTJ2K.

    Raises:
        NotAcceptableError: It is none of them, ends early, or is made to exhaust its decoder.
    """
    try:
        if data.startswith(_START_OF_IMAGE):
            return _read_jpeg(data)
        at = data.find(START_OF_CODESTREAM, 0, 4096) if data.startswith(_JP2) else 0
        if data.startswith(START_OF_CODESTREAM, max(at, 0)):
            return _read_jpeg_2000(data, max(at, 0))
    except (error, IndexError) as cause:
        raise NotAcceptableError("A compressed frame ends within its header.") from cause
    raise NotAcceptableError("A compressed frame is not in the format of its transfer syntax.")


def _read_jpeg(data: bytes) -> CodedFrame:
    at, segments = 2, list[bytes]()
    while True:
        while data[at] == data[at + 1] == _PREFIX:
            at += 1
        prefix, marker, length = _SEGMENT.unpack_from(data, at)
        if prefix != _PREFIX or marker == _START_OF_SCAN or marker in _UNSERVED_FRAME_MARKERS:
            raise NotAcceptableError("A compressed frame is of a process that is not decoded here.")
        if marker in _FRAME_MARKERS:
            return _start_of_frame(data, at, segments)
        if marker in _APPLICATION:
            segments.append(data[at + 4 : at + 4 + _TOLD])
        at += 2 if marker in _STANDALONE else 2 + length


def _start_of_frame(data: bytes, at: int, segments: list[bytes]) -> CodedFrame:
    marker = data[at + 1]
    bits, rows, columns, samples = _FRAME.unpack_from(data, at + 4)
    if marker == _PROGRESSIVE and data.count(b"\xff\xda", at) > _MAX_SCANS:
        raise NotAcceptableError("A compressed frame has more scans than are decoded here.")
    ids = bytes(data[at + 10 + 3 * component] for component in range(samples))
    return CodedFrame(
        rows,
        columns,
        samples,
        bits,
        marker,
        is_jfif=any(segment.startswith(b"JFIF\0") for segment in segments),
        adobe_transform=next((s[11] for s in segments if s[:5] == b"Adobe" and s[11:]), None),
        component_ids=ids,
    )


def _read_jpeg_2000(data: bytes, at: int) -> CodedFrame:
    capabilities, right, bottom, left, top, tile_columns, tile_rows, _, _, samples = (
        _SIZE.unpack_from(data, at + 6)
    )
    depth, horizontal, vertical = data[at + 42 : at + 45]
    columns, rows = right - left, bottom - top
    is_whole = all(
        data[at + 42 + 3 * component : at + 45 + 3 * component] == data[at + 42 : at + 45]
        for component in range(samples)
    )
    if not tile_columns or not tile_rows or (horizontal, vertical) != (1, 1) or not is_whole:
        raise NotAcceptableError("A compressed frame has components of different kinds.")
    if -(-right // tile_columns) * -(-bottom // tile_rows) > _MAX_TILES:
        raise NotAcceptableError("A compressed frame has more tiles than are decoded here.")
    _check_blocks(data, at, rows * columns * samples)
    return CodedFrame(
        rows,
        columns,
        samples,
        (depth & 0x7F) + 1,
        is_signed=depth >= _SIGNED,
        is_high_throughput=bool(capabilities & _HIGH_THROUGHPUT),
    )


def _check_blocks(data: bytes, at: int, values: int) -> None:
    """Refuse blocks and precincts so small that keeping count of them exhausts memory."""
    at += 2
    while data[at + 1] != _START_OF_TILE:
        _, marker, length = _SEGMENT.unpack_from(data, at)
        if marker == _CODING_STYLE:
            flags, _, _, _, levels, width, height, _, _ = _STYLE.unpack_from(data, at + 4)
            smallest = (width & 0xF) + (height & 0xF) + 4
            if flags & _HAS_PRECINCTS:
                precincts = data[at + 14 : at + 15 + levels]
                smallest = min([smallest, *((size & 0xF) + (size >> 4) for size in precincts)])
            if values >> smallest > _MAX_BLOCKS:
                raise NotAcceptableError(
                    "A compressed frame has more blocks than are decoded here."
                )
            return
        at += 2 + length
