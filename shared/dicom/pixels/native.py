"""Values of native frames, to and from their bytes.

Standard: PS3.5 8.1 and Annex D, PS3.3 C.7.6.3.1 (2025b).
"""

import numpy as np

from shared.dicom.pixels.image import ImageDescription, Pixels
from shared.errors import NotAcceptableError

_SUBSAMPLED = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})
_UNSERVED = frozenset({"YBR_PARTIAL_420"})


def read_native(
    data: bytes, image: ImageDescription, *, is_little_endian: bool = True, bit_offset: int = 0
) -> Pixels:
    """The values of a native frame.

    `bit_offset` low-order bits of the first byte are of the frame before (1-bit images).

    Raises:
        NotAcceptableError: There are fewer bytes than the image has pixels.
    """
    if image.photometric in _UNSERVED:
        raise NotAcceptableError("Native pixel data of this photometric interpretation is unknown.")
    if image.bits_allocated == 1:
        return _read_bits(data, image, bit_offset)
    if image.is_in_words and not is_little_endian and image.bits_allocated == 8:  # noqa: PLR2004
        data = swap_bytes(data, 2)
    is_subsampled = image.photometric in _SUBSAMPLED
    count = image.rows * image.columns * (2 if is_subsampled else image.samples_per_pixel)
    dtype = image.dtype.newbyteorder("<" if is_little_endian else ">")
    if len(data) < count * dtype.itemsize:
        raise _too_short()
    values = np.frombuffer(data, dtype, count).astype(image.dtype, copy=False)
    values = _expand(values, image) if is_subsampled else _interleave(values, image)
    return keep_stored_bits(values, image)


def _read_bits(data: bytes, image: ImageDescription, bit_offset: int) -> Pixels:
    count = image.rows * image.columns * image.samples_per_pixel
    if len(data) * 8 < bit_offset + count:
        raise _too_short()
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=bit_offset + count, bitorder="little")
    return _interleave(bits[bit_offset:].view(image.dtype), image)


def _too_short() -> NotAcceptableError:
    return NotAcceptableError("The pixel data is shorter than the image that it should hold.")


def _interleave(values: Pixels, image: ImageDescription) -> Pixels:
    if image.is_color and image.is_planar:
        planes = values.reshape(image.samples_per_pixel, image.rows, image.columns)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))
    return values.reshape(image.shape)


def _expand(values: Pixels, image: ImageDescription) -> Pixels:
    """Give each pixel its own chrominance: it lies as Y Y Cb Cr for each two (C.7.6.3.1.2)."""
    if image.columns % 2 or image.samples_per_pixel != 3:  # noqa: PLR2004 - Y, Cb and Cr
        raise NotAcceptableError("Subsampled pixel data needs three samples and even columns.")
    pairs = values.reshape(-1, 4)
    expanded = np.empty((len(pairs), 2, 3), values.dtype)
    expanded[:, :, 0] = pairs[:, :2]
    expanded[:, :, 1] = pairs[:, 2:3]
    expanded[:, :, 2] = pairs[:, 3:4]
    return expanded.reshape(image.shape)


def keep_stored_bits(values: Pixels, image: ImageDescription) -> Pixels:
    """Drop the bits around the stored ones, which may hold anything, and extend the sign."""
    above = image.bits_allocated - image.high_bit - 1
    beside = image.bits_allocated - image.bits_stored
    if not beside or image.is_float:
        return values
    shifted: Pixels = np.right_shift(np.left_shift(values, above), beside)
    return shifted


def write_native(pixels: Pixels, image: ImageDescription) -> bytes:
    """A native frame, little endian, samples interleaved; single bits to the end of a byte."""
    if image.bits_allocated == 1:
        return np.packbits(pixels, axis=None, bitorder="little").tobytes()
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def swap_bytes(data: bytes, width: int) -> bytes:
    """Change the byte order of values of `width` bytes each."""
    return np.frombuffer(data, f"u{width}", len(data) // width).byteswap().tobytes()
