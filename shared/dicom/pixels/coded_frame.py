"""The header of a compressed frame, read and bounded before any codec allocates for it.

Standard: ISO/IEC 10918-1 B.2, 14495-1 C.2, 15444-1 A.5 and A.6 (by way of PS3.5 8.2, 2025b).
"""

from shared.dicom.jpeg_2000_header import (
    START_OF_CODESTREAM,
    Jpeg2000Header,
    read_jpeg_2000_header,
    smallest_blocks_of_tiles,
)
from shared.dicom.jpeg_header import (
    BASELINE,
    EXTENDED,
    JPEG_LS,
    LOSSLESS,
    PROGRESSIVE,
    START_OF_IMAGE,
    BrokenHeaderError,
    JpegHeader,
    read_jpeg_header,
)
from shared.errors import NotAcceptableError

# Hierarchical and arithmetic processes have no decoder here; DICOM has retired them.
_SERVED_PROCESSES = frozenset({BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS, JPEG_LS})
_START_OF_SCAN, _START_OF_BOXES = b"\xff\xda", b"\x00\x00\x00\x0c"
_MAX_LENGTH_OF_BOXES = 4096
_NOT_SUBSAMPLED = b"\x01\x01"
_MAX_SCANS = 128
_MAX_TILES = 0xFFFF
# A decoder keeps some half a kilobyte of each.
_MAX_BLOCKS = 1 << 20
_ENDS_EARLY = "A compressed frame ends within its header."
_BROKEN = "A compressed frame is not in the format of its transfer syntax."


def read_coded_frame(data: bytes) -> JpegHeader | Jpeg2000Header:
    """Read the header of a frame of JPEG, JPEG-LS, JPEG 2000 or HTJ2K.

    Raises:
        NotAcceptableError: It is none of them, ends early, or is made to exhaust its decoder.
    """
    try:
        if data.startswith(START_OF_IMAGE):
            # What follows the frame header is the decoder's to tolerate.
            jpeg = read_jpeg_header(data, to_scan=False)
            _check_jpeg(jpeg, data)
            return jpeg
        codestream = codestream_of(data)
        jpeg_2000 = read_jpeg_2000_header(codestream)
        _check_jpeg_2000(jpeg_2000)
        _check_tiles(jpeg_2000, codestream)
    except BrokenHeaderError as error:
        raise NotAcceptableError(_ENDS_EARLY if error.ends_early else _BROKEN) from error
    else:
        return jpeg_2000


def codestream_of(data: bytes) -> bytes:
    """A frame of JPEG 2000 without the boxes of a file, however these are damaged."""
    is_file = data.startswith(_START_OF_BOXES)
    at = data.find(START_OF_CODESTREAM, 0, _MAX_LENGTH_OF_BOXES) if is_file else 0
    return data[at:] if at > 0 else data


def _check_jpeg(header: JpegHeader, data: bytes) -> None:
    if header.process not in _SERVED_PROCESSES:
        raise NotAcceptableError("A compressed frame is of a process that is not decoded here.")
    if header.process == PROGRESSIVE and data.count(_START_OF_SCAN) > _MAX_SCANS:
        raise NotAcceptableError("A compressed frame has more scans than are decoded here.")


def _check_jpeg_2000(header: Jpeg2000Header) -> None:
    one_kind = header.components[:1] + _NOT_SUBSAMPLED
    if not header.tiles or header.components != one_kind * header.samples:
        raise NotAcceptableError("A compressed frame has components of different kinds.")
    if header.tiles > _MAX_TILES:
        raise NotAcceptableError("A compressed frame has more tiles than are decoded here.")
    _check_blocks(header, header.smallest_block)


def _check_tiles(header: Jpeg2000Header, codestream: bytes) -> None:
    for number, block in enumerate(smallest_blocks_of_tiles(codestream, header)):
        if number == _MAX_TILES:
            raise NotAcceptableError("A compressed frame has more tiles than are decoded here.")
        if block is not None:
            _check_blocks(header, block)


def _check_blocks(header: Jpeg2000Header, smallest: int) -> None:
    """Refuse blocks and precincts so small that keeping count of them exhausts memory."""
    if header.rows * header.columns * header.samples >> smallest > _MAX_BLOCKS:
        raise NotAcceptableError("A compressed frame has more blocks than are decoded here.")
