from array import array
from io import BytesIO
from pathlib import Path
from struct import pack

import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from shared.dicom.frames import (
    EncapsulatedFrames,
    Fragments,
    FramePositions,
    NativeFrames,
    encapsulated_frames,
    from_json,
    native_frames,
)
from shared.dicom.header import Header, NeedsPydicom
from shared.dicom.part10 import Part10Scanner, scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.errors import InvalidInstanceError
from tests import builders
from tests.shared.dicom import corpus


def frames_of(header: Header, content: bytes) -> list[bytes]:
    assert header.frames is not None
    return [
        b"".join(
            content[part.offset : part.offset + part.length]
            for part in header.frames.range_of(frame)
        )
        for frame in range(header.frames.count)
    ]


def scanned(path: Path) -> tuple[Header, bytes]:
    content = path.read_bytes()
    try:
        return scan(content), content
    except (NeedsPydicom, InvalidInstanceError):
        pytest.skip("is not read by the scanner")


@pytest.mark.filterwarnings("ignore")
@corpus.by_file
def test_encapsulated_frames_are_those_that_pydicom_finds(path: Path) -> None:
    header, content = scanned(path)
    if header.pixel_data is None or header.pixel_data.length is not None:
        pytest.skip("has no encapsulated pixel data")
    dataset = pydicom.dcmread(path, force=True)
    tables = (dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths"))
    expected = generate_frames(
        dataset.PixelData,
        number_of_frames=int(dataset.get("NumberOfFrames") or 1),
        extended_offsets=tables if tables[0] else None,
    )
    assert frames_of(header, content) == list(expected)


@pytest.mark.filterwarnings("ignore")
@corpus.by_file
def test_native_frames_cut_the_pixel_data_evenly(path: Path) -> None:
    header, content = scanned(path)
    frames = header.frames
    if not isinstance(frames, NativeFrames) or frames.frame_bits % 8:
        pytest.skip("has no native frames of whole bytes")
    dataset = pydicom.dcmread(path, force=True)
    value = next(
        dataset[keyword].value
        for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
        if keyword in dataset
    )
    joined = b"".join(frames_of(header, content))
    assert value.startswith(joined)
    assert len(joined) == frames.count * frames.frame_bits // 8


def test_frames_of_one_bit_pixels_share_the_bytes_at_their_borders() -> None:
    frames = NativeFrames(offset=100, frame_bits=9, count=3)
    assert [frames.range_of(n)[0] for n in range(3)] == [(100, 2), (101, 2), (102, 2)]
    assert [frames.bit_offset(n) for n in range(3)] == [0, 1, 2]


def test_a_frame_that_is_cut_off_does_not_exist() -> None:
    content = builders.part10(builders.image(frames=4))
    header = scan(content[:-1])
    assert header.is_truncated
    assert header.frames is not None
    assert header.frames.count == 3
    with pytest.raises(IndexError):
        header.frames.range_of(3)


def _read(content: bytes, syntax: str) -> Header:
    if syntax == ExplicitVRLittleEndian:
        return scan(content)
    return read_with_pydicom(BytesIO(content))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("missing", [1, 512, 1023])
def test_a_value_that_is_cut_off_is_as_long_as_what_is_there(syntax: str, missing: int) -> None:
    content = builders.part10(builders.image(rows=16, columns=16, frames=2), syntax)
    whole = _read(content, syntax).bulk_values[0]
    header = _read(content[:-missing], syntax)
    (bulk,) = header.bulk_values
    assert header.is_truncated
    assert (bulk.offset, bulk.length) == (whole.offset, 1024 - missing)
    assert bulk.element is header.document["7FE00010"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_value_of_which_nothing_is_there_has_no_reference(syntax: str) -> None:
    content = builders.part10(builders.image(rows=16, columns=16, frames=2), syntax)
    header = _read(content[:-1024], syntax)
    assert header.is_truncated
    assert header.bulk_values == ()
    assert header.document["7FE00010"].keys() == {"vr"}


def test_other_values_that_are_cut_off_are_as_long_as_what_is_there() -> None:
    source = builders.dataset(EncapsulatedDocument=bytes(4096))
    header = read_with_pydicom(BytesIO(builders.part10(source)[:-96]))
    assert header.is_truncated
    assert header.bulk_values[0].length == 4000


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("missing", [1, 5])
def test_a_file_that_ends_inside_a_short_value_is_known_to(syntax: str, missing: int) -> None:
    content = builders.part10(builders.dataset(TextString="content"), syntax)
    assert not read_with_pydicom(BytesIO(content)).is_truncated
    assert read_with_pydicom(BytesIO(content[:-missing])).is_truncated


def test_a_file_that_ends_inside_a_value_of_an_item_is_known_to() -> None:
    item = pydicom.Dataset()
    item.TextString = "content"
    content = builders.part10(builders.dataset(OtherPatientIDsSequence=[item]))
    end = content.index(b"content") + 3
    assert read_with_pydicom(BytesIO(content[:end])).is_truncated


@pytest.mark.parametrize(
    "described",
    [
        {"00280010": 0},
        {"00280010": "many"},
        {"00280010": 70_000},
        {"00280100": 7},
        {"00280008": 0},
        {"00280008": -1},
        {"00280008": "1A"},
    ],
)
def test_an_image_that_is_not_described_has_no_frames(described: dict[str, object]) -> None:
    whole = {"00280010": 4, "00280011": 4, "00280100": 8, "00280008": 2} | described
    document = {tag: {"vr": "US", "Value": [number]} for tag, number in whole.items()}
    assert native_frames(document, "PixelData", 0, 32) is None


def test_a_dimension_bomb_has_no_frames_that_are_not_there() -> None:
    document = {
        tag: {"vr": "US", "Value": [number]}
        for tag, number in {
            "00280010": 65535,
            "00280011": 65535,
            "00280100": 64,
            "00280002": 65535,
            "00280008": 2**31 - 1,
        }.items()
    }
    frames = native_frames(document, "PixelData", 0, 1000)
    assert frames is not None
    assert frames.count == 0


def encapsulated(frames: list[bytes], **how: int | bool) -> bytes:
    dataset = builders.image(frames=len(frames))
    dataset.PixelData = encapsulate(frames, **how)  # type: ignore[arg-type]
    dataset["PixelData"].VR = "OB"
    return builders.part10(dataset, JPEGBaseline8Bit)


FRAMES = [bytes([65 + n]) * (20 + 2 * n) + b"\xff\xd9" for n in range(5)]


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("has_bot", [True, False])
@pytest.mark.parametrize("size", [1, 10, 100_000])
def test_frames_in_several_fragments_are_put_together(
    fragments: int, size: int, *, has_bot: bool
) -> None:
    content = encapsulated(FRAMES, fragments_per_frame=fragments, has_bot=has_bot)
    scanner = Part10Scanner()
    for at in range(0, len(content), size):
        scanner.feed(content[at : at + size])
    found = frames_of(scanner.finish(), content)
    assert [frame.rstrip(b"\0") for frame in found] == FRAMES


def test_fragments_that_cannot_be_told_apart_give_no_frames() -> None:
    frames = [bytes(20) for _ in range(5)]
    content = encapsulated(frames, fragments_per_frame=2, has_bot=False)
    assert scan(content).frames is None


def test_the_extended_offset_table_tells_the_real_length_of_frames() -> None:
    frames = [b"\xff\xd8" + bytes([n]) * (11 + n) for n in range(4)]
    dataset = builders.image(frames=4)
    dataset.PixelData, dataset.ExtendedOffsetTable, _ = encapsulate_extended(frames)
    dataset.ExtendedOffsetTableLengths = pack("<4Q", *map(len, frames))
    dataset["PixelData"].VR = "OB"
    content = builders.part10(dataset, RLELossless)
    assert frames_of(scan(content), content) == frames


def fragments(*lengths: int, basic_offsets: bytes = b"") -> Fragments:
    gathered = Fragments()
    gathered.basic_offsets = basic_offsets
    at = 1000
    for length in lengths:
        gathered.add(at, length, b"")
        at += length + 8
    return gathered


@pytest.mark.parametrize("offset", [1, 17, 2**32 - 1])
def test_an_offset_table_that_points_elsewhere_is_not_trusted(offset: int) -> None:
    table = (0).to_bytes(4, "little") + offset.to_bytes(4, "little")
    assert encapsulated_frames(fragments(8, 8, 8, basic_offsets=table), 2) is None


@pytest.mark.parametrize("length", [0, 6, 9, 2**63])
def test_an_extended_length_beyond_its_fragment_is_not_trusted(length: int) -> None:
    tables = (bytes(8) + (16).to_bytes(8, "little"), length.to_bytes(8, "little") * 2)
    frames = encapsulated_frames(fragments(8, 8), 2, extended=tables)
    assert frames is not None
    assert frames.range_of(0) == ((1000, 8),)


def test_a_video_is_one_frame() -> None:
    frames = encapsulated_frames(fragments(8), 500, is_video=True)
    assert frames is not None
    assert frames.count == 1
    assert frames.range_of(0) == ((1000, 8),)


@pytest.mark.parametrize(
    "frames",
    [
        NativeFrames(1234, 8 * 512 * 512 * 2, 2000),
        EncapsulatedFrames(99, array("I", [10, 20, 30])),
        EncapsulatedFrames(99, array("I", [10, 20, 30]), array("I", [0, 1, 3]), b"\0\1"),
    ],
)
def test_positions_survive_being_written_and_read(frames: FramePositions) -> None:
    assert from_json(frames.to_json()) == frames
    assert from_json(frames.to_json()).range_of(1) == frames.range_of(1)


def test_positions_of_a_large_image_are_compact() -> None:
    frames = EncapsulatedFrames(5000, array("I", [40_000] * 100_000))
    assert len(frames.to_json()) < 550_000
    assert frames.range_of(99_999) == ((5000 + 99_999 * 40_008, 40_000),)


def test_the_scanner_skips_fragments_without_looking_at_them() -> None:
    content = encapsulated([bytes(200_000)] * 3)
    scanner = Part10Scanner()
    at = content.index(b"\xe0\x7f\x10\x00") + 4000
    scanner.feed(content[:at])
    assert scanner.skippable > 100_000
