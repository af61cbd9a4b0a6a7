from struct import pack

import numpy as np
import pytest

from shared.dicom.pixels.rle import read_rle, write_rle
from shared.errors import NotAcceptableError
from tests.shared.dicom.pixels.stored_images import describe, smooth


def rle(*segments: bytes, count: int | None = None) -> bytes:
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    header = pack("<16I", count or len(segments), *offsets, *[0] * (15 - len(offsets)))
    return header + b"".join(segments)


def test_segments_are_bytes_from_the_most_significant_on() -> None:
    image = describe(1, 2, bits_allocated=16)
    assert read_rle(rle(b"\x01\x01\x02\0", b"\xff\x05"), image).tolist() == [[0x105, 0x205]]


def test_a_segment_may_be_padded() -> None:
    assert read_rle(rle(b"\xfd\x07\0\0"), describe(1, 4)).tolist() == [[7] * 4]


def test_single_bits_are_in_one_segment() -> None:
    image = describe(1, 12, bits_allocated=1)
    assert read_rle(rle(b"\x01\x05\x08"), image).tolist() == [[1, 0, 1] + [0] * 8 + [1]]


def test_each_row_begins_a_run_of_its_own() -> None:
    content = write_rle(np.zeros((2, 4), np.uint8))
    assert content[64:] == b"\xfd\0\xfd\0"


def test_segments_are_of_even_length() -> None:
    content = write_rle(smooth(describe(3, 5, bits_allocated=16)).pixels)
    count, *offsets = np.frombuffer(content[:64], "<u4")
    assert count == 2
    assert len(content) % 2 == 0
    assert offsets[1] % 2 == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        rle(b"\xfd\x07", b"\xfd\x07"),
        rle(b"\xfd\x07", count=15),
        pack("<16I", 1, 4, *[0] * 14) + b"\xfd\x07",
        pack("<16I", 1, 1 << 31, *[0] * 14) + b"\xfd\x07",
    ],
)
def test_other_segments_than_the_image_needs_are_refused(content: bytes) -> None:
    with pytest.raises(NotAcceptableError, match="RLE"):
        read_rle(content, describe(1, 4))


def test_a_segment_shorter_than_its_image_is_refused() -> None:
    for image in (describe(1, 5), describe(1000, 1000)):
        with pytest.raises(NotAcceptableError, match="shorter"):
            read_rle(rle(b"\xfd\x07"), image)
