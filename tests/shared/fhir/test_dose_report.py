"""Dose reports are told once each, by their totals."""

from typing import Any

import orjson
from pydicom.dataset import Dataset

from shared.fhir.r5 import to_r5
from shared.fhir.rules import DoseRule
from tests.builders import dataset
from tests.fhir_judges import assert_valid
from tests.shared.fhir.contents import mapped
from tests.shared.fhir.dose_reports import (
    biplane_report,
    ct_report,
    radiopharmaceutical_report,
)


def observations(*sources: Dataset, **others: Any) -> list[dict[str, Any]]:
    resources = mapped(*sources, **others)
    for one in resources.observations:
        assert_valid(one.resource)
        assert_valid(to_r5(one.resource), "R5")
    return [one.resource for one in resources.observations]


def values(observation: dict[str, Any]) -> dict[str, Any]:
    """The values of the components by the codes of their names."""
    return {
        part["code"]["coding"][0]["code"]: next(
            value for name, value in part.items() if name.startswith("value")
        )
        for part in observation["component"]
    }


def test_of_two_reports_of_one_event_always_the_same_one_tells_of_it() -> None:
    first, second = (ct_report(SOPInstanceUID=f"1.2.3.{number}") for number in (1, 2))
    second.ContentDate = "20300101"
    ways = [
        sorted(map(str, observations(*sources, dose=DoseRule.EVENTS)))
        for sources in ((first, second), (second, first))
    ]
    assert ways[0] == ways[1]


def test_a_report_is_one_observation_known_by_its_own_uid() -> None:
    source = ct_report(SOPInstanceUID="1.2.3.4")
    [found] = observations(source)
    assert found["identifier"] == [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.4"}]
    assert found["code"]["coding"] == [{"system": "http://loinc.org", "code": "73569-6"}]
    study = mapped(source).imaging_study.full_url
    assert found["partOf"] == found["focus"] == [{"reference": study}]
    assert (found["status"], found["effectiveDateTime"]) == ("final", "2026-01-02")
    assert found["device"]["identifier"]["value"] == "urn:oid:1.2.8"
    assert found["performer"] == [{"type": "Practitioner", "display": "Tor Doc"}]


def test_values_are_the_totals_and_not_those_of_events() -> None:
    [found] = observations(ct_report())
    assert values(found) == {
        "121058": {
            "coding": [{"system": "http://snomed.info/sct", "code": "77477000", "display": "CT"}],
            "text": "CT",
        },
        "113812": 2,
        "113813": {
            "value": 203.12,
            "unit": "mGy.cm",
            "system": "http://unitsofmeasure.org",
            "code": "mGy.cm",
        },
    }
    assert {"113838", "113830"}.isdisjoint(values(found))
    assert found["valueString"] == "CT Dose Length Product Total 203.12 mGy.cm"


def test_an_implausible_number_does_not_keep_the_study_from_being_told() -> None:
    for number, value in (("1e30", 1e30), ("-0", 0), ("1e308", 1e308)):
        [found] = observations(ct_report(number))
        orjson.dumps(found)
        assert values(found)["113813"]["value"] == value


def test_the_totals_of_two_planes_are_told_apart() -> None:
    [found] = observations(biplane_report())
    told = [(part["code"]["text"], part["valueQuantity"]["value"]) for part in found["component"]]
    assert told == [
        ("Dose Area Product Total, Plane A", 0.1),
        ("Dose Area Product Total, Plane B", 0.2),
    ]


def test_what_was_administered_is_told_also_by_old_codes() -> None:
    [found] = observations(radiopharmaceutical_report())
    told = values(found)
    assert told["113507"]["value"] == 370
    assert told["349358000"]["text"] == "FDG"
    assert told["410675002"]["text"] == "IV"


def test_events_are_told_where_that_is_wanted() -> None:
    found = observations(ct_report(), dose=DoseRule.EVENTS)
    events = [one for one in found if one["code"]["coding"][0]["code"] == "113852"]
    assert sorted(one["identifier"][0]["value"] for one in events) == [
        "urn:oid:1.2.9.1",
        "urn:oid:1.2.9.2",
    ]
    assert all(one["bodySite"]["coding"][0]["code"] == "51185008" for one in events)
    assert {value["value"] for one in events for value in values(one).values()} == {
        1.5,
        2.5,
        100.5,
        200.5,
    }
    [summary] = [one for one in found if one not in events]
    assert len(summary["hasMember"]) == 2


def test_a_preliminary_or_partial_report_is_preliminary() -> None:
    partial, preliminary = ct_report(), ct_report()
    partial.CompletionFlag = "PARTIAL"
    preliminary.PreliminaryFlag = "PRELIMINARY"
    for source in (partial, preliminary):
        [found] = observations(source)
        assert found["status"] == "preliminary"


def test_dose_is_not_told_where_that_is_not_wanted_nor_of_images() -> None:
    assert observations(ct_report(), dose=DoseRule.OFF) == []
    assert observations(dataset()) == []
