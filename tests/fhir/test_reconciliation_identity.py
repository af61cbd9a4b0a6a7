"""Whom a study is said to be of, and what becomes of patients that somebody else keeps."""

from typing import Any

import pytest

from shared.errors import AmbiguousIdentityError
from shared.ports import DEFAULT_PARTITION_NAME
from shared.services.fhir_delivery import Delivered
from shared.services.fhir_reconciliation import ReconcileOutcome
from tests.builders import dataset
from tests.fhir.told_archive import ACCESSIONS, PATIENTS, ToldArchive, told_archive
from tests.fhir_server import FhirTestServer

pytestmark = pytest.mark.host

UID = "1.2.3.4"
ODD_IDS = ["A,B", "A$B", "A|B", "A B", " A&B=C;D+E%20 ", "Å\u00e4漢字", "*", "urn:oid:1"]


def _patient(number: str = "P1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": PATIENTS, "value": number}],
        **more,
    }


def _replaced_by(patient: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "replaced-by", "other": {"reference": f"Patient/{patient['id']}"}}]


@pytest.mark.parametrize("number", ODD_IDS)
async def test_a_patient_is_found_again_whatever_signs_the_id_has(
    archive: ToldArchive, number: str
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID, PatientID=number))
    await archive.tell(UID)
    before = archive.versions()

    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED
    assert archive.versions() == before
    [identifier] = archive.fhir.one("Patient")["identifier"]
    assert identifier["value"] == number.strip()


async def test_a_patient_of_somebody_else_is_kept_and_only_what_is_missing_is_added(
    archive: ToldArchive,
) -> None:
    held = archive.fhir.create(
        _patient(name=[{"family": "Smith", "given": ["Jane"]}], maritalStatus={"text": "M"})
    )
    await archive.store(dataset(StudyInstanceUID=UID))

    await archive.tell(UID)

    told = archive.fhir.one("Patient")
    assert {name: told[name] for name in ("id", "name", "maritalStatus")} == {
        name: held[name] for name in ("id", "name", "maritalStatus")
    }
    assert (told["birthDate"], told["gender"]) == ("1970-01-02", "female")
    assert archive.study()["subject"] == {"reference": f"Patient/{held['id']}"}


async def test_a_patient_of_another_name_and_birth_date_is_linked_and_left_alone(
    archive: ToldArchive,
) -> None:
    held = archive.fhir.create(_patient(name=[{"family": "Roe"}], birthDate="1950-05-05"))
    await archive.store(dataset(StudyInstanceUID=UID))

    delivered, warnings = await archive.told.delivery.deliver_one((DEFAULT_PARTITION_NAME, UID))

    assert delivered == Delivered(written=1)
    assert archive.fhir.one("Patient")["meta"] == held["meta"]
    assert archive.study()["subject"] == {"reference": f"Patient/{held['id']}"}
    assert "somebody else" in next(one.reason for one in warnings if one.tag == "00100020")


async def test_a_study_whose_patient_is_there_as_somebody_else_is_put_aside_where_that_is_wanted(
    fhir: FhirTestServer,
) -> None:
    async with told_archive(fhir, FHIR_PATIENT_CONFLICTS="refuse") as archive:
        held = fhir.create(_patient(name=[{"family": "Roe"}], birthDate="1950-05-05"))
        await archive.store(dataset(StudyInstanceUID=UID))

        assert await archive.told.delivery.deliver([(DEFAULT_PARTITION_NAME, UID)]) == Delivered(
            refused=1
        )

        assert fhir.count("ImagingStudy") == 0
        assert fhir.one("Patient") == held
        [letter] = await archive.told.letters.list(10, 0)
        assert letter.error == "AmbiguousIdentity"


async def test_a_corrected_patient_of_ours_is_no_conflict_but_an_older_study_of_another_one_is(
    fhir: FhirTestServer,
) -> None:
    async with told_archive(fhir, FHIR_PATIENT_CONFLICTS="refuse") as archive:
        await archive.store(dataset(StudyInstanceUID=UID))
        await archive.tell(UID)
        await archive.store(
            dataset(StudyInstanceUID="1.2.5", PatientName="Roe^Mary", PatientBirthDate="19500505")
        )

        assert await archive.tell("1.2.5") is ReconcileOutcome.WRITTEN
        assert fhir.one("Patient")["name"][0]["family"] == "Roe"
        with pytest.raises(AmbiguousIdentityError):
            await archive.tell(UID)


async def test_a_patient_of_ours_learns_nothing_from_an_older_study_of_somebody_else(
    archive: ToldArchive,
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    newer = dataset(StudyInstanceUID="1.2.5", PatientName="Roe^Mary", PatientBirthDate="19500505")
    del newer.PatientSex
    await archive.store(newer)
    await archive.tell("1.2.5")

    await archive.tell(UID)

    assert "gender" not in archive.fhir.one("Patient")


async def test_who_is_left_of_merged_patients_is_no_conflict(fhir: FhirTestServer) -> None:
    async with told_archive(fhir, FHIR_PATIENT_CONFLICTS="refuse") as archive:
        left = fhir.create(_patient("P9", name=[{"family": "Roe"}], birthDate="1950-05-05"))
        fhir.create(_patient(active=False, link=_replaced_by(left)))
        await archive.store(dataset(StudyInstanceUID=UID))

        assert await archive.tell(UID) is ReconcileOutcome.WRITTEN
        assert archive.study()["subject"] == {"reference": f"Patient/{left['id']}"}


async def test_a_study_is_of_who_is_left_of_merged_patients_and_changes_nothing_of_him(
    archive: ToldArchive,
) -> None:
    left = archive.fhir.create(_patient("P9", name=[{"family": "Left"}]))
    second = archive.fhir.create(_patient("P8", active=False, link=_replaced_by(left)))
    archive.fhir.create(_patient(active=False, link=_replaced_by(second)))
    await archive.store(dataset(StudyInstanceUID=UID))

    await archive.tell(UID)

    assert archive.study()["subject"] == {"reference": f"Patient/{left['id']}"}
    now = next(one for one in archive.fhir.all("Patient") if one["id"] == left["id"])
    assert now == left
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


async def test_patients_that_were_merged_in_a_circle_put_the_study_aside(
    archive: ToldArchive,
) -> None:
    first = archive.fhir.create(_patient())
    second = archive.fhir.create(_patient("P8", link=_replaced_by(first)))
    archive.fhir.update({**first, "link": _replaced_by(second)})
    await archive.store(dataset(StudyInstanceUID=UID))

    delivered = await archive.told.delivery.deliver([(DEFAULT_PARTITION_NAME, UID)])

    assert delivered == Delivered(refused=1)
    [letter] = await archive.told.letters.list(10, 0)
    assert letter.error == "AmbiguousIdentity"


async def test_of_two_patients_with_one_id_the_active_one_is_meant(archive: ToldArchive) -> None:
    archive.fhir.create(_patient(active=False))
    active = archive.fhir.create(_patient())
    await archive.store(dataset(StudyInstanceUID=UID))

    await archive.tell(UID)

    assert archive.study()["subject"] == {"reference": f"Patient/{active['id']}"}


async def test_two_active_patients_with_one_id_are_ambiguous(archive: ToldArchive) -> None:
    archive.fhir.create(_patient())
    archive.fhir.create(_patient())
    await archive.store(dataset(StudyInstanceUID=UID))

    with pytest.raises(AmbiguousIdentityError):
        await archive.tell(UID)
    assert archive.fhir.count("ImagingStudy") == 0


async def test_an_id_that_differs_in_case_is_another_patient(archive: ToldArchive) -> None:
    # The server of the tests searches without regard to case, and so it would with a condition.
    other = archive.fhir.create(_patient("p1"))
    own = archive.fhir.create(_patient("P1"))
    await archive.store(dataset(StudyInstanceUID=UID))

    await archive.tell(UID)

    assert archive.study()["subject"] == {"reference": f"Patient/{own['id']}"}
    assert other["id"] != own["id"]


async def test_one_id_of_two_issuers_is_two_patients(archive: ToldArchive) -> None:
    for uid, entity in ((UID, "1.2.3"), ("1.2.5", "1.2.4")):
        issuer = dataset()
        issuer.clear()
        issuer.UniversalEntityID, issuer.UniversalEntityIDType = entity, "ISO"
        await archive.store(
            dataset(StudyInstanceUID=uid, IssuerOfPatientIDQualifiersSequence=[issuer])
        )
        await archive.tell(uid)

    systems = {one["identifier"][0]["system"] for one in archive.fhir.all("Patient")}
    assert systems == {"urn:oid:1.2.3", "urn:oid:1.2.4"}


def _order(patient: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "identifier": [{"system": ACCESSIONS, "value": "A1"}],
        "subject": {"reference": f"Patient/{patient['id']}"},
    }


async def test_an_order_is_made_where_none_is_found_and_then_kept(fhir: FhirTestServer) -> None:
    async with told_archive(fhir, FHIR_ORDERS="create") as archive:
        await archive.store(dataset(StudyInstanceUID=UID))

        await archive.tell(UID)

        order = fhir.one("ServiceRequest")
        [reference] = archive.study()["basedOn"]
        assert reference["reference"] == f"ServiceRequest/{order['id']}"
        assert order["subject"] == archive.study()["subject"]
        assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


@pytest.mark.parametrize("rule", ["link", "create"])
async def test_the_order_of_another_patient_is_never_referred_to(
    fhir: FhirTestServer, rule: str
) -> None:
    async with told_archive(fhir, FHIR_ORDERS=rule) as archive:
        fhir.create(_order(fhir.create(_patient("P2"))))
        await archive.store(dataset(StudyInstanceUID=UID))

        await archive.tell(UID)

        [reference] = archive.study()["basedOn"]
        assert reference["identifier"]["value"] == "A1"
        assert "reference" not in reference
        assert fhir.count("ServiceRequest") == 1
        assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


async def test_an_order_is_referred_to_if_just_one_of_the_patient_is_found(
    archive: ToldArchive,
) -> None:
    patient = archive.fhir.create(_patient())
    stranger = archive.fhir.create(_patient("P2"))
    orders = [archive.fhir.create(_order(one)) for one in (patient, stranger)]
    await archive.store(dataset(StudyInstanceUID=UID))

    await archive.tell(UID)

    [reference] = archive.study()["basedOn"]
    assert reference["reference"] == f"ServiceRequest/{orders[0]['id']}"
