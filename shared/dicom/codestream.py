"""What a compressed frame says of itself: the headers of JPEG, JPEG-LS and JPEG 2000.

Only headers are read, never pixels.

Standard: PS3.5 8.2 (2025b); ITU-T T.81 B.2, T.87 C.2, T.800 A.5 and A.6, T.814 A.2, T.800 I.5.3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812
from struct import unpack_from

from shared.errors import InvalidInstanceError

type Chunk = bytes | memoryview

JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS, JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
JPEG_2000_PART_2_LOSSLESS, JPEG_2000_PART_2 = "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"
HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"

_START_OF_IMAGE, _START_OF_SCAN, _APP14 = 0xD8, 0xDA, 0xEE
_BASELINE, _EXTENDED, _LOSSLESS, _JPEG_LS = 0xC0, 0xC1, 0xC3, 0xF7
_NO_FRAMES = frozenset({0xC4, 0xC8, 0xCC})
_FRAMES = frozenset(range(0xC0, 0xD0)) - _NO_FRAMES | {_JPEG_LS}
_J2K_START = b"\xff\x4f\xff\x51"
_SIZ, _COD, _CAP, _TLM, _SOT = 0xFF51, 0xFF52, 0xFF50, 0xFF55, 0xFF90
_HIGH_THROUGHPUT = 1 << 17
_RPCL = 2
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
# Real headers have some ten of them, or some hundred with a colour profile.
_MAX_SEGMENTS, _MAX_FILL_BYTES, _MAX_BOXES = 1000, 1000, 1000
_COLOR = 3
_BROKEN = "The compressed pixel data is not what its media type says."


@dataclass(frozen=True, slots=True)
class Codestream:
    """A compressed frame.

    Attributes:
        content: The bytes that are encapsulated: without the boxes of a JP2 file.
        precision: Bits of a sample.
        transfer_syntax_uids: Those that such a frame may be stored in; the first is meant when
            nothing is said.
        is_lossy: Whether the coding itself loses something.
    """

    content: Chunk
    rows: int
    columns: int
    samples: int
    precision: int
    is_signed: bool
    photometric_interpretation: str
    transfer_syntax_uids: tuple[str, ...]
    is_lossy: bool


def read_codestream(content: Chunk, media_type: str) -> Codestream:
    """Read the headers of a frame of image/jpeg, image/jls, image/jp2, image/jpx or image/jphc.

    Raises:
        InvalidInstanceError: It is none of this media type, or in no coding that DICOM has.
    """
    try:
        if media_type in ("image/jpeg", "image/jls"):
            return _jpeg(content, media_type)
        return _jpeg_2000(content, media_type)
    except (StructError, IndexError) as error:
        raise InvalidInstanceError("The compressed pixel data ends in its header.") from error


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame header of JPEG or JPEG-LS; `identifiers` and `samplings` are of its components."""

    process: int
    precision: int
    rows: int
    columns: int
    identifiers: bytes
    samplings: bytes


def _segments(content: Chunk) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG header: marker, and where its parameters begin and end."""
    if bytes(content[:2]) != b"\xff\xd8":
        raise InvalidInstanceError(_BROKEN)
    at = 2
    for _ in range(_MAX_SEGMENTS):
        # Any number of FF may stand before a marker (T.81 B.1.1.2).
        if content[at] != 0xFF:  # noqa: PLR2004
            raise InvalidInstanceError(_BROKEN)
        start = bytes(content[at : at + _MAX_FILL_BYTES])
        at += len(start) - len(start.lstrip(b"\xff"))
        (length,) = unpack_from(">H", content, at + 1)
        yield content[at], at + 3, at + 1 + length
        # No segment is shorter than its length field.
        at += 1 + max(length, 2)


def _jpeg(content: Chunk, media_type: str) -> Codestream:
    frame: _Frame | None = None
    transform: int | None = None
    for marker, start, end in _segments(content):
        if marker in _FRAMES:
            frame = _frame_header(content, marker, start)
        elif (
            marker == _APP14 and bytes(content[start : start + 5]) == b"Adobe" and end > start + 11
        ):
            transform = content[start + 11]
        elif marker == _START_OF_SCAN:
            # After the components: the predictor of lossless JPEG, the error bound of JPEG-LS.
            parameter = content[start + 1 + 2 * content[start]]
            break
    else:
        raise InvalidInstanceError(_BROKEN)
    if frame is None or (frame.process == _JPEG_LS) != (media_type == "image/jls"):
        raise InvalidInstanceError(_BROKEN)
    if not frame.rows or not frame.columns:
        raise InvalidInstanceError("The compressed pixel data does not say how large it is.")
    syntaxes, is_lossy = _jpeg_syntaxes(frame.process, parameter)
    return Codestream(
        content=content,
        rows=frame.rows,
        columns=frame.columns,
        samples=len(frame.identifiers),
        precision=frame.precision,
        is_signed=False,
        photometric_interpretation=_jpeg_photometric(frame, transform),
        transfer_syntax_uids=syntaxes,
        is_lossy=is_lossy,
    )


def _frame_header(content: Chunk, marker: int, start: int) -> _Frame:
    precision, rows, columns, count = unpack_from(">BHHB", content, start)
    components = bytes(content[start + 6 : start + 6 + 3 * count])
    if len(components) != 3 * count or not count:
        raise InvalidInstanceError(_BROKEN)
    return _Frame(marker, precision, rows, columns, components[::3], components[1::3])


def _jpeg_syntaxes(process: int, parameter: int) -> tuple[tuple[str, ...], bool]:
    """The transfer syntaxes of a process of JPEG, and whether it is lossy."""
    if process == _BASELINE:
        return (JPEG_BASELINE, JPEG_EXTENDED), True
    if process == _EXTENDED:
        return (JPEG_EXTENDED,), True
    if process == _LOSSLESS:
        is_first_order = parameter == 1
        return (JPEG_LOSSLESS_SV1, JPEG_LOSSLESS) if is_first_order else (JPEG_LOSSLESS,), False
    if process == _JPEG_LS:
        is_exact = parameter == 0
        near = (JPEG_LS_NEAR_LOSSLESS,)
        return (JPEG_LS_LOSSLESS, *near) if is_exact else near, not is_exact
    raise InvalidInstanceError(
        "Progressive, hierarchical and arithmetic JPEG have no transfer syntax that is not retired."
    )


def _jpeg_photometric(frame: _Frame, transform: int | None) -> str:
    if len(frame.identifiers) != _COLOR:
        return "MONOCHROME2"
    is_lossy = frame.process in (_BASELINE, _EXTENDED)
    if transform == 0 or (transform is None and (not is_lossy or frame.identifiers == b"RGB")):
        return "RGB"
    first, *others = frame.samplings
    return "YBR_FULL" if all(one == first for one in others) else "YBR_FULL_422"


def _jpeg_2000(content: Chunk, media_type: str) -> Codestream:
    content = _without_boxes(content)
    if bytes(content[:4]) != _J2K_START:
        raise InvalidInstanceError(_BROKEN)
    width, height, x_offset, y_offset = unpack_from(">4I", content, 8)
    samples, depth = unpack_from(">HB", content, 40)
    header = _coding(content)
    if header.is_high_throughput != (media_type == "image/jphc"):
        raise InvalidInstanceError(_BROKEN)
    rows, columns = height - y_offset, width - x_offset
    if rows <= 0 or columns <= 0:
        raise InvalidInstanceError("The compressed pixel data does not say how large it is.")
    photometric = "MONOCHROME2"
    if samples == _COLOR:
        photometric = "RGB"
        if header.has_color_transform:
            photometric = "YBR_RCT" if header.is_reversible else "YBR_ICT"
    return Codestream(
        content=content,
        rows=rows,
        columns=columns,
        samples=samples,
        precision=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
        photometric_interpretation=photometric,
        transfer_syntax_uids=_jpeg_2000_syntaxes(header, media_type),
        is_lossy=not header.is_reversible,
    )


@dataclass(frozen=True, slots=True)
class _Coding:
    """What the main header of JPEG 2000 says of how the frame is coded.

    `is_progressive` means in the order that HTJ2K's RPCL syntax demands, tile lengths included.
    """

    is_reversible: bool
    has_color_transform: bool
    is_high_throughput: bool
    is_progressive: bool


def _coding(content: Chunk) -> _Coding:
    positions: dict[int, int] = {}
    at = 2
    for _ in range(_MAX_SEGMENTS):
        marker, length = unpack_from(">HH", content, at)
        if marker == _SOT or marker < 0xFF00 or length < 2:  # noqa: PLR2004
            break
        positions[marker] = at + 4
        at += 2 + length
    if _COD not in positions or marker != _SOT:
        raise InvalidInstanceError(_BROKEN)
    start = positions[_COD]
    progression, _, transform = unpack_from(">BHB", content, start + 1)
    capabilities = unpack_from(">I", content, positions[_CAP])[0] if _CAP in positions else 0
    return _Coding(
        is_reversible=content[start + 9] == 1,
        has_color_transform=transform == 1,
        is_high_throughput=bool(capabilities & _HIGH_THROUGHPUT),
        is_progressive=progression == _RPCL and _TLM in positions,
    )


def _jpeg_2000_syntaxes(coding: _Coding, media_type: str) -> tuple[str, ...]:
    match media_type:
        case "image/jphc":
            lossless: tuple[str, ...] = (HTJ2K_LOSSLESS,)
            if coding.is_progressive:
                lossless = (HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL)
            lossy = HTJ2K
        case "image/jpx":
            lossless, lossy = (JPEG_2000_PART_2_LOSSLESS,), JPEG_2000_PART_2
        case _:
            lossless, lossy = (JPEG_2000_LOSSLESS,), JPEG_2000
    return (*lossless, lossy) if coding.is_reversible else (lossy,)


def _without_boxes(content: Chunk) -> Chunk:
    """The codestream in a JP2 file, which DICOM does not take as it is (PS3.5 A.4.4, 2025b)."""
    if bytes(content[:12]) != _JP2_SIGNATURE:
        return content
    at = 0
    for _ in range(_MAX_BOXES):
        length, kind = unpack_from(">I4s", content, at)
        start = at + 8
        if length == 1:
            (length,) = unpack_from(">Q", content, start)
            start += 8
        end = at + length if length else len(content)
        if kind == b"jp2c":
            return memoryview(content)[start:end]
        if end < start:
            break
        at = end
    raise InvalidInstanceError(_BROKEN)
