import logging
import zlib
from functools import cache
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space

from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.encode import encode_frame
from shared.dicom.pixels.image import Frame, StoredFrame
from shared.errors import NotAcceptableError, NotFoundError
from tests.shared.dicom import corpus
from tests.shared.dicom.pixels.stored_images import (
    GRAY,
    RGB,
    StoredImage,
    describe,
    noise,
    read_or_skip,
    smooth,
)

JPEG_BASELINE, JPEG_LS, JPEG_2000, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 80, 90, 201))
DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
# Of two decoders of a transform with loss, none has to be right to the last bit.
TOLERANCE = {f"1.2.840.10008.1.2.4.{n}": 1 for n in (50, 51)}


def pydicom_frame(stored: StoredImage, frame: int) -> np.ndarray | None:
    """What pydicom decodes, in RGB if it is in colour; None if it cannot."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        decoder = get_decoder(stored.whole.file_meta.TransferSyntaxUID)
        return decoder.as_array(stored.whole, index=frame, raw=False)[0]
    except (ValueError, RuntimeError, NotImplementedError, AttributeError):
        return None


@cache
def is_decoded_by_pydicom(path: Path) -> bool:
    return pydicom_frame(read_or_skip(path), 0) is not None


def is_as_pydicom_decodes(stored: StoredImage, frame: int) -> bool:
    expected = pydicom_frame(stored, frame)
    assert expected is not None
    decoded = decode_frame(stored.frames[frame], stored.description)
    pixels = decoded.pixels
    assert pixels.dtype == expected.dtype.newbyteorder("=")
    if decoded.image.photometric.startswith("YBR"):
        pixels = convert_color_space(pixels, "YBR_FULL", "RGB")
    difference = np.abs(pixels.astype(np.float64) - expected.astype(np.float64))
    return bool(np.nan_to_num(difference).max() <= TOLERANCE.get(stored.syntax, 0))


@pytest.mark.filterwarnings("ignore")
@corpus.by_file
def test_first_and_last_frames_of_the_corpus_are_those_that_pydicom_decodes(path: Path) -> None:
    stored = read_or_skip(path)
    if not is_decoded_by_pydicom(path):
        pytest.skip("is not decoded by pydicom")
    assert all(is_as_pydicom_decodes(stored, frame) for frame in {0, len(stored.frames) - 1})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", corpus.FILES, ids=lambda path: path.name)
def test_all_frames_of_the_corpus_are_those_that_pydicom_decodes(path: Path) -> None:
    stored = read_or_skip(path)
    if len(stored.frames) < 3 or not is_decoded_by_pydicom(path):
        pytest.skip("has no more frames, or is not decoded by pydicom")
    assert all(is_as_pydicom_decodes(stored, frame) for frame in range(len(stored.frames)))


@pytest.mark.filterwarnings("ignore")
@corpus.by_file
def test_files_that_pydicom_does_not_decode_are_decoded_or_refused(path: Path) -> None:
    stored = read_or_skip(path)
    if is_decoded_by_pydicom(path):
        pytest.skip("is decoded by pydicom")
    try:
        decoded = decode_frame(stored.frames[0], stored.description)
    except (NotAcceptableError, NotFoundError):
        return
    assert decoded.pixels.shape == stored.description.shape


def test_a_deflated_frame_is_inflated() -> None:
    frame = noise(describe())
    deflated = zlib.compressobj(wbits=-15)
    content = deflated.compress(frame.pixels.tobytes()) + deflated.flush()
    decoded = decode_frame(StoredFrame(content, DEFLATED_IMAGE_FRAME), frame.image)
    assert np.array_equal(decoded.pixels, frame.pixels)


def test_a_deflated_bomb_is_inflated_no_further_than_its_frame() -> None:
    deflated = zlib.compressobj(wbits=-15)
    content = deflated.compress(bytes(1 << 26)) + deflated.flush()
    image = describe()
    decoded = decode_frame(StoredFrame(content, DEFLATED_IMAGE_FRAME), image)
    assert decoded.pixels.nbytes == image.frame_length


@pytest.mark.parametrize("syntax", [JPEG_BASELINE, JPEG_LS, JPEG_2000, HTJ2K])
def test_a_large_frame_of_next_to_no_bytes_is_refused(syntax: str) -> None:
    small = encode_frame(smooth(describe(201, 200)), syntax).content
    is_jpeg = syntax in {JPEG_BASELINE, JPEG_LS}
    before, after = (
        pack(">HH", rows, columns) if is_jpeg else pack(">II", columns, rows)
        for rows, columns in ((201, 200), (16_001, 16_000))
    )
    assert before in small
    bomb = StoredFrame(small.replace(before, after), syntax)
    with pytest.raises(NotAcceptableError, match="too short"):
        decode_frame(bomb, describe(16_001, 16_000))


@pytest.mark.parametrize("syntax", [JPEG_LS, JPEG_2000, HTJ2K])
@pytest.mark.parametrize("kind", [{**GRAY, "bits_allocated": 16}, RGB], ids=["gray", "rgb"])
def test_an_empty_frame_as_large_as_real_ones_are_is_decoded(
    syntax: str, kind: dict[str, Any]
) -> None:
    image = describe(4096, 4096, **kind)
    encoded = encode_frame(Frame(np.zeros(image.shape, image.dtype), image), syntax)
    assert len(encoded.content) < 10_000
    assert not decode_frame(StoredFrame(encoded.content, syntax), encoded.image).pixels.any()


def test_a_damaged_deflated_frame_is_refused() -> None:
    with pytest.raises(NotAcceptableError, match="damaged"):
        decode_frame(StoredFrame(b"\xff" * 40, DEFLATED_IMAGE_FRAME), describe())


@pytest.mark.parametrize("syntax", [JPEG_BASELINE, JPEG_LS, JPEG_2000])
def test_a_frame_of_another_size_than_its_image_is_refused(syntax: str) -> None:
    content = encode_frame(noise(describe(200, 200)), syntax).content
    with pytest.raises(NotAcceptableError, match="size"):
        decode_frame(StoredFrame(content, syntax), describe(100, 200))


@pytest.mark.parametrize("syntax", [JPEG_LS, JPEG_2000])
def test_a_frame_of_more_bits_than_its_image_is_refused(syntax: str) -> None:
    content = encode_frame(noise(describe(bits_allocated=16)), syntax).content
    with pytest.raises(NotAcceptableError, match="bits"):
        decode_frame(StoredFrame(content, syntax), describe())


@pytest.mark.parametrize("syntax", [JPEG_LS, JPEG_2000, "1.2.840.10008.1.2.4.70"])
def test_a_frame_that_is_cut_short_is_refused(syntax: str) -> None:
    content = encode_frame(noise(describe(64, 64)), syntax).content
    with pytest.raises(NotAcceptableError):
        decode_frame(StoredFrame(content[:60], syntax), describe(64, 64))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.102", "1.2.3.4"])
def test_video_and_private_syntaxes_are_refused(syntax: str) -> None:
    with pytest.raises(NotAcceptableError, match="not decoded here"):
        decode_frame(StoredFrame(b"\0" * 64, syntax), describe())


def test_compressed_floating_point_is_refused() -> None:
    image = describe(bits_allocated=32, is_float=True)
    with pytest.raises(NotAcceptableError):
        decode_frame(StoredFrame(b"\0" * 64, JPEG_2000), image)


def test_a_jfif_frame_in_color_is_ybr_even_where_the_image_says_rgb() -> None:
    rgb = describe(16, 16, **RGB)
    encoded = encode_frame(noise(rgb), JPEG_BASELINE)
    by_name = decode_frame(StoredFrame(encoded.content, JPEG_BASELINE), encoded.image)
    mislabelled = decode_frame(StoredFrame(encoded.content, JPEG_BASELINE), rgb)
    assert np.array_equal(by_name.pixels, mislabelled.pixels)
    assert mislabelled.image.photometric == "RGB"


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_a_frame_of_as_many_rows_and_columns_as_samples_keeps_its_order(photometric: str) -> None:
    frame = noise(describe(3, 3, samples_per_pixel=3, photometric=photometric))
    encoded = encode_frame(frame, HTJ2K)
    decoded = decode_frame(StoredFrame(encoded.content, HTJ2K), encoded.image)
    assert np.array_equal(decoded.pixels, frame.pixels)
