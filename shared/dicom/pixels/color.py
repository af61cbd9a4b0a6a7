"""Luminance and chrominance to red, green and blue.

Standard: PS3.3 C.7.6.3.1.2 (2025b).
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from shared.dicom.pixels.image import Frame, Pixels

_FULL_RANGE = frozenset({"YBR_FULL", "YBR_FULL_422"})
_PARTIAL_RANGE = frozenset({"YBR_PARTIAL_422", "YBR_PARTIAL_420"})
_OCTET = 8
_FULL_RANGE_MATRIX = np.array(
    [[1.0, 0.0, 1.402], [1.0, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587], [1.0, 1.772, 0.0]]
)
# Luminance from 16 to 235, chrominance from 16 to 240 of 255.
_PARTIAL_SCALE = np.array([255 / 219, 255 / 224, 255 / 224])


def to_rgb(frame: Frame) -> Frame:
    """Give a frame in a YBR colour space in RGB; any other as it is."""
    image = frame.image
    if image.photometric not in _FULL_RANGE | _PARTIAL_RANGE:
        return frame
    if image.photometric in _FULL_RANGE and image.bits_stored == _OCTET == image.bits_allocated:
        pixels: Pixels = np.asarray(Image.fromarray(frame.pixels, "YCbCr").convert("RGB"))
    else:
        pixels = _multiply(frame)
    return Frame(pixels, replace(image, photometric="RGB"))


def _multiply(frame: Frame) -> Pixels:
    bits = frame.image.bits_stored
    values = frame.pixels.astype(np.float32)
    middle = 1 << (bits - 1)
    if frame.image.photometric in _PARTIAL_RANGE:
        values = (values - [middle >> 3, middle, middle]) * _PARTIAL_SCALE
    else:
        values -= [0, middle, middle]
    rgb = np.rint(values @ _FULL_RANGE_MATRIX.T)
    clipped: Pixels = np.clip(rgb, 0, (1 << bits) - 1).astype(frame.pixels.dtype)
    return clipped
