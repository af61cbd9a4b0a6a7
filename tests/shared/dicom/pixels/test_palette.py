import numpy as np
import pytest
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from shared.dicom.pixels.palette import Palette
from shared.errors import NotAcceptableError


def palette(*, descriptor: list[int], data: bytes, is_segmented: bool = False) -> Dataset:
    dataset = Dataset()
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    for color in ("Red", "Green", "Blue"):
        setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", descriptor)
        prefix = "Segmented" if is_segmented else ""
        setattr(dataset, f"{prefix}{color}PaletteColorLookupTableData", data)
    return dataset


def test_entries_of_16_bits_are_shown_with_8() -> None:
    found = Palette.of(palette(descriptor=[2, 0, 16], data=b"\x00\x12\xff\xff"))
    assert found.colors[:, 0].tolist() == [0x12, 0xFF]


def test_entries_of_8_bits_are_bytes() -> None:
    found = Palette.of(palette(descriptor=[4, 0, 8], data=b"\1\2\3\4"))
    assert found.colors[:, 2].tolist() == [1, 2, 3, 4]


def test_values_before_and_after_the_palette_have_its_outer_colors() -> None:
    found = Palette.of(palette(descriptor=[2, 10, 8], data=b"\1\2"))
    assert found.apply(np.array([0, 10, 11, 200]))[:, 0].tolist() == [1, 1, 2, 2]


SEGMENTS = [0, 2, 5, 9, 1, 4, 20, 0, 1, 60]


def test_segments_are_expanded() -> None:
    dataset = palette(descriptor=[7, 0, 8], data=bytes(SEGMENTS), is_segmented=True)
    assert Palette.of(dataset).colors[:, 0].tolist() == [5, 9, 12, 14, 17, 20, 60]


def test_segments_are_repeated() -> None:
    data = bytes([*SEGMENTS, 2, 2, 0, 0, 0, 0])
    dataset = palette(descriptor=[13, 0, 8], data=data, is_segmented=True)
    assert Palette.of(dataset).colors[7:, 0].tolist() == [5, 9, 12, 14, 17, 20]


def test_segments_of_16_bits_are_those_of_pydicom() -> None:
    words = [0, 2, 500, 9000, 1, 5, 65535, 1, 3, 100, 2, 2, 0, 0]
    data = np.array(words, "<u2").tobytes()
    dataset = palette(descriptor=[17, 0, 16], data=data, is_segmented=True)
    expected = apply_color_lut(np.arange(17), dataset)
    assert np.array_equal(Palette.of(dataset).colors, expected >> 8)


@pytest.mark.parametrize(
    "data",
    [b"\0\x08\1\2", b"\1\2\3\4", b"\0\0" * 9, b"\7\1\2\2", bytes([0, 1, 5, 0, 2, 99, 0, 0, 0, 0])],
)
def test_damaged_segments_are_refused(data: bytes) -> None:
    with pytest.raises(NotAcceptableError):
        Palette.of(palette(descriptor=[30, 0, 8], data=data, is_segmented=True))


def test_segments_that_repeat_without_end_stop_at_the_last_entry() -> None:
    data = np.array([0, 1, 7, 2, 65535, 0, 0], "<u2").tobytes()
    dataset = palette(descriptor=[0, 0, 16], data=data, is_segmented=True)
    with pytest.raises(NotAcceptableError):
        Palette.of(dataset)


def test_a_palette_that_is_too_short_is_refused() -> None:
    with pytest.raises(NotAcceptableError, match="shorter"):
        Palette.of(palette(descriptor=[9, 0, 16], data=b"\1\2"))


def test_colors_of_different_length_are_refused() -> None:
    dataset = palette(descriptor=[2, 0, 8], data=b"\1\2\3\4")
    dataset.GreenPaletteColorLookupTableDescriptor = [4, 0, 8]
    with pytest.raises(NotAcceptableError, match="differ"):
        Palette.of(dataset)


@pytest.mark.parametrize("descriptor", [None, [1, 2], [4, 0, 24], [4, 0, 4]])
def test_an_impossible_descriptor_is_refused(descriptor: list[int] | None) -> None:
    dataset = palette(descriptor=[4, 0, 8], data=b"\1\2\3\4")
    dataset.BluePaletteColorLookupTableDescriptor = descriptor
    with pytest.raises(NotAcceptableError, match="descriptor"):
        Palette.of(dataset)
