import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from shared.dicom import xml_model
from shared.dicom.header import Limits
from shared.dicom.json_model import Document
from shared.errors import InvalidInstanceError, InvalidRequestError
from tests.shared.dicom import corpus, data_sets
from tests.shared.dicom.properties import for_any
from tests.shared.dicom.test_documents_of_pydicom import read

NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
XML_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
COMPONENTS = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"]
GROUPS = ["Alphabetic", "Ideographic", "Phonetic"]
_VRS = (
    "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR"
    " US UT UV"
)


def body(*attributes: str) -> bytes:
    return f"<NativeDicomModel>{''.join(attributes)}</NativeDicomModel>".encode()


def attribute(tag: str, vr: str, *content: str, more: str = "") -> str:
    return f'<DicomAttribute tag="{tag}" vr="{vr}"{more}>{"".join(content)}</DicomAttribute>'


def written(document: Document) -> ElementTree.Element:
    return parsed(xml_model.dumps(document))


def parsed(xml: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(xml)  # noqa: S314 - our own


def printable(value: Any) -> Any:
    """The same with U+FFFD for each character that XML 1.0 cannot hold."""
    if isinstance(value, dict):
        return {key: printable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [printable(one) for one in value]
    if isinstance(value, str):
        return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", value)
    return value


def breaches(node: ElementTree.Element) -> list[str]:
    """Where a data set departs from the schema of PS3.19 A.1.6, read anew for this test."""
    found = []
    for child in node:
        tag, vr = child.get("tag", ""), child.get("vr")
        allowed = {"tag", "vr", "keyword", "privateCreator"}
        if child.tag != f"{NAMESPACE}DicomAttribute" or not child.attrib.keys() <= allowed:
            found.append(child.tag)
        if not re.fullmatch("[0-9A-F]{8}", tag) or vr not in _VRS.split():
            found.append(f"{tag} {vr}")
        if "privateCreator" in child.attrib:
            found += [] if int(tag[3], 16) & 1 else [f"{tag} is not private"]
        elif tag.endswith("0000"):
            found.append(f"{tag} is a group length")
        found += [f"{tag}: {breach}" for breach in breaches_of_content(child, str(vr))]
    return found


def breaches_of_content(node: ElementTree.Element, vr: str) -> list[str]:
    kinds = {child.tag.removeprefix(NAMESPACE) for child in node}
    kind = {"SQ": "Item", "PN": "PersonName"}.get(vr, "Value")
    if not kinds or kinds in ({"InlineBinary"}, {"BulkData"}):
        texts = [child.text for child in node if child.tag.endswith("InlineBinary")]
        uris = [child.get("uri") for child in node if child.tag.endswith("BulkData")]
        return [] if len(node) < 2 and all(texts + uris) else ["more or less than one value"]
    if kinds != {kind}:
        return [f"{kinds} in {vr}"]
    found = [] if numbers(node) == list(range(1, len(node) + 1)) else ["numbers out of order"]
    for child in node:
        if kind == "Item":
            found += breaches(child)
        elif kind == "PersonName":
            found += breaches_of_name(child)
        elif len(child):
            found.append("a value with children")
    return found


def breaches_of_name(name: ElementTree.Element) -> list[str]:
    found = [] if is_in_order(name, GROUPS) else ["groups"]
    return found + [group.tag for group in name if not is_in_order(group, COMPONENTS)]


def is_in_order(node: ElementTree.Element, names: list[str]) -> bool:
    given = [child.tag.removeprefix(NAMESPACE) for child in node]
    return given == [name for name in names if name in given]


def numbers(node: ElementTree.Element) -> list[int]:
    return [int(child.get("number", "0")) for child in node]


@corpus.by_file
def test_every_document_of_the_corpus_comes_back_as_it_was(path: Path) -> None:
    try:
        document = read(path).document
    except InvalidInstanceError:
        assert corpus.expected(path) == "must-refuse"
        return
    xml = xml_model.dumps(document)
    assert xml_model.loads(xml) == printable(document)
    root = parsed(xml)
    assert root.tag == f"{NAMESPACE}NativeDicomModel"
    assert root.get(XML_SPACE) == "preserve"
    assert breaches(root) == []


@for_any(100, file=data_sets.files())
def test_any_document_comes_back_as_it_was(file: tuple[bytes, Document]) -> None:
    _, document = file
    xml = xml_model.dumps(document)
    assert xml_model.loads(xml) == document
    assert list(xml_model.loads(xml)) == list(document)
    assert breaches(parsed(xml)) == []


def test_an_attribute_has_its_tag_vr_and_keyword() -> None:
    (node,) = written({"00100020": {"vr": "LO", "Value": ["X"]}})
    assert node.attrib == {"tag": "00100020", "vr": "LO", "keyword": "PatientID"}
    assert [(value.get("number"), value.text) for value in node] == [("1", "X")]


def test_a_name_is_given_by_its_components() -> None:
    name = {"Alphabetic": "Yamada^Tarou^^Dr", "Ideographic": "山田^太郎"}
    (node,) = written({"00100010": {"vr": "PN", "Value": [name]}})
    alphabetic, ideographic = node[0]
    assert {part.tag.removeprefix(NAMESPACE): part.text for part in alphabetic} == {
        "FamilyName": "Yamada",
        "GivenName": "Tarou",
        "NamePrefix": "Dr",
    }
    assert [part.text for part in ideographic] == ["山田", "太郎"]


@pytest.mark.parametrize("group", ["Doe", "Doe^", "^", "^^^^Jr", "A^B^C^D^E^F", "Doe^^"])
def test_no_caret_of_a_name_is_lost(group: str) -> None:
    document: Document = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": group}]}}
    assert xml_model.loads(xml_model.dumps(document)) == document


def test_an_empty_value_among_others_keeps_its_place() -> None:
    document: Document = {"00080008": {"vr": "CS", "Value": ["A", None, "B"]}}
    (node,) = written(document)
    assert [value.text for value in node] == ["A", None, "B"]
    assert xml_model.loads(xml_model.dumps(document)) == document


def test_a_private_attribute_names_its_creator_and_not_its_block() -> None:
    document: Document = {
        "00290011": {"vr": "LO", "Value": ["ACME <1>"]},
        "00291102": {"vr": "UN", "InlineBinary": "AQI="},
    }
    creator, private = written(document)
    assert creator.get("privateCreator") is None
    assert private.attrib == {"tag": "00290002", "vr": "UN", "privateCreator": "ACME <1>"}
    assert xml_model.loads(xml_model.dumps(document)) == document


def test_two_blocks_of_one_private_creator_stay_apart() -> None:
    document: Document = {
        "00290010": {"vr": "LO", "Value": ["ACME"]},
        "00290011": {"vr": "LO", "Value": ["ACME"]},
        "00291001": {"vr": "SH", "Value": ["a"]},
        "00291101": {"vr": "SH", "Value": ["b"]},
    }
    assert xml_model.loads(xml_model.dumps(document)) == document


def test_a_private_creator_that_is_only_named_gets_a_free_block() -> None:
    content = '<Value number="1">x</Value>'
    xml = body(
        attribute("00290010", "LO", '<Value number="1">OTHER</Value>'),
        attribute("00290001", "SH", content, more=' privateCreator="ACME"'),
        attribute("00290002", "SH", content, more=' privateCreator="ACME"'),
    )
    assert xml_model.loads(xml) == {
        "00290010": {"vr": "LO", "Value": ["OTHER"]},
        "00290011": {"vr": "LO", "Value": ["ACME"]},
        "00291101": {"vr": "SH", "Value": ["x"]},
        "00291102": {"vr": "SH", "Value": ["x"]},
    }


def test_text_is_escaped_and_its_line_ends_survive() -> None:
    document: Document = {"00104000": {"vr": "LT", "Value": ['<b> & "x" ]]>\r\n\tend\r']}}
    assert xml_model.loads(xml_model.dumps(document)) == document


def test_a_character_that_xml_cannot_hold_is_replaced() -> None:
    document: Document = {"00104000": {"vr": "LT", "Value": ["a\x00b\x1bc\uffffd"]}}
    expected = {"00104000": {"vr": "LT", "Value": ["a\ufffdb\ufffdc\ufffdd"]}}
    assert xml_model.loads(xml_model.dumps(document)) == expected


def test_a_reference_to_bulk_data_keeps_its_uri() -> None:
    uri = 'https://host/a?b=1&c="2"'
    document: Document = {"7FE00010": {"vr": "OW", "BulkDataURI": uri}}
    (node,) = written(document)
    assert node[0].get("uri") == uri
    assert xml_model.loads(xml_model.dumps(document)) == document


def test_numbers_and_their_text_mean_the_same() -> None:
    xml = body(
        attribute("00280010", "US", '<Value number="1"> 512 </Value>'),
        attribute("00281050", "DS", '<Value number="1">1.50</Value><Value number="2">x</Value>'),
        attribute("00720074", "FD", '<Value number="1">INF</Value>'),
    )
    assert xml_model.loads(xml) == {
        "00280010": {"vr": "US", "Value": [512]},
        "00281050": {"vr": "DS", "Value": [1.5, "x"]},
        "00720074": {"vr": "FD", "Value": ["Infinity"]},
    }


def test_values_that_a_writer_leaves_out_are_empty() -> None:
    xml = body(attribute("00080008", "CS", '<Value number="3">X</Value>'))
    assert xml_model.loads(xml)["00080008"]["Value"] == [None, None, "X"]


def test_any_encoding_that_xml_declares_is_read() -> None:
    xml = body(attribute("00100020", "LO", "<Value>Ä</Value>")).decode()
    declared = f'<?xml version="1.0" encoding="UTF-16"?>{xml}'.encode("utf-16")
    assert xml_model.loads(declared) == {"00100020": {"vr": "LO", "Value": ["Ä"]}}


PATIENT_ID = attribute("00100020", "LO", "<Value>&x;</Value>")
BOMB = "<!DOCTYPE x [" + '<!ENTITY x "ha">' + "]>"


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"<NativeDicomModel>",
        b"<NativeDicomModel/><NativeDicomModel/>",
        b"<html/>",
        b"<NativeDicomModel><Value/></NativeDicomModel>",
        b'<NativeDicomModel xmlns="http://example.org/"/>',
        b'<?xml version="1.0" encoding="hex"?><NativeDicomModel/>',
        b'<?xml version="1.0" encoding="none-such"?><NativeDicomModel/>',
        b"<NativeDicomModel>\xff</NativeDicomModel>",
        body(attribute("0010002", "LO")),
        body(attribute("00100020", "LO", '<Value number="0">x</Value>')),
        body(attribute("00100020", "LO", '<Value number="2">x</Value><Value number="1">x</Value>')),
        body(attribute("00420011", "OB", '<BulkData uuid="1-2"/>')),
        body(attribute("00420011", "OB", "<InlineBinary>AA==</InlineBinary>" * 2)),
        body(PATIENT_ID),
        (BOMB + body(PATIENT_ID).decode()).encode(),
        b'<!DOCTYPE NativeDicomModel SYSTEM "file:///etc/passwd"><NativeDicomModel/>',
    ],
)
def test_what_is_not_the_native_dicom_model_is_refused(xml: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        xml_model.loads(xml)


@pytest.mark.parametrize(
    "attributes",
    [
        attribute("00280010", "US", "<Value>x</Value>"),
        attribute("00280010", "US", "<Value>65536</Value>"),
        attribute("00280010", "US", f"<Value>{'9' * 5000}</Value>"),
        attribute("00280010", "QQ", "<Value>1</Value>"),
        attribute("00080018", "UI", "<Value>1\\2</Value>"),
        attribute("00420011", "OB", "<InlineBinary>!</InlineBinary>"),
        attribute("00420011", "OB", "<Value>1</Value>"),
        attribute("00081140", "SQ", "<Value>1</Value>"),
        attribute("00100020", "LO", "<Item/>"),
        attribute("00100020", "LO", "<Value>1</Value>") * 2,
        attribute("00100020", "LO", "<Value>1</Value>", '<BulkData uri="x"/>'),
        attribute("00290001", "LO", more=' privateCreator="A"') * 2,
        "".join(
            attribute("00290001", "LO", more=f' privateCreator="{number}"') for number in range(241)
        ),
    ],
)
def test_an_attribute_that_cannot_be_is_refused(attributes: str) -> None:
    with pytest.raises(InvalidInstanceError):
        xml_model.loads(body(attributes))


def nested(depth: int) -> bytes:
    opening = '<DicomAttribute tag="00081140" vr="SQ"><Item number="1">'
    return body(opening * depth + "</Item></DicomAttribute>" * depth)


def test_nesting_is_bounded() -> None:
    assert xml_model.loads(nested(64))
    for depth in (65, 100_000):
        with pytest.raises(InvalidInstanceError, match="nested"):
            xml_model.loads(nested(depth))


def test_length_and_number_of_elements_are_bounded() -> None:
    content = attribute("00080008", "CS", '<Value number="999999999">x</Value>')
    for limits in (Limits(), Limits(max_held_length=20), Limits(max_elements=1)):
        with pytest.raises(InvalidInstanceError):
            xml_model.loads(body(content), limits)
