from importlib import import_module
from itertools import product
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.encode import TARGETS, encode_frame
from shared.dicom.pixels.image import Frame, ImageDescription, StoredFrame
from shared.errors import NotAcceptableError
from tests.shared.dicom.pixels.stored_images import GRAY, RGB, describe, noise, smooth

# Untyped, and asked only for what they decode.
jpeg_ls: Any = import_module("jpeg_ls")
openjpeg: Any = import_module("openjpeg")
rle: Any = import_module("rle")
EXPLICIT, RLE, BASELINE, SV1 = (f"1.2.840.10008.1.2.{n}" for n in ("1", "5", "4.50", "4.70"))
JPEG_LS, JPEG_2000, HTJ2K, HTJ2K_RPCL = (f"1.2.840.10008.1.2.4.{n}" for n in (80, 90, 201, 202))
LOSSLESS = [EXPLICIT, RLE, SV1, JPEG_LS, JPEG_2000, HTJ2K, HTJ2K_RPCL]


def round_trip(frame: Frame, syntax: str) -> Frame:
    encoded = encode_frame(frame, syntax)
    return decode_frame(StoredFrame(encoded.content, syntax), encoded.image)


def test_the_targets_are_those_of_the_tests() -> None:
    assert {*LOSSLESS, BASELINE} == TARGETS


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    bits = draw(st.integers(1, 16))
    color = draw(st.sampled_from([GRAY, RGB, {**RGB, "photometric": "YBR_FULL"}]))
    image = describe(
        draw(st.integers(1, 70)),
        draw(st.integers(1, 70)),
        bits_allocated=draw(st.sampled_from([8, 16] if bits <= 8 else [16])),
        bits_stored=bits,
        is_signed=draw(st.booleans()),
        **color,
    )
    frame = noise(image, draw(st.integers(0, 100)))
    if draw(st.booleans()):
        # The hardest for wavelets: neighbours at both ends of the range.
        middle = np.median(frame.pixels)
        low, high = frame.pixels.min(), frame.pixels.max()
        frame = Frame(np.where(frame.pixels > middle, high, low).astype(image.dtype), image)
    return frame


@settings(deadline=None, max_examples=60)
@given(frames(), st.sampled_from(LOSSLESS))
def test_lossless_targets_give_back_every_value(frame: Frame, syntax: str) -> None:
    back = round_trip(frame, syntax)
    assert back.pixels.dtype == frame.pixels.dtype
    assert np.array_equal(back.pixels, frame.pixels)


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("syntax", [EXPLICIT, RLE])
def test_numbers_of_32_bits_are_encoded_where_there_is_room(syntax: str, is_signed: bool) -> None:  # noqa: FBT001
    frame = noise(describe(bits_allocated=32, is_signed=is_signed))
    assert np.array_equal(round_trip(frame, syntax).pixels, frame.pixels)


@pytest.mark.parametrize("syntax", sorted(TARGETS - {EXPLICIT, RLE}))
def test_numbers_of_32_bits_are_refused_elsewhere(syntax: str) -> None:
    with pytest.raises(NotAcceptableError, match="cannot be encoded"):
        encode_frame(noise(describe(bits_allocated=32)), syntax)


@pytest.mark.parametrize("syntax", sorted(TARGETS - {EXPLICIT}))
def test_single_bits_and_floating_point_are_encoded_natively_only(syntax: str) -> None:
    bits = describe(bits_allocated=1)
    numbers = describe(bits_allocated=32, is_float=True)
    for frame in (noise(bits), Frame(np.zeros((4, 6), np.float32), numbers)):
        assert np.array_equal(round_trip(frame, EXPLICIT).pixels, frame.pixels)
        with pytest.raises(NotAcceptableError, match="cannot be encoded"):
            encode_frame(frame, syntax)


def test_rle_has_no_room_for_more_than_fifteen_bytes_a_pixel() -> None:
    with pytest.raises(NotAcceptableError, match="room"):
        encode_frame(noise(describe(bits_allocated=64, bits_stored=40, **RGB)), RLE)


@pytest.mark.parametrize(
    "image",
    [
        describe(bits_allocated=16, bits_stored=12),
        describe(is_signed=True),
        describe(photometric="PALETTE COLOR"),
    ],
    ids=lambda image: image.photometric + str(image.bits_stored),
)
def test_jpeg_baseline_takes_eight_unsigned_bits_of_no_palette(image: ImageDescription) -> None:
    with pytest.raises(NotAcceptableError, match="cannot be encoded"):
        encode_frame(noise(image), BASELINE)


@pytest.mark.parametrize("bits_allocated", [8, 16])
@pytest.mark.parametrize("source", [JPEG_LS, JPEG_2000, SV1])
def test_values_beyond_bits_stored_are_kept_or_refused(source: str, bits_allocated: int) -> None:
    whole = describe(16, 16, bits_allocated=bits_allocated)
    coded = encode_frame(noise(whole), source).content
    image = describe(16, 16, bits_allocated=bits_allocated, bits_stored=bits_allocated - 2)
    frame = decode_frame(StoredFrame(coded, source), image)
    assert np.array_equal(frame.pixels, noise(whole).pixels)
    assert encode_frame(frame, EXPLICIT).content == frame.pixels.tobytes()
    for target in TARGETS - {EXPLICIT, RLE}:
        with pytest.raises(NotAcceptableError, match="cannot be encoded"):
            encode_frame(frame, target)
    within = Frame(frame.pixels >> 2, image)
    for target in TARGETS - {BASELINE}:
        assert np.array_equal(round_trip(within, target).pixels, within.pixels)


def test_what_is_no_target_is_refused() -> None:
    with pytest.raises(NotAcceptableError, match="does not encode JPEG Extended"):
        encode_frame(noise(describe()), "1.2.840.10008.1.2.4.51")


@pytest.mark.parametrize(
    ("syntax", "before", "after"),
    [
        (BASELINE, "RGB", "RGB"),
        (BASELINE, "YBR_FULL", "YBR_FULL_422"),
        (JPEG_2000, "RGB", "YBR_RCT"),
        (JPEG_2000, "YBR_FULL", "YBR_FULL"),
        (HTJ2K_RPCL, "RGB", "YBR_RCT"),
        (SV1, "RGB", "RGB"),
        (JPEG_LS, "YBR_FULL", "YBR_FULL"),
        (RLE, "RGB", "RGB"),
    ],
)
def test_the_photometric_interpretation_is_that_of_the_coding(
    syntax: str, before: str, after: str
) -> None:
    image = describe(16, 16, **{**RGB, "photometric": before})
    assert encode_frame(noise(image), syntax).image.photometric == after


def test_planes_follow_one_another_in_rle_alone() -> None:
    frame = noise(describe(16, 16, **RGB))
    planar = {s for s in TARGETS if encode_frame(frame, s).image.is_planar}
    assert planar == {RLE}


@pytest.mark.parametrize("color", [GRAY, RGB], ids=["gray", "rgb"])
def test_jpeg_baseline_is_near_what_it_encodes(color: dict[str, Any]) -> None:
    frame = smooth(describe(64, 64, **color))
    back = round_trip(frame, BASELINE)
    difference = np.abs(back.pixels.astype(int) - frame.pixels)
    assert difference.mean() < 6
    assert back.image.photometric == color["photometric"]


def test_lower_quality_is_smaller() -> None:
    frame = smooth(describe(256, 256))
    low, high = (encode_frame(frame, BASELINE, quality=quality) for quality in (20, 95))
    assert len(low.content) < len(high.content)


@pytest.mark.parametrize("syntax", [HTJ2K, HTJ2K_RPCL])
def test_htj2k_is_in_order_of_resolution_with_tile_lengths(syntax: str) -> None:
    content = encode_frame(smooth(describe(512, 512)), syntax).content
    coding = content.index(b"\xff\x52")
    assert content[coding + 5] == 2
    assert content.index(b"\xff\x55") < content.index(b"\xff\x90")


def test_the_smallest_resolution_of_htj2k_has_at_most_64_rows_and_columns() -> None:
    content = encode_frame(smooth(describe(200, 5000)), HTJ2K_RPCL).content
    levels = content[content.index(b"\xff\x52") + 9]
    assert 5000 / 2**levels <= 64


# Every coding is read by a decoder other than that of `decode_frame`, too.


@pytest.mark.parametrize(
    ("color", "bits", "is_signed"),
    list(product([GRAY, RGB], [8, 12, 16], [False, True])),
    ids=str,
)
def test_jpeg_2000_is_read_by_pylibjpeg(
    color: dict[str, Any],
    bits: int,
    is_signed: bool,  # noqa: FBT001
) -> None:
    image = describe(
        65,
        70,
        bits_allocated=8 if bits == 8 else 16,
        bits_stored=bits,
        is_signed=is_signed,
        **color,
    )
    frame = noise(image)
    for syntax in (JPEG_2000, HTJ2K, HTJ2K_RPCL):
        pixels = openjpeg.decode(encode_frame(frame, syntax).content)
        assert np.array_equal(pixels, frame.pixels)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_htj2k_is_read_by_openjph(bits: int) -> None:
    frame = noise(describe(65, 70, bits_allocated=8 if bits == 8 else 16, bits_stored=bits))
    content = encode_frame(frame, HTJ2K_RPCL).content
    assert np.array_equal(imagecodecs.htj2k_decode(content), frame.pixels)


@pytest.mark.parametrize("color", [GRAY, RGB], ids=["gray", "rgb"])
def test_jpeg_ls_is_read_by_charls(color: dict[str, Any]) -> None:
    frame = noise(describe(65, 70, **color))
    decoded, _ = jpeg_ls.decode_buffer(encode_frame(frame, JPEG_LS).content)
    assert np.array_equal(np.frombuffer(decoded, np.uint8).reshape(frame.image.shape), frame.pixels)


@pytest.mark.parametrize("color", [GRAY, RGB], ids=["gray", "rgb"])
def test_rle_is_read_by_pylibjpeg(color: dict[str, Any]) -> None:
    image = describe(65, 70, bits_allocated=16, **color)
    frame = noise(image)
    planes = rle.decode_pixel_data(
        encode_frame(frame, RLE).content, rows=65, columns=70, bits_allocated=16, version=2
    )
    shape = (image.samples_per_pixel, 65, 70)
    pixels = np.frombuffer(planes, "<u2").reshape(shape).transpose(1, 2, 0)
    assert np.array_equal(pixels.reshape(image.shape), frame.pixels)


@pytest.mark.parametrize("color", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless_is_read_by_gdcm(color: dict[str, Any], bits: int) -> None:
    image = describe(65, 70, bits_allocated=8 if bits == 8 else 16, bits_stored=bits, **color)
    frame = smooth(image)
    encoded = encode_frame(frame, SV1)
    decoder: Any = get_decoder(UID(SV1))
    pixels, _ = decoder.as_array(
        _encapsulated(encoded.content),
        rows=65,
        columns=70,
        samples_per_pixel=image.samples_per_pixel,
        photometric_interpretation=image.photometric,
        bits_allocated=image.bits_allocated,
        bits_stored=bits,
        pixel_representation=0,
        number_of_frames=1,
        planar_configuration=0,
        pixel_keyword="PixelData",
        decoding_plugin="gdcm",
        raw=True,
    )
    assert np.array_equal(pixels, frame.pixels)


def _encapsulated(content: bytes) -> bytes:
    item = b"\xfe\xff\x00\xe0"
    content += bytes(len(content) % 2)
    return item + bytes(4) + item + len(content).to_bytes(4, "little") + content
