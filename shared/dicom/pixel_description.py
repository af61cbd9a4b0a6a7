"""The description of an image, from its compressed frames where the data set leaves it out.

Standard: PS3.18 10.5.2, PS3.3 C.7.6.3.1 and C.7.6.1.1.5 (2025b).
"""

from collections.abc import Sequence

from shared.dicom.codestream import Codestream
from shared.dicom.dictionary import PIXEL_REPRESENTATION
from shared.dicom.frames import (
    BITS_ALLOCATED,
    COLUMNS,
    NUMBER_OF_FRAMES,
    PHOTOMETRIC,
    ROWS,
    SAMPLES_PER_PIXEL,
    number_of_frames,
)
from shared.dicom.json_reading import refused
from shared.dicom.value_representation import Document, Element
from shared.errors import InvalidInstanceError

PLANAR_CONFIGURATION, BITS_STORED, HIGH_BIT = "00280006", "00280101", "00280102"
LOSSY, LOSSY_RATIO, LOSSY_METHOD = "00282110", "00282112", "00282114"

_MAX_DIMENSION = 0xFFFF
_SAMPLES = {1: ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 3: ("RGB", "HSV")}
_COLOR_PREFIX = "YBR_"
_BYTE, _WORD = 8, 16
_METHODS = {
    "image/jpeg": "ISO_10918_1",
    "image/jls": "ISO_14495_1",
    "image/jp2": "ISO_15444_1",
    "image/jpx": "ISO_15444_2",
    "image/jphc": "ISO_15444_15",
}


def described(document: Document, frames: Sequence[Codestream], media_type: str) -> Document:
    """The data set with what it does not say of its image added from the frames.

    Raises:
        InvalidInstanceError: It says something else than the frames, or they differ.
    """
    first = frames[0]
    if any(_shape(frame) != _shape(first) for frame in frames):
        raise InvalidInstanceError("The frames of the pixel data differ in size or coding.")
    if first.samples not in _SAMPLES or first.precision > _WORD:
        raise InvalidInstanceError("The pixel data has other samples than an image of DICOM.")
    if max(first.rows, first.columns) > _MAX_DIMENSION:
        raise InvalidInstanceError("The pixel data has more rows or columns than can be told.")
    _check(document, first)
    missing = _description(document, first) | _compression(document, frames, media_type)
    added = {
        tag: element for tag, element in missing.items() if not document.get(tag, {}).get("Value")
    }
    return dict(sorted((document | added).items()))


def counted(document: Document, frames: int) -> Document:
    """The data set with its number of frames, where it has several and does not say so.

    Raises:
        InvalidInstanceError: It declares another number.
    """
    if frames > 1 and NUMBER_OF_FRAMES not in document:
        return document | {NUMBER_OF_FRAMES: _valued("IS", frames)}
    if number_of_frames(document) != frames:
        raise refused(NUMBER_OF_FRAMES, "is not the number of frames that are given")
    return document


def _shape(frame: Codestream) -> tuple[object, ...]:
    return (
        frame.rows,
        frame.columns,
        frame.samples,
        frame.precision,
        frame.is_signed,
        frame.transfer_syntax_uids,
    )


def _valued(vr: str, value: object) -> Element:
    return {"vr": vr, "Value": [value]}


def _value(document: Document, tag: str) -> object:
    return document.get(tag, {}).get("Value", [None])[0]


def _check(document: Document, frame: Codestream) -> None:
    for tag, actual in (
        (ROWS, frame.rows),
        (COLUMNS, frame.columns),
        (SAMPLES_PER_PIXEL, frame.samples),
    ):
        if _value(document, tag) not in (None, actual):
            raise refused(tag, "is not what the pixel data says")
    allocated = _value(document, BITS_ALLOCATED)
    if isinstance(allocated, int) and allocated < frame.precision:
        raise refused(BITS_ALLOCATED, "is less than the pixel data needs")
    photometric = _value(document, PHOTOMETRIC)
    if photometric is not None:
        is_color = photometric in _SAMPLES[3] or str(photometric).startswith(_COLOR_PREFIX)
        if is_color != (frame.samples == 3):  # noqa: PLR2004
            raise refused(PHOTOMETRIC, "is not what the pixel data says")


def _description(document: Document, frame: Codestream) -> Document:
    allocated = _BYTE if frame.precision <= _BYTE else _WORD
    stored = _value(document, BITS_STORED)
    high = stored - 1 if isinstance(stored, int) and stored else frame.precision - 1
    description = {
        SAMPLES_PER_PIXEL: _valued("US", frame.samples),
        PHOTOMETRIC: _valued("CS", frame.photometric_interpretation),
        ROWS: _valued("US", frame.rows),
        COLUMNS: _valued("US", frame.columns),
        BITS_ALLOCATED: _valued("US", allocated),
        BITS_STORED: _valued("US", frame.precision),
        HIGH_BIT: _valued("US", high),
        PIXEL_REPRESENTATION: _valued("US", int(frame.is_signed)),
    }
    if frame.samples > 1:
        description[PLANAR_CONFIGURATION] = _valued("US", 0)
    return description


def _compression(document: Document, frames: Sequence[Codestream], media_type: str) -> Document:
    """What has to be said of an image that a lossy coding has changed for good."""
    if not any(frame.is_lossy for frame in frames):
        return {}
    told = _value(document, LOSSY)
    if told == "01":
        return {}
    if told is not None:
        raise refused(LOSSY, "denies that the pixel data is coded with loss")
    first = frames[0]
    bits = (
        first.rows * first.columns * first.samples * (_BYTE if first.precision <= _BYTE else _WORD)
    )
    ratio = bits * len(frames) / (8 * sum(len(frame.content) for frame in frames))
    return {
        LOSSY: _valued("CS", "01"),
        LOSSY_RATIO: _valued("DS", round(ratio, 2)),
        LOSSY_METHOD: _valued("CS", _METHODS[media_type]),
    }
