"""What the Image Pixel Module says of the frames of an image.

Standard: PS3.3 C.7.6.3, C.7.6.24 and C.7.6.25 (2025b).
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from shared.dicom.header import PixelDataElement
from shared.dicom.pydicom_reading import PYDICOM_ERRORS
from shared.dicom.quiet import quiet
from shared.errors import NotAcceptableError, NotFoundError

type Pixels = NDArray[Any]
"""Values of one frame: (rows, columns), or (rows, columns, samples) where a pixel has several."""

MAX_FRAME_LENGTH = 1 << 28
"""Bytes that one decoded frame may take: a frame of 16 384 x 16 384 pixels of one byte."""

_MAX_US = 0xFFFF
_MAX_FRAMES = 2**31 - 1
_BITS_ALLOCATED = frozenset({1, 8, 16, 32, 64})
_FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_SAMPLES_PER_PIXEL = frozenset({1, 3, 4})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescription:
    """How the values of a frame are made of bits.

    Attributes:
        photometric: Photometric Interpretation.
        is_planar: The samples of all pixels follow one another, plane by plane.
        is_float: The pixel data is of IEEE 754 numbers.
        is_in_words: 8-bit values lie in words of 16 bits, which big endian turns around (the VR of
            the pixel data is OW); the data set alone does not tell.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    photometric: str
    is_signed: bool = False
    is_planar: bool = False
    is_float: bool = False
    is_in_words: bool = False
    number_of_frames: int = 1

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        pixel_data: PixelDataElement | None = None,
        *,
        max_length: int = MAX_FRAME_LENGTH,
    ) -> Self:
        """Read the description of an image.

        A data set without its pixel data does not tell of what kind that is; `pixel_data` does.

        Raises:
            NotFoundError: The data set describes no image.
            NotAcceptableError: The description is impossible or cannot be read, or a frame is over
                `max_length`.
        """
        if "Rows" not in dataset or "Columns" not in dataset:
            raise NotFoundError("The instance has no image.")
        try:
            with quiet():
                image = cls._read(dataset, pixel_data or _pixel_data_of(dataset))
        except PYDICOM_ERRORS as error:
            raise NotAcceptableError("The description of the image cannot be read.") from error
        image.check(max_length)
        return image

    @classmethod
    def _read(cls, dataset: Dataset, pixel_data: PixelDataElement) -> Self:
        float_bits = _FLOATS.get(pixel_data.keyword, 0)
        allocated = float_bits or _whole(dataset, "BitsAllocated", 0)
        stored = float_bits or _whole(dataset, "BitsStored", allocated)
        return cls(
            rows=_whole(dataset, "Rows", 0),
            columns=_whole(dataset, "Columns", 0),
            samples_per_pixel=_whole(dataset, "SamplesPerPixel", 1),
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=stored - 1 if float_bits else _whole(dataset, "HighBit", stored - 1),
            photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2").strip(),
            is_signed=_whole(dataset, "PixelRepresentation", 0) == 1,
            is_planar=_whole(dataset, "PlanarConfiguration", 0) == 1,
            is_float=bool(float_bits),
            is_in_words=pixel_data.vr == "OW",
            number_of_frames=_whole(dataset, "NumberOfFrames", 1) or 1,
        )

    def check(self, max_length: int) -> None:
        """See that such an image can be, before anything is allocated for it.

        Raises:
            NotAcceptableError: It cannot, or one frame is over `max_length` bytes.
        """
        is_possible = (
            0 < self.rows <= _MAX_US
            and 0 < self.columns <= _MAX_US
            and self.samples_per_pixel in _SAMPLES_PER_PIXEL
            and self.bits_allocated in _BITS_ALLOCATED
            and 0 < self.bits_stored <= self.bits_allocated
            and self.bits_stored - 1 <= self.high_bit < self.bits_allocated
            and 0 < self.number_of_frames <= _MAX_FRAMES
        )
        if not is_possible:
            raise NotAcceptableError("The description of the image contradicts itself.")
        if self.frame_length > max_length:
            raise NotAcceptableError("A frame of the image is larger than this service decodes.")

    @property
    def frame_length(self) -> int:
        """Bytes that a decoded frame takes."""
        return self.rows * self.columns * self.samples_per_pixel * self.dtype.itemsize

    @property
    def is_color(self) -> bool:
        """Whether a pixel has several samples."""
        return self.samples_per_pixel > 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a decoded value, in the byte order of this machine."""
        size = max(1, self.bits_allocated // 8)
        return np.dtype(f"{'f' if self.is_float else 'i' if self.is_signed else 'u'}{size}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a decoded frame."""
        plane = (self.rows, self.columns)
        return (*plane, self.samples_per_pixel) if self.is_color else plane

    def decoded(self, photometric: str) -> "ImageDescription":
        """The description of the image once its frames are decoded."""
        return replace(
            self, photometric=photometric, is_planar=False, high_bit=self.bits_stored - 1
        )


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One frame as it is stored.

    Attributes:
        content: Its bytes, without item headers.
        syntax: UID of the transfer syntax.
        bit_offset: Low-order bits of the first byte that are of the frame before (1-bit images).
    """

    content: bytes
    syntax: str
    bit_offset: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame, and what its values are.

    Values are those of Bits Stored, sign extended, the bits beyond them gone.
    """

    pixels: Pixels
    image: ImageDescription


def _pixel_data_of(dataset: Dataset) -> PixelDataElement:
    keyword = next((key for key in (*_FLOATS, "PixelData") if key in dataset), "")
    return PixelDataElement(keyword, dataset[keyword].VR if keyword else "OW", 0, None)


def _whole(dataset: Dataset, keyword: str, default: int) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1
