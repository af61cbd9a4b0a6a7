import numpy as np
import pytest

from shared.dicom.pixels.native import read_native, write_native
from shared.errors import NotAcceptableError
from tests.shared.dicom.pixels.stored_images import RGB, describe, noise


def test_planes_are_interleaved() -> None:
    image = describe(1, 2, is_planar=True, **RGB)
    assert read_native(bytes([1, 2, 3, 4, 5, 6]), image).tolist() == [[[1, 3, 5], [2, 4, 6]]]


def test_the_sign_is_that_of_the_stored_bits() -> None:
    image = describe(1, 2, bits_allocated=16, bits_stored=12, is_signed=True)
    assert read_native(b"\xff\x0f\x01\x00", image).tolist() == [[-1, 1]]


def test_bits_around_the_stored_ones_mean_nothing() -> None:
    image = describe(1, 1, bits_allocated=16, bits_stored=8, high_bit=11)
    assert read_native(b"\x3f\xf1", image).tolist() == [[0x13]]


def test_big_endian_is_read() -> None:
    image = describe(1, 1, bits_allocated=32)
    assert read_native(b"\0\0\1\2", image, is_little_endian=False).tolist() == [[258]]


def test_bytes_in_words_are_turned_around_in_big_endian_only() -> None:
    image = describe(1, 3, is_in_words=True)
    assert read_native(b"\2\1\0\3", image, is_little_endian=False).tolist() == [[1, 2, 3]]
    assert read_native(b"\1\2\3\0", image).tolist() == [[1, 2, 3]]


def test_bits_are_read_from_within_a_byte() -> None:
    image = describe(1, 3, bits_allocated=1)
    assert read_native(b"\x28", image, bit_offset=3).tolist() == [[1, 0, 1]]


def test_two_pixels_share_their_chrominance() -> None:
    image = describe(1, 2, samples_per_pixel=3, photometric="YBR_FULL_422")
    assert read_native(bytes([1, 2, 3, 4]), image).tolist() == [[[1, 3, 4], [2, 3, 4]]]


def test_subsampling_needs_even_columns() -> None:
    image = describe(2, 3, samples_per_pixel=3, photometric="YBR_FULL_422")
    with pytest.raises(NotAcceptableError, match="even"):
        read_native(bytes(20), image)


def test_partial_420_is_refused() -> None:
    with pytest.raises(NotAcceptableError, match="unknown"):
        read_native(bytes(20), describe(photometric="YBR_PARTIAL_420"))


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_too_few_bytes_are_refused(bits: int) -> None:
    with pytest.raises(NotAcceptableError, match="shorter"):
        read_native(b"\0\0", describe(bits_allocated=bits))


@pytest.mark.parametrize("bits", [1, 8, 16, 32])
def test_what_is_written_is_read(bits: int) -> None:
    frame = noise(describe(5, 7, bits_allocated=bits))
    assert np.array_equal(
        read_native(write_native(frame.pixels, frame.image), frame.image), frame.pixels
    )
