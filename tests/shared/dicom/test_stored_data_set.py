from io import BytesIO
from struct import pack

import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from shared.dicom.deflated import Inflater, data_set_offset
from shared.dicom.file_meta import MAX_META_LENGTH
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.dicom.reencoding import reencode
from shared.dicom.stored_data_set import add_attributes_behind, pixel_data_element, read_data_set
from shared.errors import InvalidInstanceError, NotAcceptableError
from tests.builders import dataset, image, part10

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
# A sequence whose item is cut short.
ENDLESS = pack("<HH2sHI", 0x7FE5, 0x1010, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\x64\0\0\0ab"


def inflated(content: bytes) -> bytes:
    offset = data_set_offset(content)
    return content[:offset] + b"".join(Inflater().pieces(content[offset:]))


@pytest.mark.parametrize("syntax", NATIVE)
def test_a_file_is_read_up_to_its_pixel_data(syntax: str) -> None:
    source = image()
    content = part10(source, syntax)
    header = read_with_pydicom(BytesIO(content))
    assert header.pixel_data is not None
    head = content[: header.pixel_data.offset]

    read = read_data_set(head, syntax)

    assert read.file_meta.TransferSyntaxUID == syntax
    assert read.file_meta.MediaStorageSOPInstanceUID == source.SOPInstanceUID
    del source.PixelData
    assert read == source
    assert pixel_data_element(head, syntax) == header.pixel_data


def test_a_deflated_file_is_read_once_it_is_inflated() -> None:
    source = dataset()
    content = part10(source, DeflatedExplicitVRLittleEndian)
    read = read_data_set(inflated(content), DeflatedExplicitVRLittleEndian)
    assert read == source
    assert read.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    assert pydicom.dcmread(BytesIO(reencode(read))) == source


def test_a_file_without_file_meta_information_gets_the_transfer_syntax_it_was_taken_for() -> None:
    source = dataset()
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, source, implicit_vr=True, little_endian=True)
    read = read_data_set(buffer.getvalue(), ImplicitVRLittleEndian)
    assert read == source
    assert read.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian


def test_a_damaged_file_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptableError):
        read_data_set(part10(dataset()) + ENDLESS, ExplicitVRLittleEndian)
    for head in (b"", part10(image())[:200]):
        with pytest.raises(NotAcceptableError):
            pixel_data_element(head, ExplicitVRLittleEndian)


def test_what_follows_encapsulated_pixels_begins_after_their_delimiter() -> None:
    read = read_data_set(part10(dataset()), ExplicitVRLittleEndian)
    behind = pack("<HH2sH", 0xFFFA, 0x0010, b"LO", 2) + b"ab"
    delimiter = b"\xfe\xff\xdd\xe0" + bytes(4)
    add_attributes_behind(read, behind, is_encapsulated=True)
    assert (0xFFFA, 0x0010) not in read
    add_attributes_behind(read, delimiter + behind, is_encapsulated=True)
    assert read[0xFFFA, 0x0010].value == "ab"


def test_what_follows_the_pixels_must_be_readable() -> None:
    read = read_data_set(part10(dataset()), ExplicitVRLittleEndian)
    with pytest.raises(NotAcceptableError):
        add_attributes_behind(read, ENDLESS, is_encapsulated=False)


def test_what_is_not_deflated_is_not_inflated() -> None:
    with pytest.raises(InvalidInstanceError):
        list(Inflater().pieces(b"\xff" * 100))


def test_file_meta_information_without_an_end_is_refused() -> None:
    content = part10(dataset())[:132] + pack("<HH2sHI", 2, 1, b"OB", 0, MAX_META_LENGTH - 200)
    with pytest.raises(InvalidInstanceError):
        data_set_offset(content)


def test_a_value_that_cannot_be_written_is_not_acceptable() -> None:
    of_three_bytes = pack("<HHI", 0x0028, 0x0010, 3) + b"abc"
    content = part10(dataset(), ImplicitVRLittleEndian) + of_three_bytes
    read = read_data_set(content, ImplicitVRLittleEndian)
    with pytest.raises(NotAcceptableError):
        reencode(read)


def test_big_endian_is_encoded_anew_with_its_pixels_alone() -> None:
    read = read_data_set(part10(dataset(), ExplicitVRBigEndian), ExplicitVRBigEndian)
    with pytest.raises(NotAcceptableError):
        reencode(read)


def test_what_is_encoded_anew_is_no_program() -> None:
    content = b"MZ" + part10(dataset(), ImplicitVRLittleEndian)[2:]
    encoded = reencode(read_data_set(content, ImplicitVRLittleEndian))
    assert encoded.startswith(bytes(128) + b"DICM")
