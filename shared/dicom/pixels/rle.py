"""The RLE of DICOM: each byte of a value in a segment of its own, most significant first.

Standard: PS3.5 Annex G (2025b).
"""

from itertools import pairwise
from struct import Struct

import imagecodecs
import numpy as np

from shared.dicom.pixels.image import ImageDescription, Pixels
from shared.errors import NotAcceptableError

_HEADER = Struct("<16I")
_MAX_SEGMENTS = 15
# Two bytes stand for 128 at most.
_MAX_RATIO = 64
_PADDING = 128


def read_rle(data: bytes, image: ImageDescription) -> Pixels:
    """The values of a frame in RLE.

    Raises:
        NotAcceptableError: The segments are not those of such an image.
        RuntimeError: The codec fails.
    """
    if image.bits_allocated == 1:
        return _read_bits(data, image)
    width = image.dtype.itemsize
    segments = _segments(data, width * image.samples_per_pixel)
    size = image.rows * image.columns
    # Most significant byte first, as the segments are.
    planes = np.empty((image.samples_per_pixel, width, size), np.uint8)
    for number, segment in enumerate(segments):
        planes[divmod(number, width)] = _decode(segment, size)
    values = planes.transpose(2, 0, 1).copy().view(image.dtype.newbyteorder(">"))
    return values.astype(image.dtype, copy=False).reshape(image.shape)


def _read_bits(data: bytes, image: ImageDescription) -> Pixels:
    """One segment of the bits that the frame would have were it native, from a whole byte on."""
    (segment,) = _segments(data, 1)
    count = image.rows * image.columns * image.samples_per_pixel
    octets = _decode(segment, (count + 7) // 8)
    bits = np.unpackbits(octets, count=count, bitorder="little")
    return bits.view(image.dtype).reshape(image.shape)


def _segments(data: bytes, expected: int) -> list[memoryview]:
    if len(data) < _HEADER.size:
        raise NotAcceptableError("A frame in RLE ends within its header.")
    count, *offsets = _HEADER.unpack_from(data)
    bounds = [*offsets[:expected], len(data)]
    if count != expected or any(a > b for a, b in pairwise(bounds)) or bounds[0] < _HEADER.size:
        raise NotAcceptableError("A frame in RLE has other segments than its image needs.")
    view = memoryview(data)
    return [view[start:end] for start, end in pairwise(bounds)]


def _decode(segment: memoryview, size: int) -> Pixels:
    if len(segment) * _MAX_RATIO < size:
        raise NotAcceptableError("A frame in RLE is shorter than its image.")
    # What is written is bounded; a segment may be padded, never short.
    plane = np.frombuffer(imagecodecs.packbits_decode(segment, out=size + _PADDING), np.uint8)
    if len(plane) < size:
        raise NotAcceptableError("A frame in RLE is shorter than its image.")
    return plane[:size]


def write_rle(pixels: Pixels) -> bytes:
    """A frame in RLE, each row encoded by itself.

    Raises:
        NotAcceptableError: A pixel has more bytes than there may be segments.
    """
    rows, columns = pixels.shape[:2]
    width = pixels.dtype.itemsize
    octets = pixels.astype(pixels.dtype.newbyteorder(">"), copy=False)
    by_pixel = np.ascontiguousarray(octets).view(np.uint8).reshape(rows * columns, -1)
    planes = by_pixel.T.copy().reshape(-1, rows, columns)
    count = len(planes)
    if count > _MAX_SEGMENTS:
        raise NotAcceptableError(f"RLE has no room for pixels of {width * 8}-bit samples.")
    segments = [imagecodecs.packbits_encode(plane, axis=-1) for plane in planes]
    padded = [bytes(segment) + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = [_HEADER.size + sum(map(len, padded[:number])) for number in range(count)]
    header = _HEADER.pack(count, *offsets, *[0] * (_MAX_SEGMENTS - count))
    return header + b"".join(padded)
