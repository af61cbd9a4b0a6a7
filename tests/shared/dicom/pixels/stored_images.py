"""The images of the corpus, and images made for a test: data set, description, stored frames."""

import warnings
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from shared.dicom.header import Header, NeedsPydicom, PixelDataElement
from shared.dicom.part10 import scan
from shared.dicom.pixels.image import Frame, ImageDescription, StoredFrame
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.dicom.transfer_syntax import EXPLICIT_VR_BIG_ENDIAN
from shared.errors import InvalidInstanceError

GRAY: dict[str, Any] = {"photometric": "MONOCHROME2", "samples_per_pixel": 1}
RGB: dict[str, Any] = {"photometric": "RGB", "samples_per_pixel": 3}


@dataclass(frozen=True)
class StoredImage:
    """An instance: its data set without pixel data, and its frames as they are stored."""

    whole: Dataset
    dataset: Dataset
    pixel_data: PixelDataElement
    frames: list[StoredFrame]

    @property
    def description(self) -> ImageDescription:
        return ImageDescription.of(self.dataset, self.pixel_data)

    @property
    def syntax(self) -> str:
        return self.frames[0].syntax


def _header(content: bytes) -> Header:
    try:
        return scan(content)
    except NeedsPydicom:
        return read_with_pydicom(BytesIO(content))


def read(content: bytes) -> StoredImage:
    """Read an instance as the service would: header by header, frames by their ranges."""
    header = _header(content)
    pixel_data, positions = header.pixel_data, header.frames
    assert pixel_data is not None
    assert positions is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = pydicom.dcmread(BytesIO(content), force=True)
        dataset = pydicom.dcmread(BytesIO(content), force=True)
        element = whole[pixel_data.keyword]
    del dataset[pixel_data.keyword]
    if pixel_data.length is not None:
        content = bytes(pixel_data.offset) + element.value
    # Big endian turns words around: the last byte of an odd frame is the one after it.
    is_turned = header.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    frames = [
        StoredFrame(
            b"".join(
                content[part.offset : part.offset + part.length + part.length % 2 * is_turned]
                for part in parts
            ),
            header.transfer_syntax_uid,
            positions.bit_offset(frame),
        )
        for frame in range(positions.count)
        for parts in [positions.range_of(frame)]
    ]
    return StoredImage(whole, dataset, pixel_data, frames)


@cache
def _image_of(path: Path) -> StoredImage | str:
    """The image of a file, or why there is none."""
    content = path.read_bytes()
    try:
        header = _header(content)
    except InvalidInstanceError:
        return "is no DICOM that is stored"
    if header.pixel_data is None or header.frames is None or not header.frames.count:
        return "has no frames"
    return read(content) if header.transfer_syntax_uid else "has no transfer syntax"


def read_or_skip(path: Path) -> StoredImage:
    """Read a file of the corpus that has an image; skip any other."""
    found = _image_of(path)
    if isinstance(found, str):
        pytest.skip(found)
    return found


def describe(rows: int = 4, columns: int = 6, **keywords: Any) -> ImageDescription:
    """A description of 8-bit shades of grey; keywords on top."""
    fields: dict[str, Any] = {"bits_allocated": 8, **GRAY, **keywords}
    fields.setdefault("bits_stored", fields["bits_allocated"])
    fields.setdefault("high_bit", fields["bits_stored"] - 1)
    return ImageDescription(rows=rows, columns=columns, **fields)


def noise(image: ImageDescription, seed: int = 1) -> Frame:
    """A frame of any values that may be stored."""
    half = 1 << (image.bits_stored - 1)
    low, high = (-half, half) if image.is_signed else (0, 2 * half)
    values = np.random.default_rng(seed).integers(low, high, image.shape, dtype=np.int64)
    return Frame(values.astype(image.dtype), image)


def smooth(image: ImageDescription) -> Frame:
    """A frame without noise, as images are."""
    rows, columns = np.mgrid[: image.rows, : image.columns]
    wave = (np.sin(rows / 9) + np.cos(columns / 7) + 2) / 4
    values = (wave * ((1 << image.bits_stored) - 1)).astype(image.dtype)
    samples = [np.roll(values, 3 * sample, axis=1) for sample in range(image.samples_per_pixel)]
    return Frame(np.stack(samples, axis=-1) if image.is_color else values, image)
