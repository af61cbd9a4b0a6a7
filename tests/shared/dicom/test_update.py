"""Files with new values, against what pydicom itself makes of them."""

import io
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from struct import pack
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from shared.dicom.composition import IMPLEMENTATION_CLASS_UID
from shared.dicom.deflated import data_set_offset
from shared.dicom.header import Header, Limits, NeedsPydicom
from shared.dicom.json_reading import document_of
from shared.dicom.part10 import scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.dicom.pydicom_reading import PYDICOM_ERRORS
from shared.dicom.quiet import quiet
from shared.dicom.stored_data_set import pixel_data_start
from shared.dicom.update import NeedsWholeFileError, Update, update_document, update_file
from shared.errors import InvalidInstanceError, NotAcceptableError
from tests.builders import dataset, image, part10
from tests.shared.dicom.corpus import FILES, by_path

MOMENT = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
NAME = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "New^Name"}]}}
JAPANESE = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada", "Ideographic": "山田"}]}}


def read(content: bytes) -> Header:
    try:
        return scan(content, Limits())
    except NeedsPydicom:
        return read_with_pydicom(io.BytesIO(content), Limits())


def inflated(content: bytes, header: Header) -> bytes:
    if not header.is_inflated:
        return content
    start = data_set_offset(content)
    return content[:start] + zlib.decompress(content[start:], -zlib.MAX_WBITS)


def updated(content: bytes, changes: dict[str, Any]) -> tuple[bytes, int, bool]:
    """A file with new values, how much of the old one follows its head, and whether it is UTF-8."""
    header = read(content)
    syntax, update = header.transfer_syntax_uid, Update(document_of(changes), MOMENT)
    if header.pixel_data is not None and not header.is_inflated:
        start = pixel_data_start(content[: header.pixel_data.offset], syntax)
        try:
            head = update_file(content[:start], syntax, update, header.document)
        except NeedsWholeFileError:
            pass
        else:
            return head.content + content[start:], len(content) - start, head.is_utf_8
    whole = update_file(inflated(content, header), syntax, update, header.document)
    return whole.content, 0, whole.is_utf_8


def elements(data: Dataset) -> dict[int, Any]:
    """The elements of a data set as they are encoded; sequences as their items."""
    found: dict[int, Any] = {}
    for tag in sorted(data.keys()):
        item = data.get_item(tag)
        if tag.element and item.VR == "SQ" and not item.is_raw:
            found[tag] = [elements(inner) for inner in item.value]
        elif tag.element:
            found[tag] = item.value or b""
    return found


def check(content: bytes, changes: dict[str, Any]) -> bytes | None:
    """Update a file, and compare all that is read of it; None if pydicom cannot read it either."""
    header = read(content)
    try:
        new, kept, is_utf_8 = updated(content, changes)
    except NotAcceptableError:
        with quiet(), pytest.raises(PYDICOM_ERRORS):
            pydicom.dcmread(io.BytesIO(content), force=True).save_as(io.BytesIO())
        return None
    after = read(new)
    assert not kept or new[-kept:] == content[-kept:]
    update = Update(document_of(changes), MOMENT)
    assert after.document == update_document(header.document, update, is_utf_8=is_utf_8)[0]
    assert after.transfer_syntax_uid == header.transfer_syntax_uid
    assert (after.frames is None) == (header.frames is None)
    return new


@by_path(FILES)
def test_a_real_file_is_as_it_was_but_for_what_changes(path: Path) -> None:
    content = path.read_bytes()
    try:
        new = check(content, NAME)
    except InvalidInstanceError:
        return  # It cannot be stored.
    if new is None:
        return
    with quiet():
        before = pydicom.dcmread(io.BytesIO(content), force=True)
        now = pydicom.dcmread(io.BytesIO(new))
        before.PatientName = "New^Name"
    assert now.PatientName == "New^Name"
    assert now.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    changed = {0x00100010, 0x04000561}
    assert {tag: value for tag, value in elements(now).items() if tag not in changed} == {
        tag: value for tag, value in elements(before).items() if tag not in changed
    }


@by_path(FILES)
def test_all_text_of_a_real_file_is_kept_when_a_name_needs_another_character_set(
    path: Path,
) -> None:
    with suppress(InvalidInstanceError):
        check(path.read_bytes(), JAPANESE)


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
@pytest.mark.parametrize("source", [dataset, image])
def test_every_native_transfer_syntax_is_kept(syntax: str, source: Callable[..., Dataset]) -> None:
    item = Dataset()
    item.PatientName, item.SpecificCharacterSet = "Inner^Nämé", "ISO_IR 100"
    built = source(
        SpecificCharacterSet="ISO_IR 100", PatientComments="Größe", RequestAttributesSequence=[item]
    )
    for changes in (NAME, JAPANESE):
        new = check(part10(built, syntax), changes)
        assert new is not None
        assert check(new, NAME) is not None
        now = pydicom.dcmread(io.BytesIO(new))
        assert now.file_meta.TransferSyntaxUID == syntax
        assert now.PatientComments == "Größe"
        assert now.RequestAttributesSequence[0].PatientName == "Inner^Nämé"
        [note] = now.OriginalAttributesSequence
        assert note.ModifiedAttributesSequence[0].PatientName == "Doe^Jane"
        assert note.ReasonForTheAttributeModification == "CORRECT"
        assert note.AttributeModificationDateTime == "20261125123000.000000+0000"
        assert note.SourceOfPreviousValues == ""


def test_the_length_of_the_file_meta_information_is_right() -> None:
    new = check(part10(image()), NAME)
    assert new is not None
    meta = pydicom.dcmread(io.BytesIO(new)).file_meta
    length = meta.FileMetaInformationGroupLength
    assert new[144 + length :].startswith(b"\x08\0")


def test_a_preamble_of_a_slide_in_two_formats_tells_no_positions_that_have_changed() -> None:
    content = b"II*\0" + b"\1" * 124 + part10(image())[128:]
    new = check(content, NAME)
    assert new is not None
    assert new[:132] == bytes(128) + b"DICM"


@pytest.mark.parametrize("tag", [0x00000011, 0x00020010, 0x00041130, 0x00070001])
def test_an_element_that_would_come_before_the_data_set_lets_no_file_be_written_anew(
    tag: int,
) -> None:
    content = part10(image())
    stray = pack("<HH", tag >> 16, tag & 0xFFFF) + b"LO" + pack("<H", 2) + b"X "
    at = content.index(pack("<HH", 0x0028, 0x0002) + b"US")
    with pytest.raises(NotAcceptableError):
        updated(content[:at] + stray + content[at:], NAME)


def test_what_was_replaced_before_stays_noted() -> None:
    first = check(part10(image()), NAME)
    assert first is not None
    second = check(first, {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Third"}]}})
    assert second is not None
    notes = pydicom.dcmread(io.BytesIO(second)).OriginalAttributesSequence
    names = [note.ModifiedAttributesSequence[0].PatientName for note in notes]
    assert names == ["Doe^Jane", "New^Name"]


def test_a_value_is_written_in_the_character_sets_of_the_file_where_they_hold_it() -> None:
    for declared, name in (
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 144", "Люк^Иван"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ):
        built = image(SpecificCharacterSet=declared)
        changes = {"00100010": {"vr": "PN", "Value": [name]}}
        new = check(part10(built), changes)
        assert new is not None
        now = pydicom.dcmread(io.BytesIO(new))
        assert now.SpecificCharacterSet == declared
        assert now.PatientName == name


def test_a_value_that_only_the_codec_of_the_default_repertoire_has_makes_all_text_utf_8() -> None:
    source = dataset(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientComments="山田")
    new = check(part10(source), {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller"}]}})
    assert new is not None
    assert "Müller".encode() in new
    assert "山田".encode() in new
    assert pydicom.dcmread(io.BytesIO(new)).SpecificCharacterSet == "ISO_IR 192"


def test_a_file_with_text_behind_its_pixels_is_rewritten_whole_where_that_text_changes() -> None:
    built = image(SpecificCharacterSet="ISO_IR 100")
    built.add_new(0x7FE10010, "LO", "CREATOR")
    built.add_new(0x7FE11001, "LO", "Größe")
    content = part10(built)
    assert updated(content, NAME)[1] > 0
    new, kept, is_utf_8 = updated(content, JAPANESE)
    assert (kept, is_utf_8) == (0, True)
    assert pydicom.dcmread(io.BytesIO(new))[0x7FE11001].value == "Größe"
    assert check(content, JAPANESE) == new


def test_a_value_given_by_reference_goes_where_the_replaced_values_are() -> None:
    document = {"00104000": {"vr": "LT", "BulkDataURI": "studies/1/bulkdata/00104000"}}
    update = Update({"00104000": {"vr": "LT", "Value": ["short"]}}, MOMENT)
    new, moved = update_document(document, update, is_utf_8=False)
    place = "04000561/1/04000550/1/00104000"
    assert moved == {"00104000": place}
    item = new["04000561"]["Value"][0]["04000550"]["Value"][0]
    assert item["00104000"] == {"vr": "LT", "BulkDataURI": f"studies/1/bulkdata/{place}"}
