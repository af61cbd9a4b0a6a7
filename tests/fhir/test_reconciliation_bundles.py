"""Studies that take several transactions, and servers that offer none."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from pydicom.dataset import Dataset

from shared.services.fhir_reconciliation import ReconcileOutcome
from tests.builders import dataset
from tests.fhir.told_archive import ToldArchive, told_archive
from tests.fhir_server import FhirTestServer, running_fhir_server
from tests.shared.fhir.dose_reports import code, container, report, uid

pytestmark = pytest.mark.host

UID = "1.2.3"
EVENTS = 30


@pytest.fixture(scope="module")
def plain() -> Iterator[FhirTestServer]:
    """A server without bundles."""
    with running_fhir_server("--no=transaction,batch") as server:
        yield server


@pytest.fixture
async def unbundled(plain: FhirTestServer) -> AsyncIterator[ToldArchive]:
    async with told_archive(plain) as opened:
        yield opened


def _report(*children: Dataset) -> Dataset:
    return report(
        code("113701", "X-Ray Radiation Dose Report"),
        children,
        StudyInstanceUID=UID,
        SeriesInstanceUID=f"{UID}.9",
    )


def _event(number: int) -> Dataset:
    name = code("113769", "Irradiation Event UID")
    return container(code("113819", "CT Acquisition"), uid(name, f"1.2.3.7.{number}"))


async def test_events_of_a_dose_report_are_made_before_the_report_that_has_them(
    fhir: FhirTestServer,
) -> None:
    async with told_archive(fhir, FHIR_DOSE="events") as archive:
        await archive.store(_report(*map(_event, range(EVENTS))))

        await archive.tell(UID)

        found = {f"Observation/{one['id']}": one for one in fhir.all("Observation")}
        [report] = [one for one in found.values() if "hasMember" in one]
        members = {one["reference"] for one in report["hasMember"]}
        assert len(members) == EVENTS
        assert members == found.keys() - {f"Observation/{report['id']}"}
        study = f"ImagingStudy/{archive.study()['id']}"
        assert all(one["partOf"] == [{"reference": study}] for one in found.values())
        assert "urn:uuid:" not in json.dumps(list(found.values()))
        assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED

        await archive.delete(UID)
        await archive.tell(UID)
        assert fhir.count("Observation") == fhir.count("ImagingStudy") == 0


async def test_a_server_without_bundles_is_told_the_same(unbundled: ToldArchive) -> None:
    archive, fhir = unbundled, unbundled.fhir
    await archive.store(
        dataset(StudyInstanceUID=UID, Manufacturer="M", DeviceSerialNumber="7"),
        _report(_event(1)),
    )
    await archive.tell(UID)

    subject = {"reference": f"Patient/{fhir.one('Patient')['id']}"}
    study, observation = archive.study(), fhir.one("Observation")
    assert study["subject"] == observation["subject"] == subject
    assert observation["partOf"] == [{"reference": f"ImagingStudy/{study['id']}"}]
    assert "urn:uuid:" not in json.dumps([study, observation])
    before = archive.versions()
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED
    assert archive.versions() == before

    await archive.delete(UID, f"{UID}.9")
    await archive.tell(UID)
    assert fhir.count("Observation") == 0
    assert archive.study()["numberOfSeries"] == 1
    await archive.delete(UID)
    await archive.tell(UID)
    assert fhir.count("ImagingStudy") == 0


async def test_no_identifier_is_in_the_address_of_a_request(unbundled: ToldArchive) -> None:
    await unbundled.store(
        dataset(StudyInstanceUID=UID, PatientID="Canary", AccessionNumber="Canary")
    )
    asked = len(unbundled.fhir.log())

    await unbundled.tell(UID)
    await unbundled.tell(UID)

    assert not [one for one in unbundled.fhir.log()[asked:] if "Canary" in one["url"]]
