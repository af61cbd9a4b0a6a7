import numpy as np
import pytest
from PIL import Image

from shared.dicom.pixels.viewport import Viewport
from shared.errors import InvalidQueryError

# Four pixels, each of its own shade.
QUARTERS = Image.fromarray(np.array([[0, 80], [160, 240]], np.uint8).repeat(8, 0).repeat(8, 1))


def shown(text: str, image: Image.Image = QUARTERS) -> np.ndarray:
    return np.asarray(Viewport.parse(text).apply(image))


def test_the_image_is_scaled_into_the_viewport_with_its_proportions() -> None:
    wide = Image.new("L", (400, 100))
    assert shown("100,100", wide).shape == (25, 100)
    assert shown("1000,1000", wide).shape == (250, 1000)


def test_a_region_is_cut_out() -> None:
    assert (shown("8,8,8,0,8,8") == 80).all()


def test_a_region_that_is_not_said_reaches_to_the_edges() -> None:
    assert (shown("8,8,8,8,,") == 240).all()


def test_a_negative_width_flips_from_left_to_right() -> None:
    flipped = shown("16,16,0,0,-16,16")
    assert (flipped[0, 0], flipped[0, -1], flipped[-1, 0]) == (80, 0, 240)


def test_a_negative_height_flips_from_top_to_bottom() -> None:
    flipped = shown("16,16,0,0,16,-16")
    assert (flipped[0, 0], flipped[-1, 0]) == (160, 0)


def test_a_region_may_be_a_part_of_a_pixel() -> None:
    assert (shown("4,4,12,4,0.001,-0.001") == 80).all()


def test_a_region_beyond_the_edge_is_cut_off_there() -> None:
    assert shown("16,16,8,0,100,8").shape == (16, 16)


def test_a_region_outside_the_image_is_refused() -> None:
    with pytest.raises(InvalidQueryError, match="outside"):
        shown("8,8,16,0,4,4")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1,2,3",
        "a,b",
        "0,5",
        "5,-5",
        "99999,5",
        "5,5,-1,0,5,5",
        "5,5,0,0,0,5",
        "5,5,nan,0,5,5",
        "5,5,0,0,5e-324,5e-324",
        "5,5,0,0,,-1e-300",
    ],
)
def test_what_is_no_viewport_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError):
        Viewport.parse(text)
