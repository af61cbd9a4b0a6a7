"""Whom a study is said to be of, and what becomes of patients that somebody else keeps."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.errors import AmbiguousIdentityError
from shared.fhir.search import FhirSearch
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
    archive: ToldArchive, caplog: pytest.LogCaptureFixture
) -> None:
    held = archive.fhir.create(_patient(name=[{"family": "Roe"}], birthDate="1950-05-05"))
    await archive.store(dataset(StudyInstanceUID=UID))

    with caplog.at_level("INFO", logger="audit"):
        study = DEFAULT_PARTITION_NAME, UID
        delivered, warnings = await archive.told.delivery.deliver_one(study)

    assert delivered == Delivered(written=1)
    assert archive.fhir.one("Patient")["meta"] == held["meta"]
    assert archive.study()["subject"] == {"reference": f"Patient/{held['id']}"}
    assert "somebody else" in next(one.reason for one in warnings if one.tag == "00100020")
    records = [orjson.loads(one.message) for one in caplog.records if one.name == "audit"]
    told = [one["outcome"] for one in records if one["transaction"] == "fhir"]
    assert told == ["conflict", "written"]


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


async def test_a_correction_is_no_conflict_unless_another_study_still_says_otherwise(
    fhir: FhirTestServer,
) -> None:
    other = dataset(StudyInstanceUID="1.2.5", PatientName="Roe^Mary", PatientBirthDate="19500505")
    async with told_archive(fhir, FHIR_PATIENT_CONFLICTS="refuse") as archive:
        await archive.store(dataset(StudyInstanceUID=UID))
        await archive.tell(UID)
        await archive.store(other)

        with pytest.raises(AmbiguousIdentityError):
            await archive.tell("1.2.5")
        assert fhir.one("Patient")["name"][0]["family"] == "Doe"

        await archive.delete(UID)
        assert await archive.tell("1.2.5") is ReconcileOutcome.WRITTEN
        assert fhir.one("Patient")["name"][0]["family"] == "Roe"


async def _tell_of_a_misfiled_study(archive: ToldArchive) -> None:
    """First of somebody else's, then of the patient's own."""
    await archive.store(
        dataset(StudyInstanceUID="1.2.5", PatientName="Roe^Mary", PatientBirthDate="19500505")
    )
    await archive.tell("1.2.5")
    await archive.store(dataset(StudyInstanceUID=UID))
    await archive.tell(UID)


async def test_a_patient_is_as_his_other_studies_say_when_one_that_was_not_his_is_deleted(
    archive: ToldArchive,
) -> None:
    await _tell_of_a_misfiled_study(archive)
    assert archive.fhir.one("Patient")["name"][0]["family"] == "Roe"

    await archive.delete("1.2.5")
    await archive.tell("1.2.5")

    patient = archive.fhir.one("Patient")
    assert (patient["name"][0]["family"], patient["birthDate"]) == ("Doe", "1970-01-02")


async def test_a_patient_is_as_his_other_studies_say_when_one_is_given_to_another_patient(
    archive: ToldArchive,
) -> None:
    await _tell_of_a_misfiled_study(archive)

    await archive.delete("1.2.5")
    await archive.store(
        dataset(
            StudyInstanceUID="1.2.5",
            PatientID="P2",
            PatientName="Roe^Mary",
            PatientBirthDate="19500505",
        )
    )
    await archive.tell("1.2.5")

    names = {
        one["identifier"][0]["value"]: one["name"][0]["family"]
        for one in archive.fhir.all("Patient")
    }
    assert names == {"P1": "Doe", "P2": "Roe"}


async def test_two_partitions_that_share_a_patient_do_not_take_turns(archive: ToldArchive) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    await archive.store(
        dataset(StudyInstanceUID="1.2.5", PatientName="Roe^Mary", PatientBirthDate="19500505"),
        partition="Other",
    )
    for _ in range(2):
        await archive.tell(UID)
        await archive.tell("1.2.5", "Other")
    before = archive.versions()

    await archive.tell(UID)
    await archive.tell("1.2.5", "Other")

    assert archive.versions() == before


async def test_each_partition_may_have_patients_of_its_own(fhir: FhirTestServer) -> None:
    system = "https://hospital.example.org/{partition}/patient"
    async with told_archive(fhir, FHIR_PATIENT_SYSTEM=system) as archive:
        await archive.store(dataset(StudyInstanceUID=UID))
        other = dataset(StudyInstanceUID="1.2.5", PatientName="Roe^Mary")
        await archive.store(other, partition="Other")
        await archive.tell(UID)
        await archive.tell("1.2.5", "Other")

        names = {
            one["identifier"][0]["system"]: one["name"][0]["family"] for one in fhir.all("Patient")
        }
    assert names == {
        "https://hospital.example.org/Microsoft.Default/patient": "Doe",
        "https://hospital.example.org/Other/patient": "Roe",
    }


async def test_the_same_id_of_another_issuer_is_another_patient_who_is_followed_for_himself(
    fhir: FhirTestServer,
) -> None:
    async with told_archive(fhir, FHIR_ISSUER_TEMPLATE="urn:x-issuer:{issuer}") as archive:
        await archive.store(dataset(StudyInstanceUID=UID, IssuerOfPatientID="A"))
        await archive.tell(UID)
        await archive.delete(UID)
        await archive.store(
            dataset(StudyInstanceUID=UID, IssuerOfPatientID="A", PatientName="Miller^Jane")
        )
        await archive.store(
            dataset(
                StudyInstanceUID="1.2.5",
                IssuerOfPatientID="B",
                PatientName="Roe^Mary",
                PatientBirthDate="19500505",
            )
        )
        await archive.tell("1.2.5")
        await archive.tell(UID)

        names = {
            one["identifier"][0]["system"]: one["name"][0]["family"] for one in fhir.all("Patient")
        }
    assert names == {"urn:x-issuer:A": "Miller", "urn:x-issuer:B": "Roe"}


async def test_whom_a_study_is_of_is_not_put_together_from_two_patients(
    fhir: FhirTestServer,
) -> None:
    async with told_archive(fhir, FHIR_ISSUER_TEMPLATE="urn:x-issuer:{issuer}") as archive:
        await archive.store(
            dataset(
                StudyInstanceUID=UID,
                SeriesInstanceUID=f"{UID}.1",
                IssuerOfPatientID="A",
                OtherPatientNames="Doe^Old",
            ),
            dataset(
                StudyInstanceUID=UID,
                SeriesInstanceUID=f"{UID}.2",
                PatientID="P2",
                PatientName="Roe^Mary",
                IssuerOfPatientID="B",
            ),
        )
        await archive.tell(UID)

        patient = fhir.one("Patient")
    assert (patient["identifier"][0]["system"], patient["identifier"][0]["value"]) == (
        "urn:x-issuer:B",
        "P2",
    )
    assert [name["family"] for name in patient["name"]] == ["Roe"]


async def test_a_study_with_images_of_a_phantom_is_still_of_its_patient(
    archive: ToldArchive,
) -> None:
    await archive.store(
        dataset(StudyInstanceUID=UID, SeriesInstanceUID=f"{UID}.2"),
        dataset(StudyInstanceUID=UID, SeriesInstanceUID=f"{UID}.1", QualityControlSubject="YES"),
    )
    await archive.tell(UID)

    assert archive.study()["subject"]["reference"].startswith("Patient/")


async def test_a_server_that_searches_without_case_is_given_no_study_of_a_similar_patient(
    archive: ToldArchive,
) -> None:
    archive.fhir.create(_patient("p1", name=[{"family": "Roe"}]))
    await archive.store(dataset(StudyInstanceUID=UID))
    search = archive.told.server.search

    async def without_case(searches: Sequence[FhirSearch]) -> Sequence[Sequence[Any]]:
        lowered = [
            replace(
                one,
                parameters=[(name, value.replace("|P1", "|p1")) for name, value in one.parameters],
            )
            for one in searches
        ]
        return await search(lowered)

    archive.told.server.search = without_case  # type: ignore[method-assign]

    with pytest.raises(AmbiguousIdentityError):
        await archive.tell(UID)
    assert archive.fhir.count("ImagingStudy") == 0


@pytest.mark.parametrize("rule", ["link", "refuse"])
async def test_a_study_that_is_there_as_somebody_elses_of_another_patient_is_left_alone(
    fhir: FhirTestServer, rule: str
) -> None:
    async with told_archive(fhir, FHIR_PATIENT_CONFLICTS=rule) as archive:
        other = fhir.create(_patient("P9", name=[{"family": "Roe"}], birthDate="1950-05-05"))
        study = fhir.create(
            {
                "resourceType": "ImagingStudy",
                "status": "available",
                "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{UID}"}],
                "subject": {"reference": f"Patient/{other['id']}"},
            }
        )
        await archive.store(dataset(StudyInstanceUID=UID))

        delivered, warnings = await archive.told.delivery.deliver_one((DEFAULT_PARTITION_NAME, UID))

        assert archive.study() == study
        assert fhir.count("Patient") == 1
        if rule == "link":
            assert delivered == Delivered(unchanged=1)
            assert "0020000D" in [one.tag for one in warnings]
        else:
            assert delivered == Delivered(refused=1)


async def test_an_order_that_was_made_follows_its_only_study_to_another_patient(
    fhir: FhirTestServer,
) -> None:
    async with told_archive(fhir, FHIR_ORDERS="create") as archive:
        await archive.store(dataset(StudyInstanceUID=UID))
        await archive.tell(UID)
        await archive.delete(UID)
        await archive.store(dataset(StudyInstanceUID=UID, PatientID="P2"))
        await archive.tell(UID)

        order, study = fhir.one("ServiceRequest"), archive.study()
        assert order["subject"] == study["subject"]
        assert study["basedOn"][0]["reference"] == f"ServiceRequest/{order['id']}"
        assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


async def test_no_order_is_made_for_somebody_who_is_only_named(fhir: FhirTestServer) -> None:
    async with told_archive(fhir, FHIR_ORDERS="create") as archive:
        await archive.store(dataset(StudyInstanceUID=UID, PatientID=""))
        await archive.tell(UID)

        assert fhir.count("ServiceRequest") == 0
        assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED


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
