"""Patients are known by what was issued and by whom."""

from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.fhir.resource import Identifier
from shared.fhir.search import FhirSearch, token
from tests.builders import dataset
from tests.fhir_judges import assert_valid
from tests.shared.fhir.contents import PATIENT_SYSTEM, mapped

ISSUERS = {"HOSPITAL": "https://hospital.example.org/other"}
TEMPLATE = "https://hospital.example.org/issuer/{issuer}"


def patient(source: Dataset, **others: Any) -> dict[str, Any]:
    proposed = mapped(source, **others).patient
    assert proposed is not None
    assert_valid(proposed.resource)
    return proposed.resource


def with_qualifiers(entity: str, kind: str) -> Dataset:
    qualifiers = Dataset()
    qualifiers.UniversalEntityID = entity
    qualifiers.UniversalEntityIDType = kind
    return dataset(IssuerOfPatientID="HOSPITAL", IssuerOfPatientIDQualifiersSequence=[qualifiers])


def test_a_patient_has_identifier_name_sex_and_birth_date() -> None:
    found = patient(dataset())
    assert found["identifier"] == [
        {
            "use": "usual",
            "type": {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}
                ]
            },
            "system": PATIENT_SYSTEM,
            "value": "P1",
        }
    ]
    assert found["name"][0]["family"] == "Doe"
    assert (found["gender"], found["birthDate"]) == ("female", "1970-01-02")


@pytest.mark.parametrize(
    ("entity", "kind", "system"),
    [
        ("1.2.3", "ISO", "urn:oid:1.2.3"),
        (
            "9F2C0F0E-1D5C-4C9E-8F58-2E5C7F0A9B1D",
            "UUID",
            "urn:uuid:9f2c0f0e-1d5c-4c9e-8f58-2e5c7f0a9b1d",
        ),
        ("https://a.example.org/ids", "URI", "https://a.example.org/ids"),
        ("a.example.org", "DNS", ISSUERS["HOSPITAL"]),
        ("no oid", "ISO", ISSUERS["HOSPITAL"]),
    ],
)
def test_the_universal_issuer_goes_before_the_local_one(
    entity: str, kind: str, system: str
) -> None:
    found = patient(with_qualifiers(entity, kind), issuer_systems=ISSUERS)
    assert found["identifier"][0]["system"] == system
    assert found["identifier"][0]["assigner"] == {"display": "HOSPITAL"}


def test_a_local_issuer_is_told_by_the_map_then_by_the_template_then_by_the_default() -> None:
    source = dataset(IssuerOfPatientID="West Wing/2")
    systems = [
        patient(source, **site)["identifier"][0]["system"]
        for site in (
            {"issuer_systems": {"West Wing/2": "urn:west"}, "issuer_template": TEMPLATE},
            {"issuer_template": TEMPLATE},
            {},
        )
    ]
    assert systems == [
        "urn:west",
        "https://hospital.example.org/issuer/West%20Wing%2F2",
        PATIENT_SYSTEM,
    ]


def test_issuers_that_are_known_by_host_names_are_not_one() -> None:
    sources = [with_qualifiers(host, "DNS") for host in ("a.example.org", "b.example.org")]
    for source in sources:
        del source.IssuerOfPatientID
    systems = {
        patient(source, issuer_template=TEMPLATE)["identifier"][0]["system"] for source in sources
    }
    assert len(systems) == 2


def test_one_id_of_two_issuers_is_two_patients() -> None:
    one, other = (
        mapped(dataset(IssuerOfPatientID=issuer), issuer_template=TEMPLATE).patient
        for issuer in ("A", "B")
    )
    assert one is not None
    assert other is not None
    assert one.full_url != other.full_url


def test_a_search_escapes_what_means_something_in_fhir_and_in_addresses() -> None:
    key = Identifier("https://a.example.org/p", r"a,b|c$d\e f&é")
    assert token(key) == r"https://a.example.org/p|a\,b\|c\$d\\e f&é"
    query = FhirSearch.by_identifier("Patient", key).query
    assert query.startswith("identifier=https%3A%2F%2Fa.example.org%2Fp%7Ca%5C%2Cb%5C%7Cc")
    assert query.count("&") == 0


@pytest.mark.parametrize(
    ("sex", "gender"),
    [("M", "male"), ("F", "female"), ("O", "other"), ("X", "unknown"), ("", None)],
)
def test_an_unknown_sex_is_no_reason_to_tell_nothing(sex: str, gender: str | None) -> None:
    resources = mapped(dataset(PatientSex=sex))
    assert resources.patient is not None
    assert resources.patient.resource.get("gender") == gender
    assert [one.tag for one in resources.warnings if one.tag == "00100040"] == (
        ["00100040"] if gender == "unknown" else []
    )


def test_nobody_is_invented_where_there_is_no_patient_id() -> None:
    resources = mapped(dataset(PatientID=""))
    assert resources.patient is None
    assert resources.imaging_study.resource["subject"] == {
        "type": "Patient",
        "display": "Jane Doe",
    }
    assert "00100020" in [one.tag for one in resources.warnings]


def test_a_patient_id_with_a_backslash_is_that_of_nobody() -> None:
    resources = mapped(dataset(PatientID=["12", "A"]))
    assert resources.patient is None
    [reason] = [one.reason for one in resources.warnings if one.tag == "00100020"]
    assert "several" in reason


def test_an_issuer_whose_system_is_not_known_is_a_warning() -> None:
    source = dataset(IssuerOfPatientID="ELSEWHERE")
    assert "00100021" in [one.tag for one in mapped(source).warnings]
    assert "00100021" not in [
        one.tag for one in mapped(source, issuer_template="urn:x:{issuer}").warnings
    ]


def test_a_phantom_is_a_device() -> None:
    resources = mapped(dataset(QualityControlSubject="YES"))
    assert resources.patient is None
    assert resources.imaging_study.resource["subject"]["type"] == "Device"


def test_an_anonymised_patient_is_marked_so() -> None:
    found = patient(dataset(PatientIdentityRemoved="YES"))
    assert found["meta"]["security"][0]["code"] == "ANONYED"


def test_an_animal_has_its_species_and_who_is_responsible() -> None:
    found = patient(
        dataset(
            PatientSpeciesDescription="Feline",
            PatientBreedDescription="Mixed",
            ResponsiblePerson="Owner^Olga",
        )
    )
    [animal] = found["extension"]
    assert [part["url"] for part in animal["extension"]] == ["species", "breed"]
    assert found["contact"][0]["name"]["family"] == "Owner"


def test_no_warning_holds_a_value() -> None:
    source = dataset(PatientSex="ZEBRA", PatientBirthDate="18000102", SeriesNumber=-55)
    warnings = mapped(source).warnings
    assert len(warnings) >= 3
    said = " ".join(warning.reason for warning in warnings)
    assert not [value for value in ("ZEBRA", "1800", "-55", "Doe") if value in said]
