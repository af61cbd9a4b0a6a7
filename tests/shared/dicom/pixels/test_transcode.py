import numpy as np
import pytest

from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.image import StoredFrame
from shared.dicom.pixels.transcode import transcode_frame
from tests.shared.dicom.pixels.stored_images import describe, noise

IMPLICIT, EXPLICIT, BIG_ENDIAN = (f"1.2.840.10008.1.2{n}" for n in ("", ".1", ".2"))
JPEG_LS = "1.2.840.10008.1.2.4.80"


def test_the_stored_syntax_is_given_as_it_is() -> None:
    stored = StoredFrame(b"anything", JPEG_LS)
    assert transcode_frame(stored, describe(), JPEG_LS).content == b"anything"


def test_little_endian_frames_are_the_same_in_either_vr() -> None:
    image = describe(1, 1, bits_allocated=16, bits_stored=12)
    assert (
        transcode_frame(StoredFrame(b"\x12\xf4", IMPLICIT), image, EXPLICIT).content == b"\x12\xf4"
    )


@pytest.mark.parametrize(
    ("bits", "is_in_words", "expected"),
    [
        (8, False, b"\1\2\3\4"),
        (8, True, b"\2\1\4\3"),
        (16, True, b"\2\1\4\3"),
        (32, True, b"\4\3\2\1"),
    ],
)
def test_big_endian_frames_are_turned_around(
    bits: int,
    is_in_words: bool,  # noqa: FBT001
    expected: bytes,
) -> None:
    image = describe(1, 32 // bits, bits_allocated=bits, is_in_words=is_in_words)
    stored = StoredFrame(b"\1\2\3\4", BIG_ENDIAN)
    assert transcode_frame(stored, image, EXPLICIT).content == expected


def test_single_bits_are_moved_to_the_start_of_a_byte() -> None:
    image = describe(1, 3, bits_allocated=1)
    assert transcode_frame(StoredFrame(b"\x28", EXPLICIT, 3), image, EXPLICIT).content == b"\x05"


def test_a_frame_goes_from_one_coding_to_another() -> None:
    frame = noise(describe())
    content = frame.pixels.tobytes()
    for syntax in (JPEG_LS, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.201"):
        source = transcode_frame(StoredFrame(content, EXPLICIT), frame.image, JPEG_LS)
        target = transcode_frame(StoredFrame(source.content, JPEG_LS), source.image, syntax)
        back = decode_frame(StoredFrame(target.content, syntax), target.image)
        assert np.array_equal(back.pixels, frame.pixels)
