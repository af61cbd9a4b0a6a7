import json
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from shared.dicom import json_model
from shared.dicom.header import Limits
from shared.dicom.json_model import Document, dumps, from_pydicom, without_bulk
from shared.dicom.part10 import scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.errors import InvalidInstanceError
from tests import builders
from tests.shared.dicom.data_sets import Encoded, part10, write


def read(*elements: tuple[int, str, bytes], explicit: bool = True) -> Document:
    content = b"".join(write(Encoded(*e, {}), explicit=explicit) for e in elements)
    header = scan(part10(content, explicit=explicit))
    assert header == read_with_pydicom(BytesIO(part10(content, explicit=explicit)))
    return header.document


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        ("DS", b"1.50", [1.5]),
        ("DS", b" 1.5\\-2e1 ", [1.5, -20.0]),
        ("DS", b"1\\\\3 ", [1.0, None, 3.0]),
        ("DS", b"NaN ", ["NaN"]),
        ("DS", b"1e999 ", ["1e999"]),
        ("DS", b"12345678901234567890", ["12345678901234567890"]),
        ("DS", b"1,5 ", ["1,5"]),
        ("IS", b"007 ", [7]),
        ("IS", b"12.5", ["12.5"]),
        ("IS", b"9" * 30, ["9" * 30]),
        ("IS", b"3\0", [3]),
        ("AT", b"\x10\0\x20\0\xe0\x7f\x10\0", ["00100020", "7FE00010"]),
        ("FL", b"\0\0\xc0\x7f\0\0\x80\x7f\0\0\x80\xff", ["NaN", "Infinity", "-Infinity"]),
        ("FD", b"\0\0\0\0\0\0\xf8\x3f", [1.5]),
        ("UV", b"\xff" * 8, [2**64 - 1]),
        ("CS", b"A\\\\B ", ["A", None, "B"]),
        ("CS", b"X\0", ["X"]),
        ("LT", b"a\\b ", ["a\\b"]),
        ("PN", b"A^B=C=D ", [{"Alphabetic": "A^B", "Ideographic": "C", "Phonetic": "D"}]),
        ("PN", b"A\\\\=B", [{"Alphabetic": "A"}, None, {"Ideographic": "B"}]),
    ],
)
def test_values_are_what_annex_f_says(vr: str, raw: bytes, values: list[Any]) -> None:
    assert read((0x00291001, vr, raw)) == {"00291001": {"vr": vr, "Value": values}}


@pytest.mark.parametrize("vr", ["CS", "DS", "IS", "LO", "OB", "PN", "SQ", "UN", "US", "UT"])
def test_an_empty_value_has_neither_value_nor_null(vr: str) -> None:
    assert read((0x00291001, vr, b"")) == {"00291001": {"vr": vr}}


def test_a_number_of_the_wrong_length_is_unknown_rather_than_wrong() -> None:
    expected = {"vr": "UN", "InlineBinary": "AQID"}
    assert read((0x00280010, "US", b"\1\2\3")) == {"00280010": expected}


def test_text_is_utf_8_and_says_so() -> None:
    document = read((0x00080005, "CS", b"ISO_IR 100"), (0x00100020, "LO", b"\xc4\xd6"))
    assert document["00080005"]["Value"] == ["ISO_IR 192"]
    assert dumps(document).decode().count("ÄÖ") == 1


def test_the_header_keeps_the_character_set_that_was_declared() -> None:
    declared = write(Encoded(0x00080005, "CS", b"\\ISO 2022 IR 87", {}), explicit=True)
    assert scan(part10(declared)).character_sets == ("", "ISO 2022 IR 87")


def test_text_padded_with_nul_is_clean_and_noticed() -> None:
    content = b"".join(
        write(Encoded(*element, {}), explicit=True)
        for element in (
            (0x00080018, "UI", b"1.2.3\0"),
            (0x00080060, "CS", b"CT\0\0"),
            (0x00100020, "LO", b"\x00P1\0"),
            (0x00280010, "US", b"\1\0"),
        )
    )
    header = scan(part10(content))
    assert header.null_padded == ("00080060", "00100020")
    assert json_model.value(header.document, "00080060") == "CT"
    assert json_model.value(header.document, "00100020") == "\0P1"
    assert header == read_with_pydicom(BytesIO(part10(content)))


def test_group_lengths_are_left_out() -> None:
    assert read((0x00100000, "UL", bytes(4)), (0x00100020, "LO", b"P1")).keys() == {"00100020"}


def test_private_attributes_without_a_vr_are_unknown() -> None:
    document = read((0x00290010, "", b"ACME"), (0x00291001, "", b"ab"), explicit=False)
    assert document["00290010"] == {"vr": "LO", "Value": ["ACME"]}
    assert document["00291001"]["vr"] == "UN"


@pytest.mark.parametrize(("representation", "vr", "number"), [(0, "US", 65535), (1, "SS", -1)])
def test_signedness_follows_pixel_representation_even_from_an_inner_item(
    representation: int, vr: str, number: int
) -> None:
    smallest = write(Encoded(0x00280106, "", b"\xff\xff", {}), explicit=False)
    item = b"\xfe\xff\0\xe0" + len(smallest).to_bytes(4, "little") + smallest
    document = read(
        (0x00081140, "", item),
        (0x00189810, "", b"\xff\xff"),
        (0x00280103, "", bytes([representation, 0])),
        explicit=False,
    )
    expected = {"vr": vr, "Value": [number]}
    assert document["00189810"] == expected
    assert document["00081140"]["Value"] == [{"00280106": expected}]


def test_a_lut_descriptor_counts_its_entries_as_unsigned() -> None:
    document = read((0x00283002, "SS", b"\0\xff\x01\0\x10\0"))
    assert document["00283002"]["Value"] == [65280, 1, 16]


def test_binary_values_are_inline_up_to_the_threshold_and_referred_to_above() -> None:
    content = write(Encoded(0x00420011, "OB", bytes(1024), {}), explicit=True)
    content += write(Encoded(0x00429999, "OB", bytes(1026), {}), explicit=True)
    header = scan(part10(content))
    assert "InlineBinary" in header.document["00420011"]
    assert header.document["00429999"] == {"vr": "OB", "BulkDataURI": "00429999"}
    bulk = header.bulk_values[0]
    assert part10(content)[bulk.offset :] == bytes(bulk.length)


def test_a_bulk_value_in_an_item_is_found_by_its_path() -> None:
    inner = builders.dataset()
    inner.EncapsulatedDocument = bytes(range(256)) * 8
    outer = builders.dataset(ReferencedImageSequence=[Dataset(), inner])
    content = builders.part10(outer)
    header = scan(content)
    (bulk,) = header.bulk_values
    assert bulk.path == "00081140/2/00420011"
    assert content[bulk.offset : bulk.offset + bulk.length] == bytes(range(256)) * 8
    bulk.element["BulkDataURI"] = "http://there"
    assert b"http://there" in dumps(header.document)
    assert read_with_pydicom(BytesIO(content)).bulk_values[0].offset == bulk.offset


def test_words_of_a_big_endian_file_are_given_little_endian() -> None:
    source = builders.dataset()
    source.add_new(0x00281201, "OW", b"\x01\x02\x03\x04")
    source.Rows = 258
    header = read_with_pydicom(BytesIO(builders.part10(source, ExplicitVRBigEndian)))
    assert header.document["00281201"]["InlineBinary"] == "AgEEAw=="
    assert header.document["00280010"]["Value"] == [258]


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_data_set_made_by_a_program_reads_as_its_file_does(syntax: str | None) -> None:
    source = builders.image(PatientName="Müller^Ä=王", PatientWeight="70.50", InstanceNumber="7")
    source.ReferencedImageSequence = [builders.dataset(), Dataset()]
    source.FrameIncrementPointer = 0x00181063
    source.SmallestImagePixelValue = 3
    made = from_pydicom(source)
    content = builders.part10(source, syntax) if syntax else builders.part10(source)
    stored = read_with_pydicom(BytesIO(content)).document
    for document in (made, stored):
        del document["7FE00010"]
    assert made == stored
    assert made["00100010"]["Value"] == [{"Alphabetic": "Müller^Ä", "Ideographic": "王"}]


def test_pydicom_reads_the_document_back() -> None:
    source = builders.dataset(OperatorsName=["A^B", "C"], ImageType=["ORIGINAL", "PRIMARY"])
    document = scan(builders.part10(source)).document
    again = Dataset.from_json(json.loads(dumps(document)))
    assert again.OperatorsName == source.OperatorsName
    assert again.ImageType == source.ImageType
    assert again.StudyInstanceUID == source.StudyInstanceUID


def test_a_data_set_nested_too_deeply_is_refused() -> None:
    source = Dataset()
    for _ in range(5):
        outer = Dataset()
        outer.ReferencedImageSequence = [source]
        source = outer
    with pytest.raises(InvalidInstanceError):
        from_pydicom(source, Limits(max_depth=4))


def test_metadata_without_bulk_lacks_every_binary_vr_at_any_depth() -> None:
    inner = builders.dataset(EncapsulatedDocument=b"ab")
    document = from_pydicom(builders.dataset(ReferencedImageSequence=[inner], PixelData=b"ab"))
    slim = without_bulk(document)
    assert "7FE00010" not in slim
    assert "00420011" not in slim["00081140"]["Value"][0]
    assert "00420011" in document["00081140"]["Value"][0]


def test_values_of_a_document_are_found_by_tag() -> None:
    document = from_pydicom(builders.dataset(ImageType=["A", "", "B"], AccessionNumber=""))
    assert json_model.strings(document, "00080008") == ("A", "", "B")
    assert json_model.value(document, "00080050") is None
    assert json_model.value(document, "00080099") is None
    assert json_model.strings(document, "00080099") == ()
    assert json_model.person_name(document, "00100010") == "Doe^Jane"
    assert json_model.person_name(document, "00100020") is None


@pytest.mark.filterwarnings("ignore")
def test_a_file_without_preamble_is_read_if_it_names_its_instance() -> None:
    source = builders.dataset()
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, source, implicit_vr=True, little_endian=True)
    header = read_with_pydicom(buffer)
    assert header.transfer_syntax_uid == ImplicitVRLittleEndian
    assert json_model.value(header.document, "00080018") == source.SOPInstanceUID
    with pytest.raises(InvalidInstanceError):
        read_with_pydicom(BytesIO(b"\x08\0\x60\0\2\0\0\0CT" * 3))


def test_elements_out_of_order_are_read_in_order() -> None:
    late = write(Encoded(0x00080060, "CS", b"CT", {}), explicit=True)
    early = write(Encoded(0x00100020, "LO", b"P1", {}), explicit=True)
    header = read_with_pydicom(BytesIO(part10(early + late)))
    assert list(header.document) == ["00080060", "00100020"]
