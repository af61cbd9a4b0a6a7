"""A study that changes, and what a FHIR server is told of it, with how many requests."""

from collections.abc import Iterator
from itertools import batched
from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.dicom.blob_names import new_blob_id
from shared.dicom.json_model import Document, from_pydicom
from shared.dicom.resource import ResourcePath
from shared.dicom.searchable import indexed_attributes
from shared.dicom.uid import Uid
from shared.ports import (
    DEFAULT_PARTITION_NAME,
    InstanceFile,
    NewInstance,
    OperationStatus,
)
from shared.services.fhir_reconciliation import ReconcileOutcome
from tests.builders import dataset
from tests.fhir.told_archive import ACCESSIONS, ToldArchive, told_archive
from tests.fhir_judges import assert_valid
from tests.fhir_server import FhirTestServer
from tests.shared.fhir.dose_reports import ct_report
from tests.shared.services.test_update import begin, run

pytestmark = pytest.mark.host

UID, SERIES = "1.2.3", "1.2.3.1"
LARGE = 10_000
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"


def dose_report(uid: str, total: str) -> Dataset:
    return ct_report(total, StudyInstanceUID=UID, SeriesInstanceUID=f"{UID}.9", SOPInstanceUID=uid)


async def _update(archive: ToldArchive, changes: Document) -> None:
    """Change attributes of the study, as its workflow does."""
    operation = await begin(archive.services, UID, changes=changes)
    done = await run(archive.services, operation)
    assert done.status is OperationStatus.SUCCEEDED


async def test_an_update_of_the_patient_id_points_the_study_and_its_observations_to_another(
    archive: ToldArchive,
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID), dose_report("1.2.3.9.1", "203.120"))
    await archive.tell(UID)
    before = archive.study()["subject"]

    await _update(archive, {"00100020": {"vr": "LO", "Value": ["P2"]}})
    await archive.tell(UID)

    after = archive.study()["subject"]
    assert after != before
    assert archive.fhir.one("Observation")["subject"] == after
    ids = {f"Patient/{one['id']}": one["identifier"] for one in archive.fhir.all("Patient")}
    assert [one["value"] for one in ids[before["reference"]]] == ["P1"]
    assert [one["value"] for one in ids[after["reference"]]] == ["P2"]


async def test_an_accession_number_that_is_corrected_replaces_the_wrong_one(
    archive: ToldArchive,
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    await archive.tell(UID)

    await _update(archive, {"00080050": {"vr": "SH", "Value": ["A2"]}})
    await archive.tell(UID)

    found = [
        one["value"] for one in archive.study()["identifier"] if one.get("system") == ACCESSIONS
    ]
    assert found == ["A2"]


async def test_telling_again_makes_no_new_version_and_asks_twice(
    archive: ToldArchive,
) -> None:
    await archive.store(
        dataset(StudyInstanceUID=UID, Manufacturer="M", DeviceSerialNumber="7"),
        dose_report("1.2.3.9.1", "203.120"),
    )
    await archive.tell(UID)
    before, asked = archive.versions(), len(archive.fhir.log())

    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED

    # One batch of searches, and one for the Observations that may be stale.
    log = [one for one in archive.fhir.log()[asked:] if one["method"] == "POST"]
    assert len(log) == 2
    assert archive.versions() == before


async def test_a_new_study_takes_two_requests_and_has_no_values_in_addresses(
    archive: ToldArchive,
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    await archive.tell(UID)
    await archive.store(dataset(StudyInstanceUID="1.2.5", PatientID="Canary", AccessionNumber="C"))
    asked = len(archive.fhir.log())

    await archive.tell("1.2.5")

    log = archive.fhir.log()[asked:]
    assert [one["type"] for one in log] == ["batch", "transaction"]
    assert {one["url"] for one in log} == {"/fhir/R4"}


async def test_all_resources_are_valid(archive: ToldArchive) -> None:
    await archive.store(
        dataset(StudyInstanceUID=UID, Manufacturer="M", DeviceSerialNumber="7"),
        dose_report("1.2.3.9.1", "203.120"),
    )
    await archive.tell(UID)

    for kind in ("Patient", "Device", "Endpoint", "ImagingStudy", "Observation"):
        assert_valid(archive.fhir.one(kind))


async def test_a_dose_report_that_is_deleted_takes_only_its_own_observation_along(
    archive: ToldArchive,
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID, SOPInstanceUID="1.2.3.1.1"))
    await archive.store(dose_report("1.2.3.9.1", "203.120"), dose_report("1.2.3.9.2", "7"))
    await archive.tell(UID)
    assert archive.fhir.count("Observation") == 2

    await archive.delete(UID, f"{UID}.9", "1.2.3.9.1")
    await archive.tell(UID)

    left = archive.fhir.one("Observation")
    assert left["identifier"][0]["value"] == "urn:oid:1.2.3.9.2"
    assert left["component"][-1]["valueQuantity"]["value"] == 7
    await archive.delete(UID, f"{UID}.9")
    await archive.tell(UID)
    assert archive.fhir.count("Observation") == 0
    assert archive.study()["numberOfInstances"] == 1


async def test_the_observation_of_a_report_of_any_class_goes_with_it(archive: ToldArchive) -> None:
    report = dose_report("1.2.3.9.1", "203.120")
    report.SOPClassUID = COMPREHENSIVE_SR
    await archive.store(dataset(StudyInstanceUID=UID), report)
    await archive.tell(UID)
    assert archive.fhir.count("Observation") == 1

    await archive.delete(UID, f"{UID}.9")
    await archive.tell(UID)
    assert archive.fhir.count("Observation") == 0


async def test_of_two_studies_with_a_report_of_one_uid_the_first_keeps_its_observation(
    archive: ToldArchive,
) -> None:
    other = dose_report("1.2.3.9.1", "7")
    other.StudyInstanceUID, other.SeriesInstanceUID, other.PatientID = "1.2.5", "1.2.5.9", "P2"
    await archive.store(dose_report("1.2.3.9.1", "203.120"))
    await archive.store(other)
    await archive.tell(UID)
    held = archive.fhir.one("Observation")

    _, warnings = await archive.told.delivery.deliver_one((DEFAULT_PARTITION_NAME, "1.2.5"))

    assert archive.fhir.one("Observation") == held
    assert "00080018" in [one.tag for one in warnings]
    assert await archive.tell("1.2.5") is ReconcileOutcome.UNCHANGED
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


async def test_more_new_devices_than_a_transaction_may_have_are_made_before_the_study(
    archive: ToldArchive,
) -> None:
    numbers = range(1, 21)
    await archive.store(
        *(
            dataset(
                StudyInstanceUID=UID,
                SeriesInstanceUID=f"{UID}.{number}",
                Manufacturer="Maker",
                DeviceSerialNumber=str(number),
            )
            for number in numbers
        )
    )

    await archive.tell(UID)

    devices = {f"Device/{one['id']}" for one in archive.fhir.all("Device")}
    assert len(devices) == len(numbers)
    actors = {
        performer["actor"]["reference"]
        for series in archive.study()["series"]
        for performer in series["performer"]
    }
    assert actors == devices
    posts = [one for one in archive.fhir.log() if one["method"] == "POST"]
    sizes = [len(one["entries"]) for one in posts if one["type"] == "transaction"]
    assert sizes == [1, 8, 8, 6]  # The Endpoint; then the Patient, 20 devices and the study.
    assert len(posts) - len(sizes) == 2
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


async def test_a_device_that_studies_of_many_years_tell_of_does_not_flip(
    archive: ToldArchive,
) -> None:
    for uid, version in ((UID, "1.0"), ("1.2.5", "2.0")):
        await archive.store(
            dataset(
                StudyInstanceUID=uid,
                Manufacturer="Maker",
                DeviceSerialNumber="7",
                SoftwareVersions=version,
            )
        )
        await archive.tell(uid)
    before = archive.versions()

    for uid in (UID, "1.2.5", UID):
        assert await archive.tell(uid) is ReconcileOutcome.UNCHANGED

    assert archive.versions() == before
    assert [one["value"] for one in archive.fhir.one("Device")["version"]] == ["1.0", "2.0"]


async def test_what_cannot_be_said_of_a_study_is_told_on_request(archive: ToldArchive) -> None:
    await archive.store(dataset(StudyInstanceUID=UID, PatientID="", PatientSex="Q"))

    answer = await archive.client.send("POST", f"/v2/fhir/studies/{UID}/$resync")

    assert answer.status_code == 200
    told = answer.json()
    assert told["written"] == 1
    # The time has no offset from UTC, and there is no Patient ID.
    assert [one["tag"] for one in told["warnings"]] == ["00080030", "00100020"]
    assert "subject" in archive.study()
    assert archive.fhir.count("Patient") == 0


async def test_what_others_add_to_a_study_survives_its_changes(archive: ToldArchive) -> None:
    await archive.store(dataset(StudyInstanceUID=UID, SeriesInstanceUID=SERIES))
    await archive.tell(UID)
    study = archive.study()
    foreign: dict[str, Any] = {
        "note": [{"text": "Seen."}],
        "encounter": {"reference": "Encounter/e1"},
        "extension": [{"url": "http://example.org/x", "valueString": "y"}],
    }
    other = {"system": "urn:x-hospital:ris", "value": "7"}
    archive.fhir.update({**study, **foreign, "identifier": [other, *study["identifier"]]})

    await archive.store(dataset(StudyInstanceUID=UID, SeriesInstanceUID=SERIES))
    await archive.tell(UID)

    told = archive.study()
    assert {name: told[name] for name in foreign} == foreign
    assert other in told["identifier"]
    assert told["numberOfInstances"] == 2


async def test_a_study_that_another_archive_has_told_gets_our_series_and_keeps_theirs(
    archive: ToldArchive,
) -> None:
    theirs = {
        "uid": "1.2.3.8",
        "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"},
        "numberOfInstances": 5,
    }
    held = archive.fhir.create(
        {
            "resourceType": "ImagingStudy",
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{UID}"}],
            "status": "available",
            "subject": {"reference": "Patient/theirs"},
            "description": "Theirs",
            "series": [theirs],
        }
    )
    await archive.store(dataset(StudyInstanceUID=UID, SeriesInstanceUID=SERIES))

    await archive.tell(UID)

    study = archive.study()
    assert study["id"] == held["id"]
    assert (study["subject"], study["description"]) == (held["subject"], "Theirs")
    assert theirs in study["series"]
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 6)
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


def _instances(count: int) -> Iterator[NewInstance]:
    """Rows of instances beside the one that has been stored."""
    document = from_pydicom(dataset(StudyInstanceUID=UID, SeriesInstanceUID=SERIES))
    for number in range(2, count + 1):
        uid = f"{SERIES}.{number}"
        own = {
            **document,
            "00080018": {"vr": "UI", "Value": [uid]},
            "00200013": {"vr": "IS", "Value": [number]},
        }
        blob_id = new_blob_id()
        file = InstanceFile(blob_id, 1000, blob_id * 2, "1.2.840.10008.1.2.1", 500)
        path = ResourcePath(Uid(UID), Uid(SERIES), Uid(uid))
        yield NewInstance(path, file, indexed_attributes(own))


async def test_ten_thousand_instances_are_listed_and_of_more_only_how_many_they_are(
    fhir: FhirTestServer,
) -> None:
    async with told_archive(fhir) as archive:
        services = archive.services
        partition = await services.partitions.resolve(None, create=False)
        rows = list(_instances(LARGE))
        for some in batched(rows, 5000, strict=False):
            await services.index.commit(partition, some)
        await archive.store(
            dataset(StudyInstanceUID=UID, SeriesInstanceUID=SERIES, SOPInstanceUID=f"{SERIES}.1")
        )

        await archive.tell(UID)
        [series] = archive.study()["series"]
        assert [one["number"] for one in series["instance"]] == list(range(1, LARGE + 1))
        assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED

        await archive.store(dataset(StudyInstanceUID=UID, SeriesInstanceUID=SERIES))
        await archive.tell(UID)
        study = archive.study()
        assert "instance" not in study["series"][0]
        assert study["numberOfInstances"] == LARGE + 1


async def test_of_what_studies_say_of_a_patient_the_one_that_changed_last_holds(
    archive: ToldArchive,
) -> None:
    old = dataset(StudyInstanceUID="1.2.1", PatientName="Miss^Jane", PatientBirthDate="")
    new = dataset(StudyInstanceUID="1.2.2", PatientName="Doe^Jane", PatientSex="")
    await archive.store(old)
    await archive.store(new)
    for uid in ("1.2.2", "1.2.1"):
        await archive.tell(uid)
    patient = archive.fhir.one("Patient")
    assert (patient["name"][0]["family"], patient["gender"]) == ("Doe", "female")
    before = archive.versions()
    for uid in ("1.2.1", "1.2.2", "1.2.1"):
        assert await archive.tell(uid) is ReconcileOutcome.UNCHANGED
    assert archive.versions() == before
