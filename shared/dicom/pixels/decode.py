"""One stored frame to its values.

Standard: PS3.5 8.2 and Annex A (2025b).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from zlib import MAX_WBITS, decompressobj
from zlib import error as zlib_error

import imagecodecs
import numpy as np

from shared.dicom.codestream import HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL
from shared.dicom.jpeg_2000_header import Jpeg2000Header
from shared.dicom.jpeg_header import JPEG_LS, LOSSLESS, JpegHeader
from shared.dicom.pixels.coded_frame import codestream_of, read_coded_frame
from shared.dicom.pixels.image import Frame, ImageDescription, Pixels, StoredFrame
from shared.dicom.pixels.native import keep_stored_bits, read_native
from shared.dicom.pixels.rle import read_rle
from shared.dicom.transfer_syntax import OCTET_STREAM, TransferSyntax, transfer_syntax
from shared.errors import NotAcceptableError

DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"

_RETURNED_AS_RGB = frozenset({"YBR_RCT", "YBR_ICT"})
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})
_LOSSLESS_HTJ2K = frozenset({HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL})
_END_OF_IMAGE = b"\xff\xd9"
_RGB_COMPONENTS = frozenset({b"RGB", b"rgb"})
# Decoders of JPEG 2000 hold each sample as so many bytes.
_JPEG_2000_WIDTH = 4
# Empty frames are as short; of 4096 x 4096 pixels in colours they are decoded nevertheless.
_MAX_RATIO = 4096
_ALWAYS_DECODED = 4096 * 4096 * 3 * _JPEG_2000_WIDTH
_COLOR_SPACES = {1: "GRAYSCALE", 3: "RGB", 4: "CMYK"}


def decode_frame(stored: StoredFrame, image: ImageDescription) -> Frame:
    """Decode one frame; DCT-coded YBR is given as RGB, as are the JPEG 2000 transforms of it.

    Raises:
        NotAcceptableError: The frame cannot be decoded, or is not what the image says.
    """
    known, data = transfer_syntax(stored.syntax), stored.content
    if not known.is_encapsulated:
        pixels = read_native(
            data, image, is_little_endian=known.is_little_endian, bit_offset=stored.bit_offset
        )
        is_subsampled = image.photometric == "YBR_FULL_422"
        return _frame(pixels, image, "YBR_FULL" if is_subsampled else image.photometric)
    if stored.syntax == DEFLATED_IMAGE_FRAME:
        return _frame(read_native(_inflate(data, image), image), image, image.photometric)
    if image.is_float or known.is_video:
        raise NotAcceptableError(f"Pixel data in {known.name} is not decoded here.")
    with codec_errors():
        if known.frame_media_type == "image/dicom-rle":
            return _frame(keep_stored_bits(read_rle(data, image), image), image, image.photometric)
        return _decode_coded(data, known, image)


@contextmanager
def codec_errors() -> Iterator[None]:
    """Give what a codec raises as an error of ours."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        raise NotAcceptableError("The pixel data is damaged, or of a kind unknown here.") from error


def _inflate(data: bytes, image: ImageDescription) -> bytes:
    """Inflate a frame, and no more than it may hold (PS3.5 A.4.12, 2025b)."""
    try:
        return decompressobj(-MAX_WBITS).decompress(data, image.frame_length)
    except zlib_error as error:
        raise NotAcceptableError("A deflated frame is damaged.") from error


def _frame(pixels: Pixels, image: ImageDescription, photometric: str) -> Frame:
    return Frame(pixels, image.decoded(photometric))


def _decode_coded(data: bytes, syntax: TransferSyntax, image: ImageDescription) -> Frame:
    if syntax.frame_media_type == OCTET_STREAM:
        raise NotAcceptableError("Pixel data in a private transfer syntax is not decoded here.")
    coded = read_coded_frame(data)
    _check(coded, image)
    _check_length(data, coded, image)
    if isinstance(coded, Jpeg2000Header):
        pixels = _decode_jpeg_2000(data, coded, syntax.uid)
        photometric = "RGB" if image.photometric in _RETURNED_AS_RGB else image.photometric
    elif coded.process == JPEG_LS:
        pixels, photometric = imagecodecs.jpegls_decode(_with_end(data)), image.photometric
    else:
        pixels, photometric = _decode_jpeg(data, coded, image)
    if pixels.shape != image.shape:
        pixels = pixels.reshape(image.shape)
    return _frame(_fit(pixels, coded, image), image, photometric)


def _decode_jpeg_2000(data: bytes, coded: Jpeg2000Header, syntax: str) -> Pixels:
    # OpenJPH is thrice as fast, but what a lossy frame has beyond white it gives as black.
    if not coded.is_high_throughput or syntax not in _LOSSLESS_HTJ2K:
        return imagecodecs.jpeg2k_decode(data)
    return imagecodecs.htj2k_decode(codestream_of(data), planar=False)


def _with_end(data: bytes) -> bytes:
    """A frame of JPEG-LS with its end of image: its decoder spends seconds past one without."""
    return data if data.rstrip(b"\0").endswith(_END_OF_IMAGE) else data + _END_OF_IMAGE


def _check(coded: JpegHeader | Jpeg2000Header, image: ImageDescription) -> None:
    held = (coded.rows, coded.columns, coded.samples)
    if held != (image.rows, image.columns, image.samples_per_pixel):
        raise NotAcceptableError("A compressed frame has another size than its image.")
    if coded.precision > max(8, image.bits_allocated):
        raise NotAcceptableError("A compressed frame has more bits than its image.")


def _check_length(data: bytes, coded: JpegHeader | Jpeg2000Header, image: ImageDescription) -> None:
    """Refuse a large frame of next to no bytes, which takes much memory to show nothing."""
    width = _JPEG_2000_WIDTH if isinstance(coded, Jpeg2000Header) else image.dtype.itemsize
    needed = image.rows * image.columns * image.samples_per_pixel * width
    if needed > max(_ALWAYS_DECODED, _MAX_RATIO * len(data)):
        raise NotAcceptableError("A compressed frame is too short for an image of its size.")


def _decode_jpeg(data: bytes, coded: JpegHeader, image: ImageDescription) -> tuple[Pixels, str]:
    plain = _COLOR_SPACES[coded.samples]
    if coded.process == LOSSLESS or not _is_ybr(coded, image):
        pixels = imagecodecs.jpeg8_decode(data, colorspace=plain, outcolorspace=plain)
        # The components of a frame named RGB are, whatever the image says.
        is_rgb = coded.process != LOSSLESS and coded.samples == 3  # noqa: PLR2004
        return pixels, "RGB" if is_rgb else image.photometric
    return imagecodecs.jpeg8_decode(data, colorspace="YCBCR", outcolorspace="RGB"), "RGB"


def _is_ybr(coded: JpegHeader, image: ImageDescription) -> bool:
    """Whether three components are luminance and chrominance; what the frame says goes first."""
    if coded.samples != 3 or coded.identifiers in _RGB_COMPONENTS:  # noqa: PLR2004
        return False
    if coded.adobe_transform is not None:
        return coded.adobe_transform != 0
    return coded.is_jfif or image.photometric in _YBR


def _fit(pixels: Pixels, coded: JpegHeader | Jpeg2000Header, image: ImageDescription) -> Pixels:
    """Give values the type that the image says, the sign being where a decoder may not know it."""
    is_signed = isinstance(coded, Jpeg2000Header) and coded.is_signed
    bits = image.bits_stored if is_signed else min(coded.precision, image.bits_stored)
    values: np.ndarray[Any, Any] = pixels.astype(image.dtype, copy=False)
    unused = image.dtype.itemsize * 8 - bits
    if unused > 0 and (image.is_signed or is_signed):
        values = np.right_shift(np.left_shift(values, unused), unused)
    return np.ascontiguousarray(values)
