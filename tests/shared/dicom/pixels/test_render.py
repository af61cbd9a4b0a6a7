from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.sequence import Sequence

from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.icc_profile import IccProfile
from shared.dicom.pixels.image import Frame, StoredFrame
from shared.dicom.pixels.render import GIF, JPEG, PNG, Rendering, render, render_thumbnail, show
from shared.dicom.pixels.viewport import Viewport
from shared.dicom.pixels.window import Window
from shared.errors import InvalidQueryError, NotAcceptableError, NotFoundError
from tests.shared.dicom import corpus
from tests.shared.dicom.pixels.stored_images import (
    RGB,
    StoredImage,
    describe,
    noise,
    read_or_skip,
    smooth,
)

EXPLICIT = "1.2.840.10008.1.2.1"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def stored(frame: Frame) -> tuple[int, StoredFrame]:
    return 0, StoredFrame(frame.pixels.tobytes(), EXPLICIT)


def opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def rendered(frame: Frame, media_type: str = PNG, **asked: Any) -> Image.Image:
    dataset = asked.pop("dataset", Dataset())
    return opened(render(dataset, frame.image, [stored(frame)], media_type, Rendering(**asked)))


@pytest.mark.parametrize(("media_type", "name"), [(JPEG, "JPEG"), (PNG, "PNG"), (GIF, "GIF")])
def test_an_image_is_rendered_in_the_media_type_asked_for(media_type: str, name: str) -> None:
    picture = rendered(smooth(describe(20, 30)), media_type)
    assert (picture.format, picture.size) == (name, (30, 20))


def test_other_media_types_are_refused() -> None:
    with pytest.raises(NotAcceptableError):
        rendered(smooth(describe()), "image/tiff")


def test_colors_are_shown_as_they_are() -> None:
    frame = noise(describe(**RGB))
    assert np.array_equal(np.asarray(rendered(frame)), frame.pixels)


def test_colors_of_more_bits_are_shown_with_8() -> None:
    frame = noise(describe(bits_allocated=16, bits_stored=12, **RGB))
    assert np.array_equal(np.asarray(rendered(frame)), frame.pixels >> 4)


def test_colors_of_fewer_bits_reach_to_white() -> None:
    image = describe(bits_stored=4, **RGB)
    assert (np.asarray(rendered(Frame(np.full(image.shape, 15, np.uint8), image))) == 255).all()


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_PARTIAL_422"])
def test_luminance_and_chrominance_become_rgb(photometric: str) -> None:
    frame = noise(describe(16, 16, samples_per_pixel=3, photometric=photometric))
    shown = show(frame, Dataset(), 0)
    if photometric == "YBR_FULL":
        expected = convert_color_space(frame.pixels, photometric, "RGB")
        assert np.abs(shown.astype(int) - expected).max() <= 1
    black = Frame(np.full(frame.image.shape, [16, 128, 128], np.uint8), frame.image)
    assert show(black, Dataset(), 0).max() == (16 if photometric == "YBR_FULL" else 0)


def test_luminance_of_16_bits_becomes_rgb() -> None:
    image = describe(1, 1, bits_allocated=16, samples_per_pixel=3, photometric="YBR_FULL")
    gray = Frame(np.array([[[0x8000, 0x8000, 0x8000]]], np.uint16), image)
    assert show(gray, Dataset(), 0).tolist() == [[[128, 128, 128]]]


@pytest.mark.parametrize("photometric", ["HSV", "CMYK", "MONOCHROME2"])
def test_a_photometric_interpretation_that_cannot_be_shown_is_refused(photometric: str) -> None:
    with pytest.raises(NotAcceptableError, match="photometric"):
        rendered(noise(describe(samples_per_pixel=3, photometric=photometric)))


def palette(first: int = 0) -> Dataset:
    dataset = Dataset()
    for number, color in enumerate(("Red", "Green", "Blue")):
        setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, first, 8])
        values = np.roll(np.arange(256, dtype=np.uint8), number * 50).tobytes()
        setattr(dataset, f"{color}PaletteColorLookupTableData", values)
    return dataset


def test_a_palette_gives_its_colors() -> None:
    frame = noise(describe(photometric="PALETTE COLOR"))
    assert np.array_equal(show(frame, palette(), 0), apply_color_lut(frame.pixels, palette()))


def test_a_supplemental_palette_colors_the_values_from_its_first_on() -> None:
    dataset = palette(first=200)
    dataset.PixelPresentation = "COLOR"
    frame = Frame(np.array([[0, 100, 200]], np.uint8), describe(1, 3))
    assert show(frame, dataset, 0).tolist() == [[[0, 0, 0], [128, 128, 128], [0, 206, 156]]]


def test_colors_that_are_presented_without_a_palette_are_left_out() -> None:
    dataset = Dataset()
    dataset.PixelPresentation = "COLOR"
    assert show(smooth(describe()), dataset, 0).ndim == 2


def test_the_window_asked_for_is_shown() -> None:
    frame = Frame(np.array([[0, 50, 100]], np.uint8), describe(1, 3))
    picture = rendered(frame, window=Window(50.5, 101))
    assert np.asarray(picture).tolist() == [[0, 128, 255]]


def test_the_viewport_asked_for_is_shown() -> None:
    frame = smooth(describe(40, 80))
    assert rendered(frame, viewport=Viewport(20, 20)).size == (20, 10)
    with pytest.raises(InvalidQueryError):
        rendered(frame, viewport=Viewport(20, 20, 90, 0))


def test_lower_quality_is_smaller() -> None:
    frame = smooth(describe(200, 200))
    low, high = (
        render(Dataset(), frame.image, [stored(frame)], JPEG, Rendering(quality=quality))
        for quality in (10, 100)
    )
    assert len(low) < len(high)


def test_the_frames_of_a_gif_move_at_the_pace_of_the_data_set() -> None:
    image = describe(8, 8)
    frames = [(index, stored(noise(image, index))[1]) for index in range(3)]
    dataset = Dataset()
    dataset.CineRate = 20
    picture = opened(render(dataset, image, frames, GIF))
    assert getattr(picture, "n_frames", 1) == 3
    assert picture.info["duration"] == 50


def test_more_frames_than_can_be_held_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.dicom.pixels.render.MAX_ANIMATED_LENGTH", 150)
    image = describe(8, 8)
    frames = [(index, stored(noise(image, index))[1]) for index in range(3)]
    with pytest.raises(NotAcceptableError, match="more frames"):
        render(Dataset(), image, frames, GIF)


def test_no_frame_is_refused() -> None:
    with pytest.raises(NotAcceptableError, match="no frame"):
        render(Dataset(), describe(), [], PNG)


@pytest.mark.parametrize(
    ("rows", "columns", "size"), [(1000, 500, (64, 128)), (30, 1000, (128, 4)), (20, 10, (10, 20))]
)
def test_a_thumbnail_has_128_pixels_at_most(rows: int, columns: int, size: tuple[int, int]) -> None:
    frame = smooth(describe(rows, columns))
    picture = opened(render_thumbnail(Dataset(), frame.image, stored(frame)))
    assert (picture.format, picture.size) == ("JPEG", size)


def test_a_damaged_table_is_refused() -> None:
    dataset = Dataset()
    dataset.VOILUTSequence = Sequence([Dataset()])
    with pytest.raises(NotAcceptableError):
        rendered(smooth(describe()), dataset=dataset)


@pytest.mark.parametrize("media_type", [JPEG, PNG])
def test_no_profile_is_given_unless_asked_for(media_type: str) -> None:
    dataset = Dataset()
    dataset.ICCProfile = SRGB
    frame = smooth(describe(**RGB))
    assert "icc_profile" not in rendered(frame, media_type, dataset=dataset).info
    asked = rendered(frame, media_type, dataset=dataset, icc_profile=IccProfile.YES)
    assert asked.info["icc_profile"] == SRGB


def test_the_profile_of_an_optical_path_is_given() -> None:
    path = Dataset()
    path.ICCProfile = SRGB
    dataset = Dataset()
    dataset.OpticalPathSequence = Sequence([path])
    found = rendered(smooth(describe(**RGB)), dataset=dataset, icc_profile=IccProfile.YES)
    assert found.info["icc_profile"] == SRGB


def test_colors_are_converted_to_srgb() -> None:
    frame = smooth(describe(**RGB))
    dataset = Dataset()
    dataset.ICCProfile = SRGB
    found = rendered(frame, dataset=dataset, icc_profile=IccProfile.SRGB)
    assert "sRGB" in ImageCms.getProfileName(BytesIO(found.info["icc_profile"]))
    assert np.abs(np.asarray(found).astype(int) - frame.pixels).max() <= 1


def test_colors_without_a_profile_count_as_srgb() -> None:
    frame = smooth(describe(**RGB))
    found = rendered(frame, icc_profile=IccProfile.SRGB)
    assert np.array_equal(np.asarray(found), frame.pixels)
    assert found.info["icc_profile"]


def test_shades_of_grey_have_no_profile() -> None:
    assert "icc_profile" not in rendered(smooth(describe()), icc_profile=IccProfile.YES).info


def test_a_damaged_profile_is_refused_where_it_is_needed() -> None:
    dataset = Dataset()
    dataset.ICCProfile = b"none"
    with pytest.raises(NotAcceptableError, match="profile"):
        rendered(smooth(describe(**RGB)), dataset=dataset, icc_profile=IccProfile.SRGB)


@pytest.mark.parametrize("text", ["adobergb", "rommrgb", ""])
def test_profiles_that_are_not_served_are_refused(text: str) -> None:
    assert IccProfile.parse(" sRGB ") is IccProfile.SRGB
    with pytest.raises(InvalidQueryError, match="iccprofile"):
        IccProfile.parse(text)


def is_decoded(image: StoredImage) -> bool:
    try:
        decode_frame(image.frames[0], image.description)
    except (NotAcceptableError, NotFoundError):
        return False
    return True


@pytest.mark.filterwarnings("ignore")
@corpus.by_file
def test_all_that_is_decoded_in_the_corpus_is_rendered(path: Path) -> None:
    image = read_or_skip(path)
    if not is_decoded(image):
        pytest.skip("is not decoded")
    content = render_thumbnail(image.dataset, image.description, (0, image.frames[0]))
    assert max(opened(content).size) <= 128


@pytest.mark.filterwarnings("ignore")
@corpus.by_file
def test_palettes_of_the_corpus_are_those_of_pydicom(path: Path) -> None:
    image = read_or_skip(path)
    if image.whole.get("PhotometricInterpretation") != "PALETTE COLOR" or not is_decoded(image):
        pytest.skip("has no palette")
    decoded = decode_frame(image.frames[0], image.description)
    expected = apply_color_lut(decoded.pixels, image.whole)
    if expected.dtype == np.uint16:
        expected = expected >> 8
    assert np.array_equal(show(decoded, image.whole, 0), expected)
