"""The values of one frame to what a transfer syntax stores.

Standard: PS3.5 8.2 (2025b).
"""

from collections.abc import Buffer, Callable
from dataclasses import dataclass, replace
from math import ceil, log2

import imagecodecs
import numpy as np

from shared.dicom.codestream import (
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
)
from shared.dicom.pixels.color import to_rgb
from shared.dicom.pixels.decode import codec_errors
from shared.dicom.pixels.image import Frame, ImageDescription, Pixels
from shared.dicom.pixels.native import write_native
from shared.dicom.pixels.rle import write_rle
from shared.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from shared.errors import NotAcceptableError

RLE_LOSSLESS = "1.2.840.10008.1.2.5"
DEFAULT_QUALITY = 90

_COLORS = frozenset({"RGB", "YBR_FULL"})
_ONE_SAMPLE = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_GRAYSCALE = frozenset({"MONOCHROME1", "MONOCHROME2"})
_CODED_BITS = frozenset({8, 16})
_OCTET = 8
_SAMPLES = frozenset({1, 3})
# JPEG and JPEG-LS have no coding of single bits; codecs of JPEG 2000 fail at noise of so few.
_LEAST_PRECISION = 2
_LEAST_PRECISION_OF_JPEG_2000 = 4
# The smallest resolution of the RPCL options has at most this many rows and columns (PS3.5 8.2.14).
_SMALLEST_RESOLUTION = 64
_USUAL_LEVELS = 5
_HEADER_ROOM = 1024


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A frame as it is stored, and the description of the image that it then is of."""

    content: bytes
    image: ImageDescription


def encode_frame(frame: Frame, syntax: str, *, quality: int = DEFAULT_QUALITY) -> EncodedFrame:
    """Encode one frame; whatever is no target is refused. One of fewer bits is of whole bytes.

    `quality` from 1 to 100 is for JPEG baseline, the only target with loss.

    Raises:
        NotAcceptableError: The transfer syntax is no target, or has no room for such an image, or
            for values of it.
    """
    if syntax == EXPLICIT_VR_LITTLE_ENDIAN:
        return EncodedFrame(write_native(frame.pixels, frame.image), frame.image)
    if frame.image.is_float or frame.image.bits_allocated == 1:
        raise _no_room(syntax)
    with codec_errors():
        if syntax == RLE_LOSSLESS:
            image = replace(frame.image, is_planar=frame.image.is_color)
            return EncodedFrame(write_rle(frame.pixels), image)
        _check_values(frame, syntax)
        if syntax == JPEG_BASELINE:
            return _encode_baseline(frame, quality)
        encode = _ENCODERS.get(syntax)
        if encode is None:
            raise NotAcceptableError(
                f"This service does not encode {transfer_syntax(syntax).name}."
            )
        _check(frame.image, syntax)
        content = bytes(encode(frame))
    photometric = frame.image.photometric
    if photometric == "RGB" and syntax in _WITH_COLOR_TRANSFORM:
        photometric = "YBR_RCT"
    return EncodedFrame(content, replace(frame.image, photometric=photometric))


def _no_room(syntax: str) -> NotAcceptableError:
    name = transfer_syntax(syntax).name
    return NotAcceptableError(f"Such an image cannot be encoded in {name}.")


def _check_values(frame: Frame, syntax: str) -> None:
    """Refuse values above those of Bits Stored, which a compressed frame may hold all the same."""
    highest = (1 << frame.image.bits_stored - frame.image.is_signed) - 1
    # The codecs are told of Bits Stored: some cut such values off, and some make others of them.
    if highest < np.iinfo(frame.pixels.dtype).max and frame.pixels.max() > highest:
        raise _no_room(syntax)


def _check(image: ImageDescription, syntax: str) -> None:
    photometrics = _COLORS if image.is_color else _ONE_SAMPLE
    if image.bits_allocated not in _CODED_BITS or image.photometric not in photometrics:
        raise _no_room(syntax)


def _encode_baseline(frame: Frame, quality: int) -> EncodedFrame:
    rgb = to_rgb(frame)
    image = rgb.image
    is_served = image.photometric in (_COLORS if image.is_color else _GRAYSCALE)
    if (
        image.is_signed
        or image.bits_stored != _OCTET
        or not is_served
        or image.samples_per_pixel not in _SAMPLES
    ):
        raise _no_room(JPEG_BASELINE)
    if not image.is_color:
        return EncodedFrame(bytes(imagecodecs.jpeg8_encode(rgb.pixels, quality)), image)
    if frame.image.photometric == "RGB":
        # A frame may be sent without its data set, to a client that has the stored one's metadata.
        content = imagecodecs.jpeg8_encode(
            rgb.pixels, quality, colorspace="RGB", outcolorspace="RGB"
        )
        return EncodedFrame(bytes(content), image)
    content = imagecodecs.jpeg8_encode(
        rgb.pixels, quality, colorspace="RGB", outcolorspace="YCBCR", subsampling="422"
    )
    return EncodedFrame(bytes(content), replace(image, photometric="YBR_FULL_422"))


def _narrow(frame: Frame) -> Pixels:
    """Values in the smallest type that holds those of Bits Stored, as the codecs want them."""
    if frame.image.bits_stored > _OCTET:
        return frame.pixels
    narrowed: Pixels = frame.pixels.astype(f"{frame.pixels.dtype.kind}1", copy=False)
    return narrowed


def _as_stored(frame: Frame) -> Pixels:
    """Values as the unsigned numbers whose bits they are, for codecs that know no sign."""
    pixels = _narrow(frame)
    if not frame.image.is_signed:
        return pixels
    unsigned = pixels.view(f"u{pixels.itemsize}")
    stored: Pixels = unsigned & unsigned.dtype.type((1 << frame.image.bits_stored) - 1)
    return stored


def _precision(image: ImageDescription, least: int = _LEAST_PRECISION) -> int:
    return max(least, image.bits_stored)


def _encode_jpeg_lossless(frame: Frame) -> Buffer:
    color_space = "RGB" if frame.image.is_color else "GRAYSCALE"
    return imagecodecs.jpeg8_encode(
        _as_stored(frame),
        colorspace=color_space,
        outcolorspace=color_space,
        lossless=True,
        predictor=1,
        bitspersample=_precision(frame.image),
    )


def _encode_jpeg_ls(frame: Frame) -> Buffer:
    pixels = _as_stored(frame)
    # Noise grows a little; the room that the codec would make by itself is none for that.
    room = 2 * pixels.nbytes + _HEADER_ROOM
    return imagecodecs.jpegls_encode(pixels, bitspersample=_precision(frame.image), out=room)


def _encode_jpeg_2000(frame: Frame) -> Buffer:
    return imagecodecs.jpeg2k_encode(
        _narrow(frame),
        level=0,
        codecformat="J2K",
        reversible=True,
        mct=frame.image.photometric == "RGB",
        bitspersample=_precision(frame.image, _LEAST_PRECISION_OF_JPEG_2000),
    )


def _encode_htj2k(frame: Frame) -> Buffer:
    shortest, longest = sorted((frame.image.rows, frame.image.columns))
    # The encoder leaves too few bits for the wavelets of a single line, and would lose some.
    levels = max(_USUAL_LEVELS, ceil(log2(longest / _SMALLEST_RESOLUTION))) if shortest > 1 else 0
    return imagecodecs.htj2k_encode(
        _narrow(frame),
        rgb=frame.image.photometric == "RGB",
        reversible=True,
        bitspersample=_precision(frame.image, _LEAST_PRECISION_OF_JPEG_2000),
        resolutions=levels,
        prog_order="RPCL",
        tlm=True,
        tilepart="RESOLUTIONS",
    )


_ENCODERS: dict[str, Callable[[Frame], Buffer]] = {
    JPEG_LOSSLESS_SV1: _encode_jpeg_lossless,
    JPEG_LS_LOSSLESS: _encode_jpeg_ls,
    JPEG_2000_LOSSLESS: _encode_jpeg_2000,
    HTJ2K_LOSSLESS: _encode_htj2k,
    HTJ2K_LOSSLESS_RPCL: _encode_htj2k,
}
_WITH_COLOR_TRANSFORM = frozenset({JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL})

TARGETS = frozenset({EXPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS, JPEG_BASELINE, *_ENCODERS})
"""The transfer syntaxes that images can be transcoded to, where they have room for them."""
