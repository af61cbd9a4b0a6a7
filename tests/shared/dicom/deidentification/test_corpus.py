"""Real files, de-identified: nothing that identifies is left, and what is left can be read."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.multival import MultiValue

from shared.dicom.deidentification.deidentifier import Deidentifier
from shared.dicom.deidentification.dummies import dummy
from shared.dicom.deidentification.file import deidentify_file
from shared.dicom.deidentification.profile import BASIC_PROFILE, Profile
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.dicom.deidentification.table import Action, actions
from shared.dicom.deidentification.untabled import action_beside_table
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.dicom.quiet import quiet
from shared.errors import InvalidInstanceError
from tests.shared.dicom.corpus import by_file, expected

_DUMMIES = "\n".join(str(dummy(vr)) for vr in ("LO", "DA", "DT", "TM", "UR", "AS"))
_RULES = actions(frozenset())
_SHORTEST = 5
"""What is shorter is found anywhere."""


def _texts(element: DataElement) -> list[str]:
    value = element.value
    values = value if isinstance(value, list | MultiValue) else [value]
    return [str(one).strip(" \0") for one in values if not isinstance(one, bytes)]


def _rule(element: DataElement) -> Action:
    tag = int(element.tag)
    return _RULES.get(tag) or action_beside_table(tag, {element.VR}, ())


def _kept_and_gone(dataset: Dataset) -> tuple[str, set[str]]:
    """What the profile leaves of a data set, all in one text, and the values that must go."""
    kept, gone = [], set()
    for element in _elements(dataset, is_gone=False):
        stays = _rule(element) is Action.KEEP
        if stays and element.VR not in ("PN", "SQ") and not element.tag.is_private:
            kept += _texts(element)
    for element in _elements(dataset, is_gone=True):
        gone |= {text for text in _texts(element) if len(text) >= _SHORTEST}
    return "\n".join([*kept, _DUMMIES]), gone


def _elements(dataset: Dataset, *, is_gone: bool) -> Iterator[DataElement]:
    """All elements that are not below a sequence that goes, or those whose values must go."""
    for element in dataset:
        rule = _rule(element)
        if element.VR == "SQ":
            if rule is Action.KEEP or is_gone:
                for item in element.value:
                    yield from _elements(item, is_gone=is_gone)
        elif not is_gone or rule is not Action.KEEP or element.VR == "PN":
            yield element


def _is_told(text: str, kept: str) -> bool:
    is_of_the_standard = text.startswith("1.2.840.10008.")
    return is_of_the_standard or text in kept or not text.strip("0.")


def _cut(file: IO[bytes], offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


@by_file
def test_no_value_that_identifies_is_left(path: Path) -> None:
    content = path.read_bytes()
    try:
        syntax_uid = read_with_pydicom(BytesIO(content)).transfer_syntax_uid
    except InvalidInstanceError:
        assert expected(path) != "ok"
        return
    deidentifier = Deidentifier(Profile(), Pseudonyms(bytes(32)))
    try:
        found = deidentify_file(BytesIO(content), syntax_uid, deidentifier, keeps_burned_in=True)
    except InvalidInstanceError:
        assert expected(path) != "ok"
        return
    with found.content as rest:
        header, pixels = (_cut(rest, *span) for span in (found.header, found.pixels))
    whole = header + pixels

    with quiet():
        original = dcmread(BytesIO(content), force=True)
        read = dcmread(BytesIO(whole))
        kept, gone = _kept_and_gone(original)
        texts = str(read)
    assert texts
    leaks = [
        text
        for text in gone
        if not _is_told(text, kept) and text.encode("utf-8", "surrogateescape") in header
    ]
    assert leaks == []
    assert whole.startswith(bytes(128) + b"DICM")
    assert read.get("PixelData") == original.get("PixelData")
    assert str(found.path.instance) == read.SOPInstanceUID == read.file_meta[0x00020003].value
    assert read.PatientIdentityRemoved == "YES"
    assert read.LongitudinalTemporalInformationModified == "REMOVED"
    [code] = read.DeidentificationMethodCodeSequence
    assert (code.CodeValue, code.CodeMeaning) == BASIC_PROFILE
    assert not [element for element in read.iterall() if element.tag.is_private]


def test_bytes_that_are_no_dicom_are_refused() -> None:
    deidentifier = Deidentifier(Profile(), Pseudonyms(bytes(32)))
    with pytest.raises(InvalidInstanceError):
        deidentify_file(
            BytesIO(b"x" * 500), "1.2.840.10008.1.2", deidentifier, keeps_burned_in=True
        )
