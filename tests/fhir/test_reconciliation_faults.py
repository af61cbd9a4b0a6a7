"""Bringing studies to a FHIR server that refuses, forgets to answer, or is changed meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from shared.ports import DEFAULT_PARTITION_NAME
from shared.services.fhir_delivery import Delivered
from shared.services.fhir_reconciliation import ReconcileOutcome, Reconciliation
from tests.builders import dataset
from tests.fhir.told_archive import ToldArchive, told_archive
from tests.fhir_proxy import Fault, FhirProxy, Passed, running_fhir_proxy
from tests.fhir_server import FhirTestServer

pytestmark = pytest.mark.host

UID = "1.2.3.4"


@pytest.fixture
def proxy(fhir: FhirTestServer) -> Iterator[FhirProxy]:
    with running_fhir_proxy(fhir.url) as running:
        yield running


@pytest.fixture
async def archive(fhir: FhirTestServer, proxy: FhirProxy) -> AsyncIterator[ToldArchive]:
    async with told_archive(fhir, proxy.url) as opened:
        yield opened


async def test_an_answer_that_is_lost_after_the_transaction_changes_nothing(
    archive: ToldArchive, proxy: FhirProxy
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    lost = iter([True])
    proxy.gate = lambda request: (
        Fault(is_late=True)
        if request.bundle_type == "transaction"
        and b'"ImagingStudy"' in request.content
        and next(lost, False)
        else None
    )

    await archive.tell(UID)

    assert next(lost, None) is None
    assert archive.study()["meta"]["versionId"]
    assert archive.fhir.count("Patient") == 1
    before = archive.versions()
    assert await archive.tell(UID) is ReconcileOutcome.UNCHANGED
    assert archive.versions() == before


async def test_a_study_that_somebody_changes_meanwhile_is_read_again(
    archive: ToldArchive, proxy: FhirProxy
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    await archive.tell(UID)
    await archive.store(dataset(StudyInstanceUID=UID))
    changes = iter([True])

    def gate(request: Passed) -> None:
        if request.bundle_type == "transaction" and next(changes, False):
            archive.fhir.update({**archive.study(), "note": [{"text": "Seen."}]})

    proxy.gate = gate
    await archive.tell(UID)

    assert archive.study()["note"] == [{"text": "Seen."}]
    assert archive.study()["numberOfSeries"] == 2


async def test_a_study_that_always_conflicts_is_put_aside_and_others_go_on(
    archive: ToldArchive, proxy: FhirProxy
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID), dataset(StudyInstanceUID="1.2.5"))
    proxy.gate = lambda request: (
        Fault(409)
        if request.bundle_type == "transaction" and b"urn:oid:1.2.3.4" in request.content
        else None
    )
    studies = [(DEFAULT_PARTITION_NAME, uid) for uid in (UID, "1.2.5")]

    delivered = await archive.told.delivery.deliver(studies)

    assert delivered == Delivered(written=1, refused=1)
    [letter] = await archive.told.letters.list(10, 0)
    assert (letter.study, letter.status) == (UID, 409)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await archive.told.letters.due(later, 10) == [(DEFAULT_PARTITION_NAME, UID)]


async def test_a_study_whose_metadata_is_damaged_is_put_aside_and_others_go_on(
    archive: ToldArchive, caplog: pytest.LogCaptureFixture
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID, PatientName="Canary"))
    [metadata] = (archive.folder / "metadata").rglob("*.gz")
    await archive.store(dataset(StudyInstanceUID="1.2.5"))
    metadata.write_bytes(metadata.read_bytes()[:40])

    delivered = await archive.told.delivery.deliver(
        [(DEFAULT_PARTITION_NAME, uid) for uid in (UID, "1.2.5")]
    )

    assert delivered == Delivered(written=1, refused=1)
    [letter] = await archive.told.letters.list(10, 0)
    assert (letter.study, letter.error) == (UID, "FhirMapping")
    assert "a study is put aside" in caplog.text
    again = await archive.told.delivery.deliver_one((DEFAULT_PARTITION_NAME, UID))
    assert again == (Delivered(refused=1), ())


async def test_a_study_that_a_server_refuses_is_put_aside_with_codes_and_without_words(
    archive: ToldArchive, proxy: FhirProxy, caplog: pytest.LogCaptureFixture
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    issue = (
        b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invariant",'
        b'"diagnostics":"Canary","expression":["ImagingStudy.series[0]"]}]}'
    )
    proxy.gate = lambda request: (
        Fault(422, content=issue) if b'"ImagingStudy"' in request.content else None
    )

    await archive.told.delivery.deliver([(DEFAULT_PARTITION_NAME, UID)])

    [letter] = await archive.told.letters.list(10, 0)
    assert (letter.status, letter.issues) == (422, "invariant ImagingStudy.series[0]")
    assert "Canary" not in caplog.text
    proxy.gate = lambda _: None
    await archive.told.delivery.deliver([(DEFAULT_PARTITION_NAME, UID)])
    assert await archive.told.letters.list(10, 0) == []


async def test_a_study_that_a_server_does_not_let_be_deleted_is_withdrawn(
    archive: ToldArchive, proxy: FhirProxy
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    await archive.tell(UID)
    await archive.delete(UID)
    proxy.gate = lambda request: Fault(409) if b'"DELETE"' in request.content else None

    assert await archive.tell(UID) is ReconcileOutcome.WRITTEN

    assert archive.study()["status"] == "entered-in-error"


async def test_a_resource_that_is_gone_when_it_is_written_is_made_anew(
    archive: ToldArchive, proxy: FhirProxy
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    await archive.tell(UID)
    await archive.store(dataset(StudyInstanceUID=UID))
    gone = iter([404, 410])
    proxy.gate = lambda request: (
        Fault(status, content=b'{"resourceType":"OperationOutcome"}')
        if request.bundle_type == "transaction" and (status := next(gone, 0))
        else None
    )

    assert await archive.tell(UID) is ReconcileOutcome.WRITTEN
    assert archive.study()["numberOfSeries"] == 2


async def test_a_study_that_is_too_large_is_told_without_its_instances(
    archive: ToldArchive, proxy: FhirProxy
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    proxy.gate = lambda request: (
        Fault(413)
        if request.bundle_type == "transaction" and b'"instance"' in request.content
        else None
    )

    await archive.tell(UID)

    [series] = archive.study()["series"]
    assert "instance" not in series
    assert series["numberOfInstances"] == archive.study()["numberOfInstances"] == 1


async def test_an_endpoint_that_is_not_there_any_more_is_made_anew(
    archive: ToldArchive, proxy: FhirProxy
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID))
    await archive.tell(UID)
    first = archive.fhir.one("Endpoint")["id"]
    httpx.delete(f"{archive.fhir.url}/Endpoint/{first}").raise_for_status()
    await archive.store(dataset(StudyInstanceUID="1.2.5"))
    # This server does not see to it that references lead somewhere; others do.
    proxy.gate = lambda request: (
        Fault(400, content=b'{"resourceType":"OperationOutcome","issue":[{"code":"not-found"}]}')
        if request.bundle_type == "transaction" and first.encode() in request.content
        else None
    )

    await archive.tell("1.2.5")

    assert archive.fhir.count("Endpoint") == 1
    study = next(
        one
        for one in archive.fhir.all("ImagingStudy")
        if one["identifier"][0]["value"] == "urn:oid:1.2.5"
    )
    endpoint = archive.fhir.one("Endpoint")["id"]
    assert study["endpoint"] == [{"reference": f"Endpoint/{endpoint}"}]


async def test_two_at_one_study_and_at_one_new_patient_write_each_resource_once(
    archive: ToldArchive, fhir: FhirTestServer
) -> None:
    await archive.store(dataset(StudyInstanceUID=UID), dataset(StudyInstanceUID="1.2.5"))
    own = archive.told.delivery.reconciliation
    other = Reconciliation(own.server, own.contents, own.mapping, own.rules)

    await asyncio.gather(
        archive.tell(UID),
        archive.tell("1.2.5"),
        other.reconcile(DEFAULT_PARTITION_NAME, UID),
        other.reconcile(DEFAULT_PARTITION_NAME, "1.2.5"),
    )

    assert {kind: fhir.count(kind) for kind in ("Patient", "ImagingStudy", "Endpoint")} == {
        "Patient": 1,
        "ImagingStudy": 2,
        "Endpoint": 1,
    }
    patient = fhir.one("Patient")["id"]
    for study in fhir.all("ImagingStudy"):
        assert study["subject"] == {"reference": f"Patient/{patient}"}
