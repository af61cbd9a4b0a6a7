from typing import Any

import pytest
from pydicom import Dataset

from shared.dicom.header import PixelDataElement
from shared.dicom.pixels.image import ImageDescription
from shared.errors import NotAcceptableError, NotFoundError
from tests import builders


def image(**keywords: Any) -> Dataset:
    dataset = builders.image()
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    return dataset


def test_a_description_is_read_from_the_data_set() -> None:
    found = ImageDescription.of(image(Rows=7, PixelRepresentation=1))
    assert (found.rows, found.columns, found.bits_stored) == (7, 16, 12)
    assert found.dtype == "int16"


def test_floating_point_is_known_without_its_pixel_data() -> None:
    dataset = image()
    del dataset.PixelData
    found = ImageDescription.of(dataset, PixelDataElement("FloatPixelData", "OF", 0, 4))
    assert found.dtype == "float32"


@pytest.mark.parametrize(
    "keywords",
    [
        {"Rows": 0},
        {"SamplesPerPixel": 2},
        {"BitsAllocated": 12},
        {"BitsStored": 17},
        {"HighBit": 3},
        {"NumberOfFrames": -1},
        {"SamplesPerPixel": [1, 2]},
    ],
    ids=str,
)
def test_an_impossible_description_is_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(NotAcceptableError, match="contradicts"):
        ImageDescription.of(image(**keywords))


def test_a_frame_over_the_limit_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(NotAcceptableError, match="larger"):
        ImageDescription.of(image(Rows=65535, Columns=65535, SamplesPerPixel=3))


def test_a_data_set_without_rows_has_no_image() -> None:
    with pytest.raises(NotFoundError):
        ImageDescription.of(builders.dataset())
