"""Codes are told in the systems that FHIR names, or in words alone."""

from typing import Any

from pydicom.sr._concepts_dict import concepts

from shared.dicom.json_model import Document
from shared.fhir.body_part import body_part
from shared.fhir.coding import concept
from shared.fhir.data_set import DataSet

ROOT = DataSet({})


def item(value: str, scheme: str, meaning: str = "Meaning", tag: str = "00080100") -> DataSet:
    document: Document = {
        tag: {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": [scheme]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }
    return DataSet(document)


def told(code: DataSet, root: DataSet = ROOT, schemes: dict[str, str] | None = None) -> Any:
    found = concept(code, schemes or {}, root)
    assert found is not None
    assert found["text"] == "Meaning"
    [coding] = found.get("coding", [None])
    return coding


def test_the_systems_of_the_standards_schemes_are_told() -> None:
    for scheme, system in (
        ("SCT", "http://snomed.info/sct"),
        ("DCM", "http://dicom.nema.org/resources/ontology/DCM"),
        ("LN", "http://loinc.org"),
        ("UCUM", "http://unitsofmeasure.org"),
    ):
        assert told(item("1", scheme)) == {"system": system, "code": "1", "display": "Meaning"}


def test_old_snomed_codes_are_told_as_new_ones() -> None:
    coding = told(item("T-D3000", "SRT"))
    assert (coding["system"], coding["code"]) == ("http://snomed.info/sct", "51185008")


def test_an_old_snomed_code_without_a_new_one_is_told_in_words() -> None:
    assert told(item("Z-99999", "SRT")) is None


def test_a_private_scheme_is_told_by_the_uid_that_the_data_set_gives_it() -> None:
    schemes: Document = {
        "00080102": {"vr": "SH", "Value": ["99HOSP"]},
        "0008010C": {"vr": "UI", "Value": ["1.2.3"]},
    }
    root = DataSet({"00080110": {"vr": "SQ", "Value": [schemes]}})
    assert told(item("7", "99HOSP"), root)["system"] == "urn:oid:1.2.3"


def test_a_private_scheme_is_told_by_the_system_that_the_site_gives_it() -> None:
    site = {"99HOSP": "https://hospital.example.org/codes"}
    assert told(item("7", "99HOSP"), schemes=site)["system"] == site["99HOSP"]


def test_a_private_scheme_that_nobody_knows_is_told_in_words() -> None:
    assert told(item("7", "99HOSP")) is None


def test_long_codes_are_codes() -> None:
    assert told(item("1" * 20, "SCT", tag="00080119"))["code"] == "1" * 20


def test_a_body_part_is_told_by_the_code_of_the_standard() -> None:
    assert body_part("CHEST") == {
        "system": "http://snomed.info/sct",
        "code": "816094009",
        "display": "Chest",
    }


def test_body_parts_whose_names_mean_something_else_are_not_confused() -> None:
    right = {
        "HIP": "24136001",
        "LUMEN": "91747007",
        "NASOPHARYNX": "360955006",
        "PELVIS": "816092008",
        "RADIUS": "62413002",
    }
    assert {term: body_part(term)["code"] for term in right} == right


def test_all_but_two_codes_of_body_parts_are_known_to_pydicom() -> None:
    from shared.fhir.body_part import _CODES

    by_name: Any = concepts["SCT"]
    known = {code for codes in by_name.values() for code in codes}
    unknown = {term for term, (code, _) in _CODES.items() if code not in known}
    assert unknown == {"LOWERTRUNK", "UPPERTRUNK"}
    assert len(_CODES) == 317


def test_an_unknown_body_part_is_told_as_it_is_written() -> None:
    assert body_part("LEFT BIG TOE") == {"display": "LEFT BIG TOE"}


def test_a_private_scheme_is_told_by_its_address_and_by_nothing_that_is_no_uid() -> None:
    schemes: Document = {
        "00080102": {"vr": "SH", "Value": ["99HOSP"]},
        "0008010C": {"vr": "UI", "Value": ["no uid"]},
        "0008010E": {"vr": "UR", "Value": ["https://hospital.example.org/codes"]},
    }
    root = DataSet({"00080110": {"vr": "SQ", "Value": [schemes]}})
    assert told(item("7", "99HOSP"), root)["system"] == "https://hospital.example.org/codes"
    del schemes["0008010E"]
    assert told(item("7", "99HOSP"), root) is None


def test_a_code_that_is_a_uri_needs_no_scheme() -> None:
    code = item("urn:x:7", "", tag="00080120")
    assert told(code) == {"system": "urn:ietf:rfc:3986", "code": "urn:x:7", "display": "Meaning"}
