"""A server of R5 is told in R5, and told again only what has changed."""

from collections.abc import AsyncIterator

import pytest

from shared.services.fhir_reconciliation import ReconcileOutcome
from tests.builders import dataset
from tests.fhir.told_archive import ToldArchive, told_archive
from tests.fhir_judges import assert_valid
from tests.fhir_server import running_fhir_server
from tests.shared.fhir.dose_reports import ct_report

pytestmark = pytest.mark.host

UID = "1.2.3"


@pytest.fixture
async def archive() -> AsyncIterator[ToldArchive]:
    with running_fhir_server("--version=5.0.0") as server:
        async with told_archive(server, FHIR_ORDERS="create", FHIR_DOSE="events") as opened:
            yield opened


async def test_a_study_is_told_changed_and_taken_away_in_r5(archive: ToldArchive) -> None:
    equipment = {"Manufacturer": "Maker", "ManufacturerModelName": "M", "DeviceSerialNumber": "7"}
    image = dataset(StudyInstanceUID=UID, BodyPartExamined="CHEST", **equipment)
    await archive.store(image, ct_report(StudyInstanceUID=UID))
    assert await archive.tell(UID) is ReconcileOutcome.WRITTEN
    kinds = ("Patient", "Device", "ServiceRequest", "Endpoint", "ImagingStudy", "Observation")
    for kind in kinds:
        found = archive.fhir.all(kind)
        assert found, kind
        for resource in found:
            assert_valid(resource, "R5")
    study = archive.study()
    assert [one["coding"][0]["code"] for one in study["modality"]] == ["CT", "SR"]
    assert "procedureCode" not in study

    before = archive.versions()
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED
    assert archive.versions() == before

    await archive.store(dataset(StudyInstanceUID=UID, StudyDescription="Another"))
    assert await archive.tell(UID) is ReconcileOutcome.WRITTEN
    assert archive.study()["description"] == "Another"
    assert_valid(archive.study(), "R5")

    await archive.delete(UID)
    assert await archive.tell(UID) is ReconcileOutcome.WRITTEN
    assert archive.fhir.all("ImagingStudy") == archive.fhir.all("Observation") == []
