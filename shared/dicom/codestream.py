"""What a compressed frame is in DICOM: the transfer syntaxes it fits and the image in it.

Standard: PS3.5 8.2 and A.4 (2025b); ITU-T T.800 I.5.3.
"""

from dataclasses import dataclass
from struct import error as StructError  # noqa: N812
from struct import unpack_from

from shared.dicom.jpeg_2000_header import Jpeg2000Header, read_jpeg_2000_header
from shared.dicom.jpeg_header import (
    BASELINE,
    EXTENDED,
    JPEG_LS,
    LOSSLESS,
    BrokenHeaderError,
    Chunk,
    JpegHeader,
    read_jpeg_header,
)
from shared.errors import InvalidInstanceError

JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS, JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
JPEG_2000_PART_2_LOSSLESS, JPEG_2000_PART_2 = "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"
HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"

_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_MAX_BOXES = 1000
_COLOR = 3
_ENDS_EARLY = "The compressed pixel data ends in its header."
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
    read = _jpeg if media_type in ("image/jpeg", "image/jls") else _jpeg_2000
    try:
        frame = read(content, media_type)
    except BrokenHeaderError as error:
        raise InvalidInstanceError(_ENDS_EARLY if error.ends_early else _BROKEN) from error
    if frame.rows <= 0 or frame.columns <= 0:
        raise InvalidInstanceError("The compressed pixel data does not say how large it is.")
    return frame


def _jpeg(content: Chunk, media_type: str) -> Codestream:
    header = read_jpeg_header(content, to_scan=True)
    if header.scan_parameter is None or (header.process == JPEG_LS) != (media_type == "image/jls"):
        raise BrokenHeaderError
    syntaxes, is_lossy = _jpeg_syntaxes(header.process, header.scan_parameter)
    return Codestream(
        content=content,
        rows=header.rows,
        columns=header.columns,
        samples=header.samples,
        precision=header.precision,
        is_signed=False,
        photometric_interpretation=_jpeg_photometric(header),
        transfer_syntax_uids=syntaxes,
        is_lossy=is_lossy,
    )


def _jpeg_syntaxes(process: int, parameter: int) -> tuple[tuple[str, ...], bool]:
    """The transfer syntaxes of a process of JPEG, and whether it is lossy."""
    if process == BASELINE:
        return (JPEG_BASELINE, JPEG_EXTENDED), True
    if process == EXTENDED:
        return (JPEG_EXTENDED,), True
    if process == LOSSLESS:
        is_first_order = parameter == 1
        return (JPEG_LOSSLESS_SV1, JPEG_LOSSLESS) if is_first_order else (JPEG_LOSSLESS,), False
    if process == JPEG_LS:
        is_exact = parameter == 0
        near = (JPEG_LS_NEAR_LOSSLESS,)
        return (JPEG_LS_LOSSLESS, *near) if is_exact else near, not is_exact
    raise InvalidInstanceError(
        "Progressive, hierarchical and arithmetic JPEG have no transfer syntax that is not retired."
    )


def _jpeg_photometric(header: JpegHeader) -> str:
    if header.samples != _COLOR:
        return "MONOCHROME2"
    is_lossy, transform = header.process in (BASELINE, EXTENDED), header.adobe_transform
    if transform == 0 or (transform is None and (not is_lossy or header.identifiers == b"RGB")):
        return "RGB"
    first, *others = header.samplings
    return "YBR_FULL" if all(one == first for one in others) else "YBR_FULL_422"


def _jpeg_2000(content: Chunk, media_type: str) -> Codestream:
    content = _without_boxes(content)
    header = read_jpeg_2000_header(content)
    if header.is_high_throughput != (media_type == "image/jphc"):
        raise BrokenHeaderError
    photometric = "MONOCHROME2"
    if header.samples == _COLOR:
        photometric = "RGB"
        if header.has_color_transform:
            photometric = "YBR_RCT" if header.is_reversible else "YBR_ICT"
    return Codestream(
        content=content,
        rows=header.rows,
        columns=header.columns,
        samples=header.samples,
        precision=header.precision,
        is_signed=header.is_signed,
        photometric_interpretation=photometric,
        transfer_syntax_uids=_jpeg_2000_syntaxes(header, media_type),
        is_lossy=not header.is_reversible,
    )


def _jpeg_2000_syntaxes(header: Jpeg2000Header, media_type: str) -> tuple[str, ...]:
    match media_type:
        case "image/jphc":
            lossless: tuple[str, ...] = (HTJ2K_LOSSLESS,)
            if header.is_progressive:
                lossless = (HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL)
            lossy = HTJ2K
        case "image/jpx":
            lossless, lossy = (JPEG_2000_PART_2_LOSSLESS,), JPEG_2000_PART_2
        case _:
            lossless, lossy = (JPEG_2000_LOSSLESS,), JPEG_2000
    return (*lossless, lossy) if header.is_reversible else (lossy,)


def _without_boxes(content: Chunk) -> Chunk:
    """The codestream in a JP2 file, which DICOM does not take as it is (PS3.5 A.4.4, 2025b)."""
    if bytes(content[:12]) != _JP2_SIGNATURE:
        return content
    try:
        return _box_of_codestream(content)
    except StructError as error:
        raise BrokenHeaderError(ends_early=True) from error


def _box_of_codestream(content: Chunk) -> Chunk:
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
    raise BrokenHeaderError
