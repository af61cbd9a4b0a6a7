import contextlib
import io
import mmap
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from struct import pack
from typing import Any

import pydicom
import pytest
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from shared.dicom.composition import Bulk, BulkPart, bulk_references, compose
from shared.dicom.header import Header, NeedsPydicom
from shared.dicom.json_model import Document
from shared.dicom.part10 import scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.dicom.transfer_syntax import EXPLICIT_VR_BIG_ENDIAN, transfer_syntax
from shared.errors import InvalidInstanceError
from tests.shared.dicom import corpus, data_sets
from tests.shared.dicom.properties import for_any

EXPLICIT = "1.2.840.10008.1.2.1"
PIXEL_DATA = "7FE00010"
KEYWORDS = {"7FE00008": "FloatPixelData", "7FE00009": "DoubleFloatPixelData"} | {
    PIXEL_DATA: "PixelData"
}
WORDS = {"OW": "H", "OF": "I", "OL": "I", "OD": "Q", "OV": "Q"}


def read(content: bytes) -> Header:
    try:
        return scan(content)
    except NeedsPydicom:
        return read_with_pydicom(io.BytesIO(content))


def plain(header: Header, content: bytes) -> bytes:
    """The file as the positions in its header count: inflated."""
    if not header.is_inflated:
        return content
    meta = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).file_meta
    start = 132 + 12 + meta.FileMetaInformationGroupLength
    return content[:start] + zlib.decompress(content[start:], -zlib.MAX_WBITS)


def bulk_of(header: Header, content: bytes) -> Bulk:
    """The parts that a client would send of a file, each value being its own memory."""
    content = plain(header, content)
    syntax = transfer_syntax(header.transfer_syntax_uid)
    bulk: dict[str, list[BulkPart]] = {}
    for value in header.bulk_values:
        raw = content[value.offset : value.offset + value.length]
        if syntax.uid == EXPLICIT_VR_BIG_ENDIAN and value.element["vr"] in WORDS:
            words = array(WORDS[value.element["vr"]], raw)
            words.byteswap()
            raw = words.tobytes()
        bulk[value.path] = [BulkPart("application/octet-stream", raw)]
    if header.pixel_data and header.pixel_data.length is None and header.frames:
        bulk[PIXEL_DATA] = [
            BulkPart(
                syntax.frame_media_type,
                b"".join(content[r.offset : r.offset + r.length] for r in ranges),
                syntax.uid,
            )
            for ranges in map(header.frames.range_of, range(header.frames.count))
        ]
    return bulk


def composed(document: Document, bulk: Bulk | None = None) -> bytes:
    file = compose(document, bulk or {})
    content = b"".join(file)
    assert len(content) == file.length
    return content


def image(**more: Any) -> Document:
    """A data set of two rows of three 8-bit pixels, in a part "pixels"; `more` by keyword."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 3, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation, dataset.PhotometricInterpretation = 0, "MONOCHROME2"
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    document: Document = dataset.to_json_dict()
    return document | {PIXEL_DATA: {"vr": "OB", "BulkDataURI": "pixels"}}


def undescribed() -> Document:
    return {tag: element for tag, element in image().items() if not tag.startswith("0028")}


def octets(content: bytes, syntax: str | None = None) -> Bulk:
    return {"pixels": [BulkPart("application/octet-stream", content, syntax)]}


def frames_of(name: str) -> tuple[Document, Sequence[BulkPart]]:
    """The document of a compressed file of the corpus, and its frames."""
    content = (corpus.FOLDER / name).read_bytes()
    header = read(content)
    return header.document, bulk_of(header, content)[PIXEL_DATA]


JPEG, JPEG_LS = "s200_jpeg_mf_bot.dcm", "pydicom__MR_small_jpeg_ls_lossless.dcm"
JPEG_2000 = "pydicom__MR_small_jp2klossless.dcm"
RLE, VIDEO = "pydicomdata__emri_small_RLE.dcm", "s270_video_h264_hp41.dcm"

# What the manifest calls valid and yet cannot be made again from parts.
_REFUSED = {
    "pydicom__JPEG2000-embedded-sequence-delimiter.dcm": "more rows or columns",  # So it says.
}
_LOSSY = {"00282110", "00282112", "00282114"}


def as_composed(header: Header) -> Document:
    """The document with what composing is to change: one character set, VRs as PS3.5 has them."""
    document = dict(header.document) | {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
    pixels = document.get(PIXEL_DATA, {})
    if header.pixel_data and header.pixel_data.length is None:
        document[PIXEL_DATA] = pixels | {"vr": "OB"}
    elif pixels and document["00280100"]["Value"][0] > 8:
        document[PIXEL_DATA] = pixels | {"vr": "OW"}
    return document


def rounded(value: Any) -> Any:
    """The same with numbers as 16 characters hold them."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 12) if isinstance(value, float) else value


@corpus.by_file
def test_a_file_of_the_corpus_is_composed_from_its_document_and_bulk_data(path: Path) -> None:
    content = path.read_bytes()
    try:
        header = read(content)
    except InvalidInstanceError:
        assert corpus.expected(path) == "must-refuse"
        return
    try:
        again = composed(header.document, bulk_of(header, content))
    except InvalidInstanceError as error:
        is_refused = path.name in _REFUSED and _REFUSED[path.name] in error.message
        assert is_refused or corpus.expected(path) in {"may-refuse", "must-refuse"}
        return
    result = scan(again)
    document = dict(result.document)
    if "00282110" not in header.document:
        document = {tag: document[tag] for tag in document if tag not in _LOSSY}
    assert list(document) == sorted(document)
    assert rounded(document) == rounded(as_composed(header))
    if header.pixel_data and result.pixel_data:
        key = next(key for key, name in KEYWORDS.items() if name == header.pixel_data.keyword)
        check_pixels(again, result, bulk_of(header, content)[key])


def check_pixels(content: bytes, header: Header, parts: Sequence[BulkPart]) -> None:
    pixels = header.pixel_data
    assert pixels is not None
    if pixels.length is not None:
        held = content[pixels.offset : pixels.offset + pixels.length]
        assert held == bytes(parts[0].content) + bytes(len(parts[0].content) % 2)
        return
    assert header.frames is not None
    assert header.frames.count == len(parts)
    for number, part in enumerate(parts):
        (place,) = header.frames.range_of(number)
        frame = content[place.offset : place.offset + place.length]
        sent = bytes(part.content)
        # Some senders encapsulate whole JP2 files, of which only the codestream is to be kept.
        is_codestream = b"jp2c" in sent and sent.endswith(frame)
        assert frame in (sent, sent + bytes(len(sent) % 2)) or is_codestream


@pytest.mark.parametrize("name", [JPEG, JPEG_LS, JPEG_2000, RLE, "pydicom__image_dfl.dcm"])
def test_pydicom_reads_what_is_composed(name: str) -> None:
    content = (corpus.FOLDER / name).read_bytes()
    header = read(content)
    dataset = pydicom.dcmread(io.BytesIO(composed(header.document, bulk_of(header, content))))
    original = pydicom.dcmread(io.BytesIO(content))
    assert dataset.file_meta.MediaStorageSOPInstanceUID == original.SOPInstanceUID
    assert dataset.file_meta.MediaStorageSOPClassUID == original.SOPClassUID
    assert dataset.PatientName == original.PatientName
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        assert dataset.PixelData == original.PixelData
        return
    count = int(original.get("NumberOfFrames", 1))
    ours = [*generate_frames(dataset.PixelData, number_of_frames=count)]
    assert ours == [*generate_frames(original.PixelData, number_of_frames=count)]


@for_any(60, file=data_sets.files())
def test_any_document_is_encoded_as_it_reads(file: tuple[bytes, Document]) -> None:
    document = {tag: e for tag, e in image().items() if tag.startswith("0008")} | file[1]
    document["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    document |= {tag: image()[tag] for tag in ("00080016", "00080018")}
    content = composed(document)
    assert scan(content).document == document
    assert read_with_pydicom(io.BytesIO(content)).document == document


def test_text_is_utf_8_whatever_the_metadata_says() -> None:
    name = {"vr": "PN", "Value": [{"Alphabetic": "Ωmega^山田"}]}
    latin = {"vr": "CS", "Value": ["ISO_IR 100"]}
    content = composed(image() | {"00080005": latin, "00100010": name}, octets(bytes(6)))
    dataset = pydicom.dcmread(io.BytesIO(content))
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == "Ωmega^山田"


def test_tags_are_put_in_order_and_group_lengths_and_file_meta_left_out() -> None:
    outside: Document = {
        "00100020": {"vr": "LO", "Value": ["P"]},
        "00100000": {"vr": "UL", "Value": [8]},
        "00020010": {"vr": "UI", "Value": ["1.2"]},
        **undescribed(),
        "00090010": {"vr": "LO", "Value": ["ACME"]},
    }
    del outside[PIXEL_DATA]
    header = scan(composed(outside))
    assert [*header.document] == ["00080005", "00080016", "00080018", "00090010", "00100020"]
    assert header.transfer_syntax_uid == EXPLICIT


def test_a_long_value_is_handed_on_and_not_copied() -> None:
    pixels = bytes(1000 * 1000)
    file = compose(image(Rows=1000, Columns=1000), octets(pixels))
    assert any(chunk is pixels for chunk in file)
    assert file.length - len(pixels) < 2000


def test_a_frame_may_be_a_view_of_a_larger_memory() -> None:
    document, parts = frames_of(JPEG)
    views = [BulkPart(p.media_type, memoryview(b"x" + bytes(p.content))[1:]) for p in parts]
    uri = document[PIXEL_DATA]["BulkDataURI"]
    assert composed(document, {uri: views}) == composed(document, {uri: parts})


def test_several_frames_have_an_offset_table() -> None:
    document, parts = frames_of(JPEG)
    content = composed(document, {PIXEL_DATA: parts})
    header = scan(content)
    assert header.pixel_data is not None
    start = header.pixel_data.offset
    length = int.from_bytes(content[start + 4 : start + 8], "little")
    assert length == 4 * len(parts) > 4
    assert header.frames is not None
    assert header.frames.count == len(parts)


def test_an_extended_offset_table_is_made_anew() -> None:
    document, parts = frames_of("s204_extended_offset_table.dcm")
    stale = document | {"7FE00001": {"vr": "OV", "InlineBinary": "AAAAAAAAAAA="}}
    dataset = pydicom.dcmread(io.BytesIO(composed(stale, {PIXEL_DATA: parts})))
    tables = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    found = [*generate_frames(dataset.PixelData, extended_offsets=tables)]
    assert found == [part.content for part in parts]


def test_a_number_of_frames_that_is_not_told_is_counted() -> None:
    document, parts = frames_of(JPEG)
    untold = {tag: element for tag, element in document.items() if tag != "00280008"}
    header = scan(composed(untold, {PIXEL_DATA: parts}))
    assert header.document["00280008"] == {"vr": "IS", "Value": [len(parts)]}


_DESCRIPTION = ("00280002", "00280004", "00280006", "00280010", "00280011")
_DEPTH = ("00280100", "00280101", "00280102", "00280103")
# Images whose metadata and codestream tell different things, both true.
_TOLD_OTHERWISE = {
    ("msdicom__JPEGProcess2_4.dcm", "00280004"),  # RGB once decoded, YBR_FULL_422 in the stream.
    ("msdicom__layer9.dcm", "00280004"),
    ("pydicomdata__HTJ2KLossless_08_RGB.dcm", "00280004"),
    ("pydicomdata__HTJ2K_08_RGB.dcm", "00280004"),
    ("pydicom__693_J2KI.dcm", "00280101"),  # 14 bits in a stream of 16.
    ("pydicom__693_J2KI.dcm", "00280102"),
    ("pydicom__J2K_pixelrep_mismatch.dcm", "00280103"),
    ("pydicom__MR_small_jpeg_ls_lossless.dcm", "00280103"),  # JPEG-LS knows no sign.
    ("pydicomdata__JLSL_16_15_1_1F.dcm", "00280103"),
    ("pydicomdata__liver_nonbyte_aligned_j2k.dcm", "00280100"),  # One bit, in bytes once decoded.
}
_IN_OTHER_SYNTAX = {
    "msdicom__JPEGProcess2_4.dcm": "1.2.840.10008.1.2.4.50",  # A baseline stream declared extended.
    "pydicom__693_J2KI.dcm": "1.2.840.10008.1.2.4.90",  # Reversible, declared as perhaps not.
}
_WITH_HEADERS = ("image/jpeg", "image/jls", "image/jp2", "image/jphc")


def test_the_description_of_a_compressed_image_is_derived_from_it() -> None:
    wrong, described = set(), 0
    for path in corpus.FILES:
        if corpus.expected(path) != "ok" or path.name in _REFUSED:
            continue
        content = path.read_bytes()
        header = read(content)
        if transfer_syntax(header.transfer_syntax_uid).frame_media_type not in _WITH_HEADERS:
            continue
        bare = {t: e for t, e in header.document.items() if t not in _DESCRIPTION + _DEPTH}
        bulk = dict(bulk_of(header, content))
        bulk[PIXEL_DATA] = [BulkPart(part.media_type, part.content) for part in bulk[PIXEL_DATA]]
        derived = scan(composed(bare, bulk))
        assert derived.transfer_syntax_uid == _IN_OTHER_SYNTAX.get(
            path.name, header.transfer_syntax_uid
        )
        described += 1
        wrong |= {
            (path.name, tag)
            for tag in _DESCRIPTION + _DEPTH
            if derived.document.get(tag) != header.document.get(tag)
        }
    assert wrong == _TOLD_OTHERWISE
    assert described > 25


def test_loss_by_the_coding_is_told() -> None:
    document, parts = frames_of(JPEG)
    told = scan(composed(document, {PIXEL_DATA: parts})).document
    assert told["00282110"]["Value"] == ["01"]
    assert told["00282114"]["Value"] == ["ISO_10918_1"]
    native = 1
    for tag in ("00280002", "00280008", "00280010", "00280011"):
        native *= told[tag]["Value"][0]
    ratio = native / sum(len(part.content) for part in parts)
    assert told["00282112"]["Value"] == [pytest.approx(ratio, abs=0.01)]


def test_the_codestream_is_taken_out_of_a_jp2_file() -> None:
    document, (part,) = frames_of(JPEG_2000)
    boxes = JP2 + pack(">I4s4s", 12, b"ftyp", b"jp2 ")
    length = len(part.content)
    for box in (
        pack(">I4s", 0, b"jp2c"),
        pack(">I4s", 8 + length, b"jp2c"),
        pack(">I4sQ", 1, b"jp2c", 16 + length),
    ):
        file = boxes + box + bytes(part.content)
        header = scan(composed(document, {PIXEL_DATA: [BulkPart("image/jp2", file)]}))
        assert header.document == scan(composed(document, {PIXEL_DATA: [part]})).document


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        ("image/jpeg", "1.2.840.10008.1.2.4.50"),
        ("image/jpg", None),
        ("application/octet-stream", "1.2.840.10008.1.2.4.50"),
    ],
)
def test_a_transfer_syntax_may_be_told_in_several_ways(media_type: str, syntax: str | None) -> None:
    document, parts = frames_of(JPEG)
    bulk = {PIXEL_DATA: [BulkPart(media_type, part.content, syntax) for part in parts]}
    assert compose(document, bulk).transfer_syntax_uid == "1.2.840.10008.1.2.4.50"


def test_uncompressed_pixels_are_explicit_little_endian_in_any_native_syntax() -> None:
    for syntax in (None, EXPLICIT, "1.2.840.10008.1.2"):
        assert compose(image(), octets(bytes(6), syntax)).transfer_syntax_uid == EXPLICIT


def test_a_video_is_one_part_that_the_metadata_describes() -> None:
    document, parts = frames_of(VIDEO)
    bulk = {PIXEL_DATA: [BulkPart("video/mp4", parts[0].content)]}
    assert compose(document, bulk).transfer_syntax_uid == "1.2.840.10008.1.2.4.102"
    with pytest.raises(InvalidInstanceError, match="more than one part"):
        compose(document, {PIXEL_DATA: bulk[PIXEL_DATA] * 2})


def test_inline_pixels_are_taken_as_well() -> None:
    inline = image() | {PIXEL_DATA: {"vr": "OB", "InlineBinary": "AQIDBAUG"}}
    assert pydicom.dcmread(io.BytesIO(composed(inline))).PixelData == b"\1\2\3\4\5\6"


def test_values_by_reference_are_found_at_any_depth() -> None:
    item = {"00420011": {"vr": "OB", "BulkDataURI": "http://host/b/1"}}
    document = undescribed() | {"00081140": {"vr": "SQ", "Value": [item]}}
    del document[PIXEL_DATA]
    assert [*bulk_references(document)] == ["http://host/b/1"]
    bulk = {"http://host/b/1": [BulkPart("application/pdf", b"%PDF-")]}
    dataset = pydicom.dcmread(io.BytesIO(composed(document, bulk)))
    assert dataset.ReferencedImageSequence[0].EncapsulatedDocument == b"%PDF-\0"


def test_a_value_too_long_for_its_vr_is_written_as_unknown() -> None:
    document = undescribed() | {"00720078": {"vr": "UL", "BulkDataURI": "long"}}
    del document[PIXEL_DATA]
    long = {"long": [BulkPart("application/octet-stream", bytes(70_000))]}
    header = scan(composed(document, long))
    assert header.document["00720078"]["vr"] == "UN"
    assert header.bulk_values[0].length == 70_000


PROGRESSIVE = bytes.fromhex("ffd8 ffc2000b 08 0002 0003 01 01 11 00 ffda0008 01 01 00 00 3f 00")
BASELINE = PROGRESSIVE.replace(b"\xff\xc2", b"\xff\xc0")
SEGMENTS = bytes.fromhex("ffd8") + bytes.fromhex("ffe00002") * 2000
FILL = bytes.fromhex("ffd8") + b"\xff" * 2000


FOUR_COMPONENTS = BASELINE.replace(b"\0\x0b\x08", b"\0\x14\x08").replace(
    b"\x01\x01\x11\0", b"\x04" + b"\x01\x11\0" * 4
)
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"


def jpeg_2000(  # noqa: PLR0913 - each is a field of the header
    *,
    rows: int = 2,
    depth: int = 7,
    samples: int = 1,
    transform: int = 1,
    reversible: bool = True,
    ht: bool = False,
    without: bytes = b"none",
) -> bytes:
    """The main header of a codestream of two rows of three pixels, up to the first tile."""
    components = bytes([depth, 1, 1]) * samples
    size = pack(">HHIIIIIIIIH", 38 + len(components), 0, 3, rows, 0, 0, 3, 2, 0, 0, samples)
    segments = {
        b"\xff\x51": size + components,
        b"\xff\x50": pack(">HIH", 8, int(ht) << 17, 0),
        b"\xff\x52": pack(">HBBHBBBBBB", 12, 0, 2, 1, transform, 0, 4, 4, 0, int(reversible)),
        b"\xff\x55": pack(">HBBH", 6, 0, 0, 0),
        b"\xff\x90": pack(">HHIBB", 10, 0, 0, 0, 1),
    }
    return b"\xff\x4f" + b"".join(m + s for m, s in segments.items() if m != without)


COMMENTS = jpeg_2000(without=b"\xff\x90") + b"\xff\x64\0\2" * 2000


def floats() -> Document:
    document = image()
    document["7FE00008"] = document.pop(PIXEL_DATA) | {"vr": "OF"}
    return document


def jpeg(content: bytes, syntax: str | None = None) -> Bulk:
    return {"pixels": [BulkPart("image/jpeg", content, syntax)]}


@pytest.mark.parametrize(
    ("document", "bulk", "why"),
    [
        (image(), {}, r"\(7FE0,0010\) refers to bulk data that the request does not hold"),
        (image(), octets(bytes(5)), "shorter"),
        (image(NumberOfFrames=2), octets(bytes(6)), "shorter"),
        (image(Rows=0), octets(bytes(6)), r"\(0028,0010\)"),
        (undescribed(), octets(bytes(6)), r"\(0028,0010\)"),
        (image(), octets(bytes(6), "1.2.840.10008.1.2.2"), "transfer syntax"),
        (image(), octets(bytes(6), "1.2.840.10008.1.2.1.99"), "transfer syntax"),
        (image(), octets(bytes(6), "1.2.3"), "transfer syntax"),
        (image(), octets(bytes(6), "1.2.840.10008.1.2.4.50"), "not what its media type says"),
        (image(), {"pixels": [*octets(bytes(3))["pixels"]] * 2}, "more than one part"),
        (image(), {"pixels": [*octets(b"")["pixels"], *jpeg(b"")["pixels"]]}, "different media"),
        (image(), {"pixels": [BulkPart("image/png", b"\x89PNG")]}, "media type that is not taken"),
        (image(), {"pixels": [BulkPart("image/jxl", b"\xff\x0a")]}, "media type that is not"),
        (image(), {"pixels": [BulkPart("image/dicom-rle", bytes(64))]}, "not what its media type"),
        (undescribed(), {"pixels": [BulkPart("image/dicom-rle", bytes(64))]}, r"\(0028,0010\)"),
        (image(), {"pixels": [BulkPart("image/jp2", jpeg_2000(without=b"\xff\x90"))]}, "ends in"),
        (image(), {"pixels": [BulkPart("image/jls", BASELINE)]}, "not what its media type says"),
        (image(), {"pixels": [BulkPart("image/jp2", BASELINE)]}, "not what its media type says"),
        (image(), jpeg(b"\xff\xd8"), "ends in its header"),
        (image(), jpeg(SEGMENTS), "not what its media type says"),
        (image(), jpeg(FILL), "ends in its header"),
        (image(), {"pixels": [BulkPart("image/jp2", COMMENTS)]}, "not what its media type says"),
        (image(), jpeg(PROGRESSIVE), "Progressive"),
        (image(), jpeg(BASELINE.replace(b"\0\2\0\3", bytes(4))), "how large it is"),
        (image(), jpeg(FOUR_COMPONENTS), "other samples"),
        (image(), {"pixels": [BulkPart("image/jp2", jpeg_2000(depth=16))]}, "other samples"),
        (image(), {"pixels": [BulkPart("image/jp2", jpeg_2000(rows=0))]}, "how large it is"),
        (image(), {"pixels": [BulkPart("image/jp2", jpeg_2000()[:49])]}, "ends in its header"),
        (image(), {"pixels": [BulkPart("image/jp2", jpeg_2000(without=b"\xff\x52"))]}, "not what"),
        (image(), {"pixels": [BulkPart("image/jphc", jpeg_2000())]}, "not what its media type"),
        (image(), {"pixels": [BulkPart("image/jp2", JP2 + pack(">I4s", 4, b"free"))]}, "not what"),
        (
            image(),
            {"pixels": [BulkPart("image/jp2", JP2 + pack(">I4s", 8, b"free") * 1000)]},
            "not",
        ),
        (floats(), {"pixels": [BulkPart("image/jp2", b"")]}, r"\(7FE0,0008\) cannot be compressed"),
        (image(), jpeg(BASELINE, "1.2.840.10008.1.2.4.70"), "coded in another way"),
        (image(), jpeg(BASELINE, "1.2.840.10008.1.2.4.80"), "none of its media type"),
        (image(Rows=3), jpeg(BASELINE), r"\(0028,0010\) is not what the pixel data says"),
        (image(Columns=2), jpeg(BASELINE), r"\(0028,0011\)"),
        (image(SamplesPerPixel=3), jpeg(BASELINE), r"\(0028,0002\)"),
        (image(PhotometricInterpretation="RGB"), jpeg(BASELINE), r"\(0028,0004\)"),
        (image(BitsAllocated=1), jpeg(BASELINE), r"\(0028,0100\)"),
        (image(NumberOfFrames=2), jpeg(BASELINE), r"\(0028,0008\)"),
        (image(LossyImageCompression="00"), jpeg(BASELINE), r"\(0028,2110\)"),
        (image() | {"00080018": {"vr": "UI", "Value": ["x"]}}, octets(bytes(6)), r"\(0008,0018\)"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_its_reason(
    document: Document, bulk: Bulk, why: str
) -> None:
    with pytest.raises(InvalidInstanceError, match=why):
        compose(document, bulk)


def color(samplings: bytes, *, names: bytes = b"\1\2\3", before: bytes = b"") -> bytes:
    """A baseline JPEG of three components."""
    components = b"".join(bytes([name, s, 0]) for name, s in zip(names, samplings, strict=True))
    frame = b"\xff\xc0" + pack(">HBHHB", 17, 8, 2, 3, 3) + components
    scan_header = b"\xff\xda" + pack(">HB", 12, 3) + b"\1\0\2\0\3\0" + b"\0\x3f\0"
    return b"\xff\xd8" + before + frame + scan_header


def adobe(transform: int) -> bytes:
    return b"\xff\xee" + pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, transform)


@pytest.mark.parametrize(
    ("media_type", "frame", "photometric"),
    [
        ("image/jpeg", BASELINE, "MONOCHROME2"),
        ("image/jpeg", color(b"\x11\x11\x11"), "YBR_FULL"),
        ("image/jpeg", color(b"\x21\x11\x11"), "YBR_FULL_422"),
        ("image/jpeg", color(b"\x11\x11\x11", names=b"RGB"), "RGB"),
        ("image/jpeg", color(b"\x11\x11\x11", before=adobe(0)), "RGB"),
        ("image/jpeg", color(b"\x11\x11\x11", names=b"RGB", before=adobe(1)), "YBR_FULL"),
        ("image/jp2", jpeg_2000(samples=1), "MONOCHROME2"),
        ("image/jp2", jpeg_2000(samples=3), "YBR_RCT"),
        ("image/jp2", jpeg_2000(samples=3, reversible=False), "YBR_ICT"),
        ("image/jp2", jpeg_2000(samples=3, transform=0), "RGB"),
    ],
)
def test_the_photometric_interpretation_is_that_of_the_codestream(
    media_type: str, frame: bytes, photometric: str
) -> None:
    derived = scan(composed(undescribed(), {"pixels": [BulkPart(media_type, frame)]})).document
    assert derived["00280004"]["Value"] == [photometric]
    assert derived["00280002"]["Value"] == [1 if photometric == "MONOCHROME2" else 3]
    assert ("00280006" in derived) == (photometric != "MONOCHROME2")


@pytest.mark.parametrize(
    ("media_type", "frame", "possible"),
    [
        ("image/jp2", jpeg_2000(), [90, 91]),
        ("image/jp2", jpeg_2000(reversible=False), [91]),
        ("image/jpx", jpeg_2000(), [92, 93]),
        ("image/jpx", jpeg_2000(reversible=False), [93]),
        ("image/jphc", jpeg_2000(ht=True), [201, 202, 203]),
        ("image/jphc", jpeg_2000(ht=True, without=b"\xff\x55"), [201, 203]),
        ("image/jphc", jpeg_2000(ht=True, reversible=False), [203]),
    ],
)
def test_a_codestream_is_stored_only_in_the_syntaxes_it_fits(
    media_type: str, frame: bytes, possible: list[int]
) -> None:
    found = []
    for last in (90, 91, 92, 93, 201, 202, 203):
        syntax = f"1.2.840.10008.1.2.4.{last}"
        with contextlib.suppress(InvalidInstanceError):
            compose(image(), {"pixels": [BulkPart(media_type, frame, syntax)]})
            found.append(last)
    assert found == possible
    default = compose(image(), {"pixels": [BulkPart(media_type, frame)]})
    assert default.transfer_syntax_uid == f"1.2.840.10008.1.2.4.{possible[0]}"


def test_what_is_longer_than_a_length_can_tell_is_refused_untouched() -> None:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_NORESERVE
    with mmap.mmap(-1, 2**32, flags=flags) as memory:
        memory[: len(BASELINE)] = BASELINE
        with memoryview(memory) as content:
            for media_type in ("application/octet-stream", "image/jpeg"):
                with pytest.raises(InvalidInstanceError, match="longer than"):
                    compose(image(), {"pixels": [BulkPart(media_type, content)]})


def test_frames_that_differ_are_refused() -> None:
    other = BASELINE.replace(b"\0\2\0\3", b"\0\3\0\2")
    parts = [*jpeg(BASELINE)["pixels"], *jpeg(other)["pixels"]]
    with pytest.raises(InvalidInstanceError, match="differ"):
        compose(undescribed(), {"pixels": parts})


@pytest.mark.parametrize(
    ("element", "part", "why"),
    [
        ({"vr": "OB", "BulkDataURI": "a"}, None, "does not hold"),
        ({"vr": "UL", "BulkDataURI": "a"}, BulkPart("text/plain", b"abc"), "length"),
        ({"vr": "UT", "BulkDataURI": "a"}, BulkPart("text/plain", b"\xff"), "UTF-8"),
        ({"vr": "CS", "BulkDataURI": "a"}, BulkPart("text/plain", b"A"), "by reference"),
        ({"vr": "SQ", "BulkDataURI": "a"}, BulkPart("text/plain", b"A"), "by reference"),
        ({"vr": "CS", "Value": ["山"]}, None, "character"),
        ({"vr": "US", "Value": [1, None]}, None, "value that is none of US"),
    ],
)
def test_another_value_that_cannot_be_is_refused(
    element: dict[str, Any], part: BulkPart | None, why: str
) -> None:
    document = undescribed() | {"00091001": element}
    del document[PIXEL_DATA]
    with pytest.raises(InvalidInstanceError, match=rf"\(0009,1001\).*{why}"):
        compose(document, {"a": [part]} if part else {})


def test_one_part_is_one_value() -> None:
    document = undescribed() | {"00091001": {"vr": "OB", "BulkDataURI": "a"}}
    del document[PIXEL_DATA]
    with pytest.raises(InvalidInstanceError, match="more than one part"):
        compose(document, {"a": [BulkPart("application/pdf", b"A")] * 2})


def test_one_part_is_of_one_attribute() -> None:
    element = {"vr": "OB", "BulkDataURI": "pixels"}
    item = {"00091001": element}
    document = image() | {"00081140": {"vr": "SQ", "Value": [item]}}
    with pytest.raises(InvalidInstanceError, match="same bulk data"):
        compose(document, octets(bytes(6)))


def test_fill_bytes_before_a_marker_mean_nothing() -> None:
    filled = BASELINE.replace(b"\xff\xc0", b"\xff\xff\xff\xc0")
    assert compose(image(), jpeg(filled)).transfer_syntax_uid == "1.2.840.10008.1.2.4.50"


def test_a_compressed_icon_is_refused() -> None:
    icon = {PIXEL_DATA: {"vr": "OB", "BulkDataURI": "icon"}}
    document = image() | {"00880200": {"vr": "SQ", "Value": [icon]}}
    with pytest.raises(InvalidInstanceError, match="only the image itself"):
        compose(document, {**octets(bytes(6)), "icon": jpeg(BASELINE)["pixels"]})


_STARTS = [BASELINE, *(bytes(frames_of(name)[1][0].content[:400]) for name in (JPEG_LS, JPEG_2000))]


@for_any(200, start=st.sampled_from(_STARTS), data=st.data())
def test_no_codestream_breaks_its_reader(start: bytes, data: st.DataObject) -> None:
    broken = bytearray(start[: data.draw(st.integers(0, len(start)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(broken) - 1)), max_size=6)):
        broken[at : at + 1] = data.draw(st.binary(min_size=1, max_size=2))
    for media_type in _WITH_HEADERS:
        with contextlib.suppress(InvalidInstanceError):
            compose(undescribed(), {"pixels": [BulkPart(media_type, bytes(broken))]})
