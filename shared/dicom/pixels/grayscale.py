"""Stored values to shades of grey: of the modality, of values of interest, of the display.

Standard: PS3.4 N.2, PS3.3 C.11.1 and C.11.2, C.7.6.16.2.9 and C.7.6.16.2.10 (2025b).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from shared.dicom.pixels.frame_attributes import attributes_of_frame, decimal, decimals
from shared.dicom.pixels.image import Frame, Pixels
from shared.dicom.pixels.lookup_table import LookupTable
from shared.dicom.pixels.window import VoiFunction, Window

type Transform = Callable[[NDArray[Any]], NDArray[Any]]

_WHITE = 255
_MAX_TABLE_BITS = 16


def render_grayscale(
    frame: Frame, dataset: Dataset, index: int, window: Window | None = None
) -> NDArray[np.uint8]:
    """The shades of grey of one frame, the one at `index` from 0.

    Shown is the `window` asked for, or else the first VOI LUT, or else the first window, or else
    the whole range of the frame from its lowest to its highest value, padding left out.
    """
    modality = _modality(dataset, index)
    voi = _asked_or_stored(dataset, index, window)
    is_inverse = frame.image.photometric == "MONOCHROME1"
    pixels = frame.pixels
    if frame.image.is_float or frame.image.bits_allocated > _MAX_TABLE_BITS:
        values = modality(pixels)
        return _shades((voi or _whole_range(values, frame, dataset))(values), is_inverse=is_inverse)
    # All that may be stored is rendered once, then looked up.
    unsigned = np.dtype(f"u{pixels.itemsize}")
    every = np.arange(1 << 8 * pixels.itemsize).astype(unsigned).view(pixels.dtype)
    values = modality(every)
    index_of = pixels.view(unsigned)
    shown = voi or _whole_range(values[index_of], frame, dataset)
    rendered: NDArray[np.uint8] = _shades(shown(values), is_inverse=is_inverse)[index_of]
    return rendered


def _shades(shown: NDArray[Any], *, is_inverse: bool) -> NDArray[np.uint8]:
    shades = np.floor(shown * _WHITE + 0.5).astype(np.uint8)
    return _WHITE - shades if is_inverse else shades


def _modality(dataset: Dataset, index: int) -> Transform:
    tables = dataset.get("ModalityLUTSequence")
    if tables:
        return LookupTable.of(tables[0]).apply
    attributes = attributes_of_frame(dataset, index, "PixelValueTransformationSequence")
    slope = decimal(attributes, "RescaleSlope", 1.0)
    intercept = decimal(attributes, "RescaleIntercept", 0.0)
    return lambda values: values.astype(np.float64) * slope + intercept


def _asked_or_stored(dataset: Dataset, index: int, window: Window | None) -> Transform | None:
    if window is not None:
        return window.apply
    attributes = attributes_of_frame(dataset, index, "FrameVOILUTSequence")
    tables = attributes.get("VOILUTSequence")
    if tables:
        table = LookupTable.of(tables[0])
        highest = (1 << table.bits) - 1
        return lambda values: np.minimum(table.apply(values) / highest, 1.0)
    stored = stored_windows(attributes)
    return stored[0].apply if stored else None


def stored_windows(attributes: Dataset) -> list[Window]:
    """The windows that a data set offers; those that are impossible are left out."""
    name = str(attributes.get("VOILUTFunction") or VoiFunction.LINEAR).strip().upper()
    function = VoiFunction(name) if name in VoiFunction else VoiFunction.LINEAR
    centers, widths = decimals(attributes, "WindowCenter"), decimals(attributes, "WindowWidth")
    windows = [
        Window(center, width, function) for center, width in zip(centers, widths, strict=False)
    ]
    return [window for window in windows if window.is_possible]


def _whole_range(values: NDArray[Any], frame: Frame, dataset: Dataset) -> Transform:
    if frame.image.bits_stored == 1:
        return lambda shown: np.clip(shown, 0.0, 1.0)
    is_shown = np.isfinite(values) & ~_is_padding(frame.pixels, dataset)
    seen = values[is_shown]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    if low == high:
        return lambda shown: np.where(np.nan_to_num(shown) > low, 1.0, 0.0)
    return lambda shown: np.clip((np.nan_to_num(shown, nan=low) - low) / (high - low), 0.0, 1.0)


def _is_padding(pixels: Pixels, dataset: Dataset) -> NDArray[np.bool]:
    """Where a frame is padded around what was imaged (C.7.5.1.1.2)."""
    first = decimal(dataset, "PixelPaddingValue", np.nan)
    last = decimal(dataset, "PixelPaddingRangeLimit", first)
    low, high = min(first, last), max(first, last)
    is_padding: NDArray[np.bool] = (pixels >= low) & (pixels <= high)
    return is_padding
