import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from shared.dicom import json_model, json_reading
from shared.dicom.composition import compose
from shared.dicom.header import Limits
from shared.dicom.json_model import Document
from shared.errors import InvalidInstanceError, InvalidRequestError
from tests.shared.dicom import corpus, data_sets
from tests.shared.dicom.properties import for_any
from tests.shared.dicom.test_documents_of_pydicom import read


def one(vr: str | None, value: Any, tag: str = "00091001") -> Any:
    element = {"vr": vr, "Value": [value]} if vr else {"Value": [value]}
    document = json_reading.document_of({tag: element})
    return document[tag]


@corpus.by_file
def test_every_document_of_the_corpus_is_read_as_it_was_written(path: Path) -> None:
    try:
        document = read(path).document
    except InvalidInstanceError:
        assert corpus.expected(path) == "must-refuse"
        return
    assert json_reading.loads(json_model.dumps(document)) == [document]


@for_any(60, file=data_sets.files())
def test_any_document_is_read_as_it_was_written(file: tuple[bytes, Document]) -> None:
    _, document = file
    (again,) = json_reading.loads(json_model.dumps(document))
    assert again == document
    assert list(again) == list(document)


def test_a_body_is_one_document_or_an_array_of_them() -> None:
    document = {"00100020": {"vr": "LO", "Value": ["P"]}}
    assert json_reading.loads(json.dumps(document).encode()) == [document]
    assert json_reading.loads(json.dumps([document] * 2).encode()) == [document] * 2
    assert json_reading.loads(b"[]") == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'"x"', b"[1]", b"null", b"\xff", b"[" * 2000, b'[{"00100020":{"Value":[NaN]}}]'],
)
def test_a_body_that_is_no_json_of_objects_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        json_reading.loads(body)


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("US", 5, 5),
        ("US", "5", 5),
        ("US", 5.0, 5),
        ("IS", "007", 7),
        ("IS", 7.0, 7),
        ("IS", "12.5", "12.5"),
        ("DS", "1.50", 1.5),
        ("DS", 2, 2.0),
        ("DS", 2**60, str(2**60)),
        ("DS", "abc", "abc"),
        ("FD", "-INF", "-Infinity"),
        ("FL", "NaN", "NaN"),
        ("UV", str(2**64 - 1), 2**64 - 1),
        ("AT", "0010001e", "0010001E"),
        ("PN", "Doe^Jane=Roe", {"Alphabetic": "Doe^Jane", "Ideographic": "Roe"}),
        ("PN", {"Alphabetic": "Doe", "Other": "x"}, {"Alphabetic": "Doe"}),
        ("PN", {"Alphabetic": None, "Phonetic": "Doe"}, {"Phonetic": "Doe"}),
        ("LO", "x  ", "x"),
        ("AE", " AE ", "AE"),
        ("LT", "a\\b", "a\\b"),
    ],
)
def test_a_value_that_is_sent_in_another_way_is_understood(
    vr: str, value: Any, expected: Any
) -> None:
    assert one(vr, value) == {"vr": vr, "Value": [expected]}


@pytest.mark.parametrize(
    ("vr", "value"),
    [("LO", ""), ("LO", None), ("PN", {}), ("PN", ""), ("US", " "), ("FD", ""), ("AT", "")],
)
def test_an_empty_value_is_none_at_all(vr: str, value: Any) -> None:
    assert one(vr, value) == {"vr": vr}


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("US", -1),
        ("US", 65536),
        ("US", 1.5),
        ("US", True),
        ("US", "1_0"),
        ("US", "9" * 100_000),
        ("US", [1]),
        ("SV", 2**63),
        ("FL", 1e300),
        ("FD", 10**400),
        ("FD", "x"),
        ("FD", True),
        ("FD", "1_0"),
        ("DS", True),
        ("DS", float("inf")),
        ("DS", "1\\2"),
        ("DS", {}),
        ("IS", [1]),
        ("LO", 5),
        ("LO", "a\\b"),
        ("UI", {"a": 1}),
        ("AT", "0010"),
        ("AT", 1048608),
        ("PN", 5),
        ("PN", {"Alphabetic": 5}),
        ("PN", {"Alphabetic": "a=b"}),
        ("PN", "a\\b"),
        ("SQ", "x"),
        ("OB", 1),
        ("UN", "x"),
        ("XX", "x"),
        ("lo", "x"),
        (5, "x"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_tag(vr: Any, value: Any) -> None:
    with pytest.raises(InvalidInstanceError, match=r"\(0009,1001\)"):
        one(vr, value)


@pytest.mark.parametrize(
    "element",
    [
        None,
        [],
        "x",
        {"vr": "LO", "Value": "x"},
        {"vr": "LO", "InlineBinary": "AA=="},
        {"vr": "OB", "InlineBinary": "A"},
        {"vr": "OB", "InlineBinary": "A===="},
        {"vr": "OB", "InlineBinary": ["AA=="]},
        {"vr": "OB", "InlineBinary": "ÄÄ=="},
        {"vr": "CS", "BulkDataURI": "x"},
        {"vr": "OB", "BulkDataURI": 5},
        {"vr": "OB", "BulkDataURI": "x", "InlineBinary": "AA=="},
        {"vr": "LT", "Value": ["a", "b"]},
    ],
)
def test_an_element_of_the_wrong_form_is_refused_by_its_tag(element: Any) -> None:
    with pytest.raises(InvalidInstanceError, match=r"\(0009,1001\)"):
        json_reading.document_of({"00091001": element})


def test_a_missing_vr_is_that_of_the_standard() -> None:
    assert one(None, "P", "00100020")["vr"] == "LO"
    assert one(None, "ACME", "00090010")["vr"] == "LO"
    with pytest.raises(InvalidInstanceError):
        one(None, 1, "00280106")  # US or SS.


def test_white_space_in_base64_means_nothing() -> None:
    element = {"vr": "OB", "InlineBinary": "AQ\nI="}
    assert json_reading.document_of({"00091001": element})["00091001"]["InlineBinary"] == "AQI="


def test_an_item_may_be_null() -> None:
    assert one("SQ", None) == {"vr": "SQ", "Value": [{}]}


@pytest.mark.parametrize("tag", ["PatientID", "0010002", "001000200", "0010,0020", "", "FFFEE000"])
def test_what_is_no_tag_of_a_data_set_is_refused(tag: str) -> None:
    with pytest.raises(InvalidInstanceError):
        one("LO", "x", tag)


def test_a_tag_in_lower_case_is_the_same_tag() -> None:
    small = {"0009100a": {"vr": "LO", "Value": ["x"]}}
    assert json_reading.document_of(small) == {"0009100A": {"vr": "LO", "Value": ["x"]}}
    with pytest.raises(InvalidInstanceError, match="twice"):
        json_reading.document_of(small | {"0009100A": {"vr": "LO"}})


def nested(depth: int) -> Document:
    document: Document = {}
    for _ in range(depth):
        document = {"00081140": {"vr": "SQ", "Value": [document]}}
    return document


def test_nesting_and_number_of_elements_are_bounded() -> None:
    assert json_reading.document_of(nested(64)) == nested(64)
    with pytest.raises(InvalidInstanceError, match="nested"):
        json_reading.document_of(nested(65))
    with pytest.raises(InvalidInstanceError, match="more attributes"):
        json_reading.document_of(nested(6), Limits(max_elements=10))


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["00080016", "00080018", "1.2", "SQ", "PN", "US", "FD", "DS", "AT", "OB"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["vr", "Value", "InlineBinary", "BulkDataURI"]), inner)
        | st.dictionaries(st.sampled_from(["00080016", "00280010", "7FE00010", "00091001"]), inner)
    ),
    max_leaves=12,
)
_VRS = st.sampled_from(sorted(json_reading.KNOWN_VRS))


@for_any(
    200,
    document=st.dictionaries(
        st.sampled_from(["00080016", "00280010", "00280100", "7FE00010", "00091001"]),
        _JSON | st.fixed_dictionaries({"vr": _VRS, "Value": st.lists(_JSON, max_size=3)}),
    ),
)
def test_whatever_is_sent_is_composed_or_refused(document: dict[str, Any]) -> None:
    identity = {
        "00080018": {"vr": "UI", "Value": ["1.2"]},
        "00080016": {"vr": "UI", "Value": ["1.2"]},
    }
    with contextlib.suppress(InvalidInstanceError):
        compose(identity | document, {})
