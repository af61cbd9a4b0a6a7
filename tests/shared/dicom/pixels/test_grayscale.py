from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.grayscale import render_grayscale
from shared.dicom.pixels.image import Frame, Pixels
from shared.dicom.pixels.window import Window
from shared.errors import NotAcceptableError, NotFoundError
from tests.shared.dicom import corpus
from tests.shared.dicom.pixels.stored_images import describe, read_or_skip


def frame(*values: float, **keywords: object) -> Frame:
    image = describe(1, len(values), **{"bits_allocated": 16, **keywords})
    return Frame(np.array([values]).astype(image.dtype), image)


def shades(one: Frame, dataset: Dataset, window: Window | None = None) -> list[int]:
    found: list[int] = render_grayscale(one, dataset, 0, window)[0].tolist()
    return found


def table(first: int, *entries: int, bits: int = 8) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = list(entries)
    return item


def with_(**keywords: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    return dataset


def test_without_a_window_the_lowest_is_black_and_the_highest_white() -> None:
    assert shades(frame(100, 150, 200), Dataset()) == [0, 128, 255]


def test_monochrome1_is_the_other_way_around() -> None:
    assert shades(frame(100, 150, 200, photometric="MONOCHROME1"), Dataset()) == [255, 127, 0]


def test_padding_is_no_part_of_the_range() -> None:
    dataset = with_(PixelPaddingValue=0, PixelPaddingRangeLimit=9)
    assert shades(frame(0, 9, 100, 200), dataset) == [0, 0, 0, 255]


def test_a_frame_of_one_value_is_black() -> None:
    assert shades(frame(7, 7), Dataset()) == [0, 0]


def test_single_bits_are_black_and_white_even_where_all_are_set() -> None:
    assert shades(frame(1, 1, bits_allocated=1), Dataset()) == [255, 255]


def test_floating_point_is_shown_and_what_is_no_number_is_black() -> None:
    one = frame(-1.0, np.nan, 1.0, bits_allocated=32, is_float=True)
    assert shades(one, Dataset()) == [0, 0, 255]


def test_rescaling_goes_before_the_window() -> None:
    dataset = with_(RescaleSlope=2, RescaleIntercept=-100, WindowCenter=0.5, WindowWidth=201)
    assert shades(frame(0, 50, 100), dataset) == [0, 128, 255]


def test_the_window_asked_for_goes_before_the_stored_one() -> None:
    dataset = with_(WindowCenter=0, WindowWidth=1)
    assert shades(frame(0, 50, 100), dataset, Window(50.5, 101)) == [0, 128, 255]


def test_the_first_of_several_windows_is_shown() -> None:
    dataset = with_(WindowCenter=[50.5, 1], WindowWidth=[101, 2])
    assert shades(frame(0, 50, 100), dataset) == [0, 128, 255]


@pytest.mark.parametrize(
    "stored", [{"WindowWidth": 0}, {"WindowCenter": None}, {"VOILUTFunction": "ODD"}], ids=str
)
def test_an_impossible_window_is_as_good_as_none(stored: dict[str, object]) -> None:
    dataset = with_(**{"WindowCenter": 100.5, "WindowWidth": 201, **stored})
    assert shades(frame(0, 200), dataset) == [0, 255]


def test_a_table_of_the_modality_goes_before_rescaling() -> None:
    dataset = with_(ModalityLUTSequence=Sequence([table(10, 0, 5, 10)]), RescaleSlope=9)
    assert shades(frame(0, 11, 99), dataset) == [0, 128, 255]


def test_a_table_of_values_of_interest_goes_before_the_window() -> None:
    lut = Sequence([table(100, 0, 77, 255)])
    dataset = with_(VOILUTSequence=lut, WindowCenter=0, WindowWidth=1)
    assert shades(frame(0, 101, 500), dataset) == [0, 77, 255]


def test_a_table_of_more_bits_is_shown_with_8() -> None:
    dataset = with_(VOILUTSequence=Sequence([table(0, 0, 4095, bits=12)]))
    assert shades(frame(0, 1), dataset) == [0, 255]


def test_a_table_that_is_too_short_is_refused() -> None:
    item = table(0, 1, 2)
    item.LUTDescriptor = [9, 0, 8]
    with pytest.raises(NotAcceptableError, match="shorter"):
        shades(frame(0, 1), with_(VOILUTSequence=Sequence([item])))


def groups(center: float) -> Dataset:
    return with_(FrameVOILUTSequence=Sequence([with_(WindowCenter=center, WindowWidth=2)]))


def test_each_frame_has_its_own_window_where_it_is_in_its_functional_groups() -> None:
    dataset = with_(PerFrameFunctionalGroupsSequence=Sequence([groups(10), groups(20)]))
    one = frame(15, 15)
    found = [render_grayscale(one, dataset, index)[0, 0] for index in (0, 1)]
    assert found == [255, 0]


def test_all_frames_have_the_shared_window_otherwise() -> None:
    dataset = with_(
        PerFrameFunctionalGroupsSequence=Sequence([Dataset()]),
        SharedFunctionalGroupsSequence=Sequence([groups(10)]),
    )
    assert shades(frame(0, 15), dataset) == [0, 255]


def by_pydicom(pixels: Pixels, dataset: Dataset) -> Pixels:
    """What pydicom shows of a frame, from 0 to 255."""
    values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset)
    low, high = values.min(), values.max()
    if dataset.get("VOILUTSequence"):
        low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif "WindowCenter" in dataset:
        bits = dataset.BitsStored
        stored = np.array([0, 2**bits - 1]) - (2 ** (bits - 1)) * dataset.PixelRepresentation
        if dataset.get("ModalityLUTSequence"):
            stored = np.array([0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1])
            low, high = stored
        else:
            low, high = apply_modality_lut(stored, dataset)
    shown = np.floor((values - float(low)) / max(float(high - low), 1e-300) * 255 + 0.5)
    return 255 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


@pytest.mark.filterwarnings("ignore")
@corpus.by_file
def test_shades_of_the_corpus_are_those_of_pydicom(path: Path) -> None:
    stored = read_or_skip(path)
    dataset = stored.whole
    if not str(dataset.get("PhotometricInterpretation")).startswith("MONOCHROME"):
        pytest.skip("is not of shades of grey")
    try:
        decoded = decode_frame(stored.frames[0], stored.description)
    except (NotAcceptableError, NotFoundError):
        pytest.skip("is not decoded")
    pixels = decoded.pixels
    has_range = "WindowCenter" in dataset or dataset.get("VOILUTSequence")
    if not has_range and (pixels.min() == pixels.max() or decoded.image.bits_stored == 1):
        pytest.skip("has no range")
    if "SharedFunctionalGroupsSequence" in dataset or "PixelPaddingValue" in dataset:
        pytest.skip("says more than pydicom heeds")
    rendered = render_grayscale(decoded, dataset, 0)
    assert np.abs(rendered - by_pydicom(pixels, dataset)).max() <= 1
