"""A study is told with its series and instances, once and completely."""

from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.fhir.r5 import to_r5
from shared.fhir.rules import OrderRule, PractitionerRule
from tests.builders import dataset
from tests.fhir_judges import assert_valid
from tests.shared.fhir.contents import ACCESSION_SYSTEM, SERVICE, content_of, mapped, rules

DCM = "http://dicom.nema.org/resources/ontology/DCM"


def study(*sources: Dataset, **others: Any) -> dict[str, Any]:
    resource = mapped(*sources, **others).imaging_study.resource
    assert_valid(resource)
    assert_valid(to_r5(resource), "R5")
    return resource


def of_one_study(count: int, **keywords: Any) -> list[Dataset]:
    """Instances of one study, each in a series of its own."""
    return [
        dataset(StudyInstanceUID="1.2", SeriesInstanceUID=f"1.2.{n}", SeriesNumber=n, **keywords)
        for n in range(1, count + 1)
    ]


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def test_a_study_is_known_by_its_uid() -> None:
    found = study(dataset(StudyInstanceUID="1.2.3"))
    assert found["identifier"][0] == {
        "use": "official",
        "system": "urn:dicom:uid",
        "value": "urn:oid:1.2.3",
    }


def test_modalities_are_those_of_its_series_in_the_system_of_dicom() -> None:
    sources = of_one_study(3)
    for source, modality in zip(sources, ("PT", "CT", "SR"), strict=True):
        source.Modality = modality
    found = study(*sources)
    assert found["modality"] == [
        {"system": DCM, "code": "CT"},
        {"system": DCM, "code": "PT"},
    ]
    r5 = to_r5(mapped(*sources).imaging_study.resource)
    assert [one["coding"][0]["code"] for one in r5["modality"]] == ["CT", "PT", "SR"]


def test_a_series_without_a_modality_is_of_another_one() -> None:
    resources = mapped(dataset(Modality=""))
    assert resources.imaging_study.resource["series"][0]["modality"]["code"] == "OT"
    assert "00080060" in [one.tag for one in resources.warnings]


def test_the_class_of_an_instance_is_an_oid_in_the_system_of_uris() -> None:
    [instance] = study(dataset())["series"][0]["instance"]
    assert instance["sopClass"] == {
        "system": "urn:ietf:rfc:3986",
        "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2",
    }


def test_series_and_instances_are_counted_and_the_description_is_no_note() -> None:
    found = study(*of_one_study(3))
    assert (found["numberOfSeries"], found["numberOfInstances"]) == (3, 3)
    assert found["series"][0]["numberOfInstances"] == 1
    assert found["description"] == "Chest"
    assert "note" not in found


@pytest.mark.parametrize(("number", "told"), [(-3, None), (0, 0), (2**31 - 1, 2**31 - 1)])
def test_a_negative_number_is_left_out(number: int, told: int | None) -> None:
    source = dataset(SeriesNumber=number, InstanceNumber=number)
    series = study(source)["series"][0]
    assert series.get("number") == series["instance"][0].get("number") == told
    tags = [one.tag for one in mapped(source).warnings]
    assert tags.count("00200011") == tags.count("00200013") == (told is None)


def test_a_study_starts_when_its_own_date_says_else_with_its_first_series() -> None:
    sources = of_one_study(2, TimezoneOffsetFromUTC="+0100")
    for source, hour in zip(sources, ("11", "09"), strict=True):
        source.SeriesDate, source.SeriesTime = "20260102", f"{hour}0000"
    assert study(*sources)["started"] == "2026-01-02T10:11:12+01:00"
    for source in sources:
        source.StudyDate = ""
    assert study(*sources)["started"] == "2026-01-02T09:00:00+01:00"


def test_the_first_series_is_that_of_the_earliest_moment_wherever_it_was() -> None:
    sources = of_one_study(3, StudyDate="")
    times = (("20260102", "+1100"), ("20260101", "-0800"), ("20260103", None))
    for source, (day, offset) in zip(sources, times, strict=True):
        source.SeriesDate, source.SeriesTime = day, "010000"
        if offset:
            source.TimezoneOffsetFromUTC = offset
    assert study(*sources)["started"] == "2026-01-01T01:00:00-08:00"
    sources[1].SeriesDate, sources[1].SeriesTime = "20260101", "230000"
    assert study(*sources)["started"] == "2026-01-02T01:00:00+11:00"


def test_the_accession_number_is_told_in_its_namespace_and_as_the_order() -> None:
    found = study(dataset())
    [number] = [one for one in found["identifier"] if one["value"] == "A1"]
    assert (number["system"], number["type"]["coding"][0]["code"]) == (ACCESSION_SYSTEM, "ACSN")
    assert found["basedOn"] == [{"type": "ServiceRequest", "identifier": number}]
    r5 = to_r5(found)
    assert [one["value"] for one in r5["identifier"]] == [found["identifier"][0]["value"]]


def test_requests_of_series_go_before_the_accession_number_of_the_study() -> None:
    source = dataset()
    items = []
    for number in ("B2", "B1"):
        item = Dataset()
        item.AccessionNumber = number
        items.append(item)
    source.RequestAttributesSequence = items
    found = study(source)
    assert [one["identifier"]["value"] for one in found["basedOn"]] == ["B1", "B2"]


def test_the_same_study_in_two_partitions_is_two_studies_with_endpoints_of_their_own() -> None:
    here, there = dataset(StudyInstanceUID="1.2"), dataset(StudyInstanceUID="1.2")
    one = mapped(here).imaging_study
    other = mapped(there, partition="clinic").imaging_study
    assert one.full_url != other.full_url
    assert one.resource["endpoint"] != other.resource["endpoint"]
    assert other.key.system == f"{SERVICE}/partition"
    assert other.resource["meta"]["source"] == f"{SERVICE}/partitions/clinic"
    assert_valid(other.resource)


def test_names_of_physicians_are_told_without_inventing_resources() -> None:
    resources = mapped(dataset(OperatorsName="Op^Erator", PerformingPhysicianName="Per^Former"))
    found = resources.imaging_study.resource
    assert found["referrer"] == {"type": "Practitioner", "display": "Phys Ref"}
    functions = {
        one["function"]["coding"][0]["code"]: one["actor"]["display"]
        for one in found["series"][0]["performer"]
    }
    assert functions == {"PRF": "Former Per", "SPRF": "Erator Op"}
    assert resources.practitioners == []


def test_a_physician_with_an_identifier_gets_a_resource_and_a_role_where_that_is_wanted() -> None:
    person = Dataset()
    person.InstitutionName = "West Wing"
    person.PersonIdentificationCodeSequence = [coded("77", "99ID", "Phys^Ref")]
    source = dataset(ReferringPhysicianIdentificationSequence=[person])
    site = {"scheme_systems": {"99ID": "urn:x-ids"}}
    told = mapped(source, **site).imaging_study.resource["referrer"]
    assert told["identifier"] == {"system": "urn:x-ids", "value": "77"}
    resources = mapped(source, practitioners=PractitionerRule.CREATE, **site)
    practitioner, role = resources.practitioners
    assert resources.imaging_study.resource["referrer"]["reference"] == practitioner.full_url
    assert role.resource["practitioner"]["reference"] == practitioner.full_url
    for one in resources.practitioners:
        assert_valid(one.resource)


def test_nobody_gets_the_identifier_of_somebody_else() -> None:
    person = Dataset()
    person.PersonIdentificationCodeSequence = [coded("B-1", "99ID", "B")]
    source = dataset(
        OperatorsName=["A^A", "B^B"], OperatorIdentificationSequence=[Dataset(), person]
    )
    found = study(source, scheme_systems={"99ID": "urn:x-ids"})["series"][0]["performer"]
    actors = [one["actor"] for one in found]
    assert [(one["display"], one.get("identifier", {}).get("value")) for one in actors] == [
        ("A A", None),
        ("B B", "B-1"),
    ]


def test_an_identifier_without_a_name_beside_it_is_of_nobody_who_is_named() -> None:
    person = Dataset()
    person.PersonIdentificationCodeSequence = [coded("B-1", "99ID", "B")]
    source = dataset(OperatorsName=["A^A", "B^B"], OperatorIdentificationSequence=[person])
    found = study(source, scheme_systems={"99ID": "urn:x-ids"})["series"][0]["performer"]
    actors = [one["actor"] for one in found]
    assert [(one["display"], one.get("identifier", {}).get("value")) for one in actors] == [
        ("A A", None),
        ("B B", None),
        ("B", "B-1"),
    ]


def test_no_order_is_made_of_somebody_who_is_only_named() -> None:
    resources = mapped(dataset(PatientID=""), orders=OrderRule.CREATE)
    assert resources.orders == []
    assert "reference" not in resources.imaging_study.resource["basedOn"][0]


def test_an_order_is_made_only_where_that_is_wanted() -> None:
    assert mapped(dataset()).orders == []
    resources = mapped(dataset(), orders=OrderRule.CREATE)
    [order] = resources.orders
    assert (order.resource["status"], order.resource["intent"]) == ("unknown", "order")
    assert resources.imaging_study.resource["basedOn"][0]["reference"] == order.full_url
    assert_valid(order.resource)
    assert_valid(to_r5(order.resource), "R5")


def test_equipment_is_known_by_its_uid_else_by_its_serial_number_among_those_of_its_maker() -> None:
    def devices(**keywords: Any) -> list[Any]:
        return list(mapped(dataset(**keywords)).devices)

    [one] = devices(Manufacturer="Maker", ManufacturerModelName="M 1", DeviceSerialNumber="7")
    [other] = devices(Manufacturer="Maker", ManufacturerModelName="M 2", DeviceSerialNumber="7")
    [third] = devices(Manufacturer="Maker", DeviceUID="1.2.3")
    assert len({one.full_url, other.full_url, third.full_url}) == 3
    assert third.key.value == "urn:oid:1.2.3"
    assert devices(Manufacturer="Maker") == []
    for device in (one, third):
        assert_valid(device.resource)
        assert_valid(to_r5(device.resource), "R5")


def test_the_side_of_one_image_is_not_told_of_the_series() -> None:
    left, right = (
        dataset(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1", ImageLaterality=side)
        for side in "LR"
    )
    assert "laterality" not in study(left, right)["series"][0]
    assert study(left)["series"][0]["laterality"]["code"] == "7771000"


def test_reasons_and_procedures_are_told_once_and_in_codes_where_there_are_some() -> None:
    request = Dataset()
    request.ReasonForTheRequestedProcedure = "Cough"
    source = dataset(
        ProcedureCodeSequence=[coded("1", "LN", "CT Chest")],
        ReasonForPerformedProcedureCodeSequence=[coded("49727002", "SCT", "Cough")],
        RequestAttributesSequence=[request],
    )
    found = study(source)
    assert [one["text"] for one in found["procedureCode"]] == ["CT Chest"]
    assert [one["text"] for one in found["reasonCode"]] == ["Cough"]


def test_of_a_study_too_large_to_be_listed_there_are_the_counts() -> None:
    from dataclasses import replace

    from shared.fhir.study_resources import map_study

    content = content_of(*of_one_study(2))
    large = replace(
        content,
        series=[replace(one, instances=(), instance_count=9000) for one in content.series],
    )
    found = map_study(large, rules()).imaging_study.resource
    assert found["numberOfInstances"] == 18_000
    assert "instance" not in found["series"][0]
    assert_valid(found)
