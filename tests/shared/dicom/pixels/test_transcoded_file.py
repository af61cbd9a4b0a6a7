import logging
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.filebase import DicomBytesIO

from shared.dicom.pixels import transcoded_file
from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.encode import TARGETS
from shared.dicom.pixels.image import Frame, ImageDescription, StoredFrame
from shared.dicom.pixels.transcoded_file import transcode_file
from shared.errors import NotAcceptableError, NotFoundError
from tests import builders
from tests.shared.dicom import corpus
from tests.shared.dicom.pixels.stored_images import StoredImage, read, read_or_skip

EXPLICIT, RLE, BASELINE = (f"1.2.840.10008.1.2.{n}" for n in ("1", "5", "4.50"))
BIG_ENDIAN, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.{n}" for n in ("2", "4.80", "4.90"))
# What says how pixels are coded changes with their coding.
OF_THE_CODING = {0x00280004, 0x00280006, 0x00280102, 0x7FE00010}
OF_THE_LOSS = {0x00282110, 0x00282112, 0x00282114}


def transcoded(stored: StoredImage, target: str, **keywords: Any) -> bytes:
    chunks = transcode_file(
        stored.dataset, stored.frames, target, pixel_data=stored.pixel_data, **keywords
    )
    return b"".join(chunks)


def image(syntax: str = EXPLICIT, **keywords: Any) -> StoredImage:
    dataset = builders.image(**{"frames": 3, **keywords})
    return read(builders.part10(dataset, syntax))


def as_json(dataset: Dataset) -> dict[int, Any]:
    """A data set in the JSON model, element by element; what pydicom cannot say is left out."""
    found = {}
    for tag in dataset.keys() - OF_THE_CODING:
        try:
            if tag.element and tag not in (0x7FE00001, 0x7FE00002):
                found[int(tag)] = dataset[tag].to_json_dict(None, 0)
        except Exception:  # noqa: BLE001, S112 - whatever pydicom does not read is not compared
            continue
    return found


@dataclass(frozen=True)
class Meaning:
    """What a file says in any syntax: its data set, and its first frames."""

    elements: dict[int, Any]
    frames: list[Frame]


def meaning(stored: StoredImage) -> Meaning:
    description = stored.description
    frames = [decode_frame(frame, description) for frame in stored.frames[:4]]
    return Meaning(as_json(stored.whole), frames)


def check(stored: StoredImage, target: str, expected: Meaning) -> None:
    """The file in another syntax is read by pydicom as the one it came from."""
    again = read(transcoded(stored, target))
    assert str(again.whole.file_meta.TransferSyntaxUID) == target
    assert len(again.frames) == stored.description.number_of_frames
    found = meaning(again)
    if target == BASELINE:
        lossless = expected.elements.keys() - OF_THE_LOSS
        assert found.elements.keys() - OF_THE_LOSS == lossless
        assert all(found.elements[tag] == expected.elements[tag] for tag in lossless)
        return
    assert found.elements == expected.elements
    for after, before in zip(found.frames, expected.frames, strict=True):
        assert np.array_equal(after.pixels, before.pixels, equal_nan=after.image.is_float)
        assert after.image.photometric == before.image.photometric


def has_room(image: ImageDescription, target: str) -> bool:
    """Whether a target has room for such an image; all that are decoded have it in explicit VR."""
    if target == EXPLICIT:
        return True
    if image.is_float or image.bits_allocated == 1:
        return False
    if target == RLE:
        return image.bits_allocated * image.samples_per_pixel <= 15 * 8
    if target == BASELINE:
        is_palette = image.photometric == "PALETTE COLOR"
        return image.bits_stored == 8 and not image.is_signed and not is_palette
    return image.bits_allocated <= 16


def sweep(path: Path, targets: Iterable[str]) -> None:
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    stored = read_or_skip(path)
    try:
        expected = meaning(stored)
        for frame in stored.frames[4:]:
            decode_frame(frame, stored.description)
    except (NotAcceptableError, NotFoundError):
        pytest.skip("is not decoded")
    if len(stored.frames) != stored.description.number_of_frames:
        with pytest.raises(NotAcceptableError, match="as many frames"):
            transcoded(stored, EXPLICIT)
        return
    for target in targets:
        if has_room(expected.frames[0].image, target):
            check(stored, target, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", corpus.FILES, ids=lambda path: path.name)
def test_files_of_the_corpus_mean_the_same_in_every_target(path: Path) -> None:
    sweep(path, sorted(TARGETS))


@pytest.mark.parametrize("target", sorted(TARGETS - {BASELINE}))
def test_an_instance_of_several_frames_means_the_same_in_every_target(target: str) -> None:
    stored = image()
    check(stored, target, meaning(stored))


def test_file_meta_information_names_the_writer_and_keeps_the_rest() -> None:
    stored = image()
    stored.dataset.file_meta.SourceApplicationEntityTitle = "MODALITY"
    again = pydicom.dcmread(BytesIO(transcoded(stored, RLE)))
    assert again.file_meta.ImplementationVersionName == "DICOM-FUNCTIONS"
    assert again.file_meta.SourceApplicationEntityTitle == "MODALITY"
    assert again.preamble == bytes(128)
    assert again.file_meta.FileMetaInformationGroupLength == len(_meta_bytes(again))


def _meta_bytes(dataset: Dataset) -> bytes:
    written = DicomBytesIO()
    pydicom.filewriter.write_file_meta_info(written, dataset.file_meta)
    return written.getvalue()[12:]


def test_the_data_set_of_the_caller_is_left_alone() -> None:
    stored = image()
    before = stored.dataset.to_json()
    transcoded(stored, JPEG_2000)
    assert stored.dataset.to_json() == before


def test_the_basic_offset_table_tells_where_each_frame_is() -> None:
    again = pydicom.dcmread(BytesIO(transcoded(image(), JPEG_LS)))
    offsets = parse_basic_offsets(again.PixelData)
    frames = list(generate_frames(again.PixelData, number_of_frames=3))
    assert offsets == [0, 8 + len(frames[0]), 16 + len(frames[0]) + len(frames[1])]
    assert all(len(frame) % 2 == 0 for frame in frames)


def test_the_basic_offset_table_is_empty_where_frames_are_too_many_to_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transcoded_file, "MAX_HELD_LENGTH", 300)
    stored = image()
    check(stored, JPEG_LS, meaning(stored))
    again = pydicom.dcmread(BytesIO(transcoded(stored, JPEG_LS)))
    assert parse_basic_offsets(again.PixelData) == []


def test_a_stream_holds_one_frame_at_a_time() -> None:
    stored, asked = image(), list[int]()

    def frames() -> Iterable[StoredFrame]:
        for number, frame in enumerate(stored.frames):
            asked.append(number)
            yield frame

    chunks = transcode_file(stored.dataset, frames(), EXPLICIT, pixel_data=stored.pixel_data)
    assert asked == []
    next(chunks)
    assert asked == [0]


def test_loss_is_told_after_what_was_told_before() -> None:
    dataset = builders.image(rows=64, columns=64)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = bytes(4096)
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = "5"
    dataset.LossyImageCompressionMethod = "ISO_14495_1"
    again = pydicom.dcmread(BytesIO(transcoded(read(builders.part10(dataset)), BASELINE)))
    assert again.LossyImageCompression == "01"
    assert list(again.LossyImageCompressionMethod) == ["ISO_14495_1", "ISO_10918_1"]
    first, second = again.LossyImageCompressionRatio
    assert first == 5
    assert second > 5


def test_a_lossless_target_tells_of_no_loss() -> None:
    again = pydicom.dcmread(BytesIO(transcoded(image(), JPEG_2000)))
    assert "LossyImageCompression" not in again


def test_words_of_a_big_endian_header_are_turned_around() -> None:
    stored = image(BIG_ENDIAN)
    table = Dataset()
    table.LUTDescriptor = [2, 0, 16]
    table.add_new(0x00283006, "OW", b"\1\2\3\4")
    stored.dataset.ModalityLUTSequence = [table]
    again = pydicom.dcmread(BytesIO(transcoded(stored, RLE)))
    assert again.ModalityLUTSequence[0].LUTData == b"\2\1\4\3"
    assert table.LUTData == b"\1\2\3\4"


def test_overlays_in_the_pixels_are_never_lost() -> None:
    stored = image()
    stored.dataset.add_new(0x60000102, "US", 12)
    with pytest.raises(NotAcceptableError, match="overlays"):
        transcoded(stored, RLE)
    assert transcoded(stored, EXPLICIT)


def test_offset_tables_of_the_stored_syntax_are_left_out() -> None:
    stored = image()
    stored.dataset.add_new(0x7FE00001, "OV", bytes(24))
    stored.dataset.add_new(0x7FE00002, "OV", bytes(24))
    again = pydicom.dcmread(BytesIO(transcoded(stored, RLE)))
    assert "ExtendedOffsetTable" not in again


def test_what_follows_the_pixel_data_is_kept() -> None:
    stored = image()
    stored.dataset.add_new(0xFFFCFFFC, "OB", b"\0\0")
    again = pydicom.dcmread(BytesIO(transcoded(stored, RLE)))
    assert again[0xFFFCFFFC].value == b"\0\0"


@pytest.mark.parametrize("header", [b"\0\x10\x10\x30DS", b"\xff\xfc\xff\xfcOB"])
def test_an_attribute_that_cannot_be_read_is_told_of_before_the_first_bytes(header: bytes) -> None:
    dataset = builders.image(PatientWeight="70")
    dataset.add_new(0xFFFCFFFC, "OB", b"\0\0")
    content = builders.part10(dataset, BIG_ENDIAN)
    assert content.count(header) == 1
    stored = read(content.replace(header, header[:4] + b"UZ"))
    pieces = transcode_file(stored.dataset, stored.frames, RLE, pixel_data=stored.pixel_data)
    with pytest.raises(NotAcceptableError, match="attribute"):
        next(pieces)


@pytest.mark.parametrize("count", [0, 2, 4])
@pytest.mark.parametrize("target", [EXPLICIT, RLE])
def test_another_number_of_frames_than_declared_is_refused(count: int, target: str) -> None:
    stored = image()
    frames = stored.frames * 2
    with pytest.raises(NotAcceptableError, match="as many frames"):
        b"".join(transcode_file(stored.dataset, frames[:count], target))


def test_frames_of_single_bits_are_joined_without_gaps() -> None:
    dataset = builders.image(rows=3, columns=3, frames=5)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    bits = np.random.default_rng(1).integers(0, 2, 45, dtype=np.uint8)
    dataset.PixelData = np.packbits(bits, bitorder="little").tobytes()
    again = pydicom.dcmread(BytesIO(transcoded(read(builders.part10(dataset)), EXPLICIT)))
    assert np.array_equal(
        np.unpackbits(np.frombuffer(again.PixelData, np.uint8), bitorder="little")[:45], bits
    )


def test_native_pixel_data_longer_than_its_length_field_is_refused() -> None:
    stored = image(frames=1)
    stored.dataset.NumberOfFrames = 2**31 - 1
    with pytest.raises(NotAcceptableError, match="too long"):
        b"".join(transcode_file(stored.dataset, stored.frames, EXPLICIT))
