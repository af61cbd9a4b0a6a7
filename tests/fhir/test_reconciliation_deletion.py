"""What becomes of the resources of what is deleted."""

from typing import Any

import pytest

from shared.services.fhir_reconciliation import ReconcileOutcome
from tests.builders import dataset
from tests.fhir.told_archive import ToldArchive, told_archive
from tests.fhir_server import FhirTestServer

pytestmark = pytest.mark.host

UID, FIRST, SECOND = "1.2.3", "1.2.3.1", "1.2.3.2"


async def _two_series(archive: ToldArchive) -> None:
    await archive.store(
        dataset(StudyInstanceUID=UID, SeriesInstanceUID=FIRST, SOPInstanceUID=f"{FIRST}.1"),
        dataset(StudyInstanceUID=UID, SeriesInstanceUID=FIRST, SOPInstanceUID=f"{FIRST}.2"),
        dataset(
            StudyInstanceUID=UID,
            SeriesInstanceUID=SECOND,
            SOPInstanceUID=f"{SECOND}.1",
            Modality="MR",
        ),
    )
    await archive.tell(UID)


def _uids(study: dict[str, Any]) -> dict[str, list[str]]:
    return {series["uid"]: [one["uid"] for one in series["instance"]] for series in study["series"]}


async def test_an_instance_and_a_series_that_are_deleted_are_told_no_more(
    archive: ToldArchive,
) -> None:
    await _two_series(archive)

    await archive.delete(UID, FIRST, f"{FIRST}.1")
    await archive.tell(UID)
    assert _uids(archive.study()) == {FIRST: [f"{FIRST}.2"], SECOND: [f"{SECOND}.1"]}

    await archive.delete(UID, SECOND)
    await archive.tell(UID)
    study = archive.study()
    assert _uids(study) == {FIRST: [f"{FIRST}.2"]}
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (1, 1)
    assert [one["code"] for one in study["modality"]] == ["CT"]


async def test_a_study_whose_last_instance_is_deleted_is_deleted_and_its_patient_stays(
    archive: ToldArchive,
) -> None:
    await archive.store(
        dataset(StudyInstanceUID=UID, SeriesInstanceUID=FIRST, SOPInstanceUID=f"{FIRST}.1")
    )
    await archive.tell(UID)

    await archive.delete(UID, FIRST, f"{FIRST}.1")

    assert await archive.tell(UID) is ReconcileOutcome.WRITTEN
    assert archive.fhir.count("ImagingStudy") == 0
    assert archive.fhir.count("Patient") == 1
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


async def test_a_study_with_series_of_another_archive_loses_only_ours(
    archive: ToldArchive,
) -> None:
    await _two_series(archive)
    foreign = {
        "uid": "1.2.3.9",
        "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"},
        "endpoint": [{"reference": "Endpoint/elsewhere"}],
    }
    study = archive.study()
    archive.fhir.update({**study, "series": [*study["series"], foreign]})
    await archive.store(dataset(StudyInstanceUID=UID, SeriesInstanceUID=FIRST))
    await archive.tell(UID)
    assert len(archive.study()["series"]) == 3
    assert {one["code"] for one in archive.study()["modality"]} == {"CT", "MR"}

    await archive.delete(UID)
    await archive.tell(UID)

    assert archive.study()["series"] == [foreign]
    assert archive.study()["status"] == "available"
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


@pytest.mark.parametrize(
    "foreign",
    [
        {"note": [{"text": "Seen."}]},
        {"identifier": [{"system": "urn:x-hospital:ris", "value": "7"}]},
    ],
)
async def test_what_others_say_of_a_deleted_study_stays_and_the_study_is_withdrawn(
    archive: ToldArchive, foreign: dict[str, Any]
) -> None:
    await _two_series(archive)
    [(name, said)] = foreign.items()
    study = archive.study()
    archive.fhir.update({**study, name: [*study.get(name, []), *said]})

    await archive.delete(UID)
    await archive.tell(UID)

    left = archive.study()
    assert left["status"] == "entered-in-error"
    assert said[0] in left[name]
    assert "series" not in left
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED

    await _two_series(archive)
    again = archive.study()
    assert (again["id"], again["status"], again["numberOfSeries"]) == (left["id"], "available", 2)
    assert said[0] in again[name]


@pytest.mark.parametrize("rule", ["entered-in-error", "cancelled", "keep"])
async def test_a_deleted_study_becomes_what_the_rule_says(fhir: FhirTestServer, rule: str) -> None:
    async with told_archive(fhir, FHIR_DELETED_STUDIES=rule) as archive:
        await _two_series(archive)

        await archive.delete(UID)
        await archive.tell(UID)

        assert archive.study()["status"] == ("available" if rule == "keep" else rule)
        assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED
