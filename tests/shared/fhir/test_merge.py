"""What becomes of resources that are there already."""

from typing import Any

import pytest

from shared.fhir.merge import (
    is_same,
    is_somebody_else,
    merge_imaging_study,
    merge_own,
    merge_patient,
    merge_shared,
    without_ours,
)
from shared.fhir.ownership import is_ours, mark
from shared.fhir.resource import Resource
from shared.fhir.rules import PatientRule
from tests.shared.fhir.contents import ACCESSION_SYSTEM, PATIENT_SYSTEM, SERVICE, rules

RULES = rules()
OWN, OTHER = "Endpoint/own", "Endpoint/other"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
ACSN = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
UID = {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}
RIS = {"system": "urn:x-hospital:ris", "value": "7"}


def _ours(resource: Resource) -> Resource:
    return mark(resource, RULES.default_partition, RULES)


def _held(resource: Resource, **meta: Any) -> Resource:
    """As a server gives it."""
    held = {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z", **meta}
    return {**resource, "id": "x", "meta": {**resource.get("meta", {}), **held}}


def _accession(value: str) -> Resource:
    return {"type": ACSN, "system": ACCESSION_SYSTEM, "value": value}


def _series(uid: str, code: str = "CT", **more: Any) -> Resource:
    return {
        "uid": uid,
        "modality": {"system": DCM, "code": code},
        "numberOfInstances": 1,
        **more,
    }


def _study(*series: Resource, **more: Any) -> Resource:
    study: Resource = {
        "resourceType": "ImagingStudy",
        "identifier": [UID, _accession("A1")],
        "status": "available",
        "modality": [{"system": DCM, "code": "CT"}],
        "subject": {"reference": "Patient/p"},
        "endpoint": [{"reference": OWN}],
        "numberOfSeries": len(series),
        "numberOfInstances": len(series),
        "series": list(series),
        **more,
    }
    return {name: value for name, value in study.items() if value is not None}


def _patient(**more: Any) -> Resource:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": PATIENT_SYSTEM, "value": "P1"}],
        "name": [{"use": "usual", "family": "Doe", "given": ["Jane"]}],
        "birthDate": "1970-01-02",
        **more,
    }


def test_only_what_bears_our_mark_is_ours() -> None:
    assert is_ours(_ours(_study()), RULES)
    assert not is_ours(_study(), RULES)
    assert not is_ours(_ours(_study()), rules(dicomweb_url="https://another.example.org/v2"))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"a": 203.12}, {"a": 203.120}, True),
        ({"a": 7}, {"a": 7.0}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": 1}, {"a": 1, "text": {"div": "x"}}, True),
        ({"a": 1}, {"a": 1, "meta": {"versionId": "7", "lastUpdated": "2026"}}, True),
        ({"a": 1}, {"a": 1, "meta": {"security": [{"system": "s", "code": "ANONYED"}]}}, False),
        (
            {"a": 1, "meta": {"tag": [{"code": "x"}, {"code": "y"}]}},
            {"a": 1, "meta": {"tag": [{"code": "y"}, {"code": "x"}]}},
            True,
        ),
    ],
)
def test_resources_are_the_same_if_they_say_the_same(
    first: Resource, second: Resource, *, same: bool
) -> None:
    assert is_same(first, second) is same


def test_a_study_of_ours_that_has_not_changed_is_the_same() -> None:
    proposed = _ours(_study(_series("1"), _series("2")))

    assert is_same(merge_imaging_study(_held(proposed), proposed, OWN, RULES), _held(proposed))


def test_what_is_not_said_any_more_of_a_study_of_ours_is_taken_away() -> None:
    held = _held(_ours(_study(_series("1", description="Old"), _series("2"), started="2026")))

    merged = merge_imaging_study(held, _ours(_study(_series("1"))), OWN, RULES)

    assert "started" not in merged
    assert merged["series"] == [_series("1")]


def test_accession_numbers_of_a_study_of_ours_are_replaced_and_other_identifiers_kept() -> None:
    held = _held(_ours(_study(_series("1"), identifier=[RIS, UID, _accession("A0")])))

    merged = merge_imaging_study(held, _ours(_study(_series("1"))), OWN, RULES)

    assert merged["identifier"] == [UID, _accession("A1"), RIS]


def test_accession_numbers_of_a_study_of_somebody_else_are_kept() -> None:
    held = _held(_study(_series("9"), identifier=[UID, _accession("A0")]))

    merged = merge_imaging_study(held, _ours(_study(_series("1"))), OWN, RULES)

    assert merged["identifier"] == [UID, _accession("A0"), _accession("A1")]
    assert not is_ours(merged, RULES)


def test_series_of_another_archive_stay_and_are_counted() -> None:
    foreign = _series("9", "US", numberOfInstances=5, endpoint=[{"reference": OTHER}])
    held = _held(_ours(_study(_series("1"), foreign)))

    merged = merge_imaging_study(held, _ours(_study(_series("1"), _series("2"))), OWN, RULES)

    assert [one["uid"] for one in merged["series"]] == ["1", "2", "9"]
    assert (merged["numberOfSeries"], merged["numberOfInstances"]) == (3, 7)


@pytest.mark.parametrize("is_r5", [False, True])
def test_modalities_are_those_of_our_series_and_of_others(*, is_r5: bool) -> None:
    def modality(code: str) -> Resource:
        coding = {"system": DCM, "code": code}
        return {"coding": [coding]} if is_r5 else coding

    foreign = {"uid": "9", "modality": modality("US"), "endpoint": [{"reference": OTHER}]}
    before = [modality("CT"), modality("MR"), modality("US")]
    held = _held(_ours(_study(_series("1"), foreign, modality=before)))
    proposed = _ours(_study(_series("1"), modality=[modality("CT")]))

    merged = merge_imaging_study(held, proposed, OWN, RULES)

    assert merged["modality"] == [modality("CT"), modality("US")]


def test_nothing_that_somebody_else_says_of_his_study_is_changed() -> None:
    held = _held(_study(_series("9"), description="Theirs", subject={"reference": "Patient/t"}))
    proposed = _ours(_study(_series("1"), description="Ours", started="2026"))

    merged = merge_imaging_study(held, proposed, OWN, RULES)

    assert (merged["description"], merged["subject"]) == ("Theirs", {"reference": "Patient/t"})
    assert merged["started"] == "2026"
    assert merged["meta"] == held["meta"]
    assert merged["series"] == [_series("1", endpoint=[{"reference": OWN}]), _series("9")]
    assert merge_imaging_study(merged, proposed, OWN, RULES) == merged


def test_a_series_that_another_archive_tells_of_is_left_to_it() -> None:
    theirs = _series("1", description="Theirs", endpoint=[{"reference": OTHER}])
    held = _held(_ours(_study(theirs)))

    merged = merge_imaging_study(held, _ours(_study(_series("1"))), OWN, RULES)

    assert merged["series"] == [theirs]


def test_of_a_study_that_is_gone_nothing_of_ours_is_left() -> None:
    assert without_ours(_held(_ours(_study(_series("1")))), OWN, RULES) is None


def test_a_study_that_is_gone_loses_our_series_where_others_are_there() -> None:
    foreign = _series("9", endpoint=[{"reference": OTHER}])
    held = _held(_study(_series("1", endpoint=[{"reference": OWN}]), foreign))

    left = without_ours(held, OWN, RULES)

    assert left is not None
    assert (left["series"], left["numberOfSeries"], left["status"]) == ([foreign], 1, "available")
    assert "endpoint" not in left
    assert without_ours(left, OWN, RULES) == left


def test_somebody_else_may_have_more_than_he_lists() -> None:
    held = _held(_study(_series("1.1"), numberOfSeries=3, numberOfInstances=120))
    merged = merge_imaging_study(held, _ours(_study(_series("1.9"))), OWN, RULES)
    assert (merged["numberOfSeries"], merged["numberOfInstances"]) == (4, 121)
    again = merge_imaging_study(merged, _ours(_study(_series("1.9"))), OWN, RULES)
    assert is_same(again, merged)
    left = without_ours(merged, OWN, RULES)
    assert left
    assert (left["numberOfSeries"], left["numberOfInstances"]) == (3, 120)


def test_a_study_in_which_nothing_is_ours_is_left_as_it_is() -> None:
    held = _held(_study(_series("1.1"), numberOfSeries=3, endpoint=[{"reference": OTHER}]))
    assert without_ours(held, OWN, RULES) == held


@pytest.mark.parametrize(
    "foreign",
    [{"note": [{"text": "Seen."}]}, {"identifier": [UID, RIS]}, {"encounter": {"id": "e"}}],
)
def test_a_study_that_is_gone_is_withdrawn_where_others_say_something_of_it(
    foreign: Resource,
) -> None:
    left = without_ours(_held(_ours(_study(_series("1"), **foreign))), OWN, RULES)

    assert left is not None
    assert left["status"] == "entered-in-error"
    assert left["numberOfInstances"] == 0
    assert "series" not in left
    assert {name: left[name] for name in foreign} == foreign


@pytest.mark.parametrize(
    ("rule", "ours", "family", "gender"),
    [
        (PatientRule.NEVER, True, "Old", None),
        (PatientRule.NEVER, False, "Old", None),
        (PatientRule.FILL, True, "Old", "female"),
        (PatientRule.FILL, False, "Old", "female"),
        (PatientRule.SYNC, True, "Doe", "female"),
        (PatientRule.SYNC, False, "Old", "female"),
        (PatientRule.OVERWRITE, True, "Doe", "female"),
        (PatientRule.OVERWRITE, False, "Doe", "female"),
    ],
)
def test_a_patient_changes_as_far_as_the_rule_lets_it(
    rule: PatientRule, family: str, gender: str | None, *, ours: bool
) -> None:
    before = _patient(name=[{"use": "usual", "family": "Old"}], maritalStatus={"text": "M"})
    held = _held(_ours(before) if ours else before)

    merged = merge_patient(held, _ours(_patient(gender="female")), rule, RULES)

    assert merged["name"][0]["family"] == family
    assert merged.get("gender") == gender
    assert merged["maritalStatus"] == {"text": "M"}
    assert is_ours(merged, RULES) is ours


def test_a_patient_whose_family_name_and_birth_date_differ_seems_another_person() -> None:
    held = _held(_patient(name=[{"family": "Roe"}], birthDate="1950-05-05"))

    assert is_somebody_else(held, _ours(_patient()))


@pytest.mark.parametrize(
    "same", [{"name": [{"family": "DOE"}]}, {"birthDate": "1970-01-02"}, {"birthDate": None}]
)
def test_a_patient_of_whom_something_agrees_does_not(same: Resource) -> None:
    known = {"name": [{"family": "Roe"}], "birthDate": "1950-05-05", **same}
    held = _held({n: v for n, v in _patient(**known).items() if v is not None})

    assert not is_somebody_else(held, _ours(_patient()))


def test_identifiers_of_a_patient_are_only_added() -> None:
    own = _patient()["identifier"][0]
    held = _held(_patient(identifier=[RIS, {**own, "use": "official"}]))

    merged = merge_patient(held, _ours(_patient()), PatientRule.OVERWRITE, RULES)

    assert merged["identifier"] == held["identifier"]


def test_a_device_learns_and_forgets_not() -> None:
    def device(version: str, **more: Any) -> Resource:
        return _ours({"resourceType": "Device", "version": [{"value": version}], **more})

    held = _held(device("1", manufacturer="Maker"))

    merged = merge_shared(held, device("2", serialNumber="7"), RULES)

    assert merged["version"] == [{"value": "1"}, {"value": "2"}]
    assert (merged["manufacturer"], merged["serialNumber"]) == ("Maker", "7")
    assert is_same(merge_shared(merged, device("1"), RULES), merged)


@pytest.mark.parametrize("merge", [merge_own, merge_shared])
def test_devices_and_observations_of_somebody_else_are_left_alone(merge: Any) -> None:
    held = _held({"resourceType": "Device", "status": "inactive"})

    assert merge(held, _ours({"resourceType": "Device", "status": "active"}), RULES) == held


def test_an_observation_of_ours_follows_its_report_and_keeps_notes() -> None:
    before = {"resourceType": "Observation", "status": "preliminary", "valueString": "x"}
    held = _held(_ours({**before, "note": [{"text": "Seen."}]}), profile=["p"])

    merged = merge_own(held, _ours({"resourceType": "Observation", "status": "final"}), RULES)

    assert (merged["id"], merged["status"], merged["note"]) == ("x", "final", [{"text": "Seen."}])
    assert "valueString" not in merged
    assert merged["meta"]["profile"] == ["p"]
    assert merged["meta"]["source"] == SERVICE
