"""Searches and changes at servers with and without bundles."""

from collections.abc import AsyncIterator, Iterator

import pytest

from shared.adapters.fhir_server import HttpFhirServer
from shared.errors import FhirConflictError
from shared.fhir.resource import Identifier
from shared.fhir.search import FhirSearch
from shared.ports import FhirWrite
from tests.fhir_server import FhirTestServer, running_fhir_server

pytestmark = pytest.mark.host

SYSTEM = "urn:x-hospital:patient"
STUDY = "urn:uuid:1f0f6c86-40a1-4b8a-9d2c-0a8f4f4d1a10"
PATIENT = "urn:uuid:6b1a2d1e-0f3c-4a55-8f5b-0d4c3a1b2c3d"


@pytest.fixture(scope="module")
def plain() -> Iterator[FhirTestServer]:
    with running_fhir_server("--no=transaction,batch") as server:
        yield server


@pytest.fixture(params=["bundles", "single requests"])
def server(request: pytest.FixtureRequest, fhir: FhirTestServer) -> FhirTestServer:
    found = fhir if request.param == "bundles" else request.getfixturevalue("plain")
    assert isinstance(found, FhirTestServer)
    found.reset()
    return found


@pytest.fixture
async def client(server: FhirTestServer) -> AsyncIterator[HttpFhirServer]:
    async def nobody() -> None:
        return None

    opened = HttpFhirServer(server.url, nobody, "", trying_seconds=2)
    yield opened
    await opened.close()


def search(value: str) -> FhirSearch:
    return FhirSearch.by_identifier("Patient", Identifier(SYSTEM, value))


def writes(value: str = "P1") -> list[FhirWrite]:
    patient = {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": value}]}
    study = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": PATIENT},
    }
    return [
        FhirWrite("POST", "Patient", patient, PATIENT, if_none_exist=search(value)),
        FhirWrite("POST", "ImagingStudy", study, STUDY),
    ]


@pytest.mark.parametrize(
    "value", ["A,1", "A\\1", "A$1", "A 1", "Ä-日本-1", "A&_id=1", "A#1", "A%2C1", "A+1"]
)
async def test_identifiers_of_any_signs_are_found_and_made_once(
    server: FhirTestServer, client: HttpFhirServer, value: str
) -> None:
    await client.write(writes(value))
    await client.write(writes(value))
    [found, other] = await client.search([search(value), search("A")])

    assert list(found) == server.all("Patient")
    assert found[0]["identifier"] == [{"system": SYSTEM, "value": value}]
    assert other == []


async def test_references_among_changes_lead_to_what_was_made(
    server: FhirTestServer, client: HttpFhirServer
) -> None:
    first = await client.write(writes())
    again = await client.write(writes())

    patient = f"Patient/{server.one('Patient')['id']}"
    assert [written.status for written in first] == [201, 201]
    assert [written.status for written in again] == [200, 201]
    assert first[0].reference == again[0].reference == patient
    assert [one["subject"] for one in server.all("ImagingStudy")] == [{"reference": patient}] * 2


async def test_a_resource_is_read_changed_and_deleted_by_its_version(
    client: HttpFhirServer,
) -> None:
    [written, _] = await client.write(writes())
    reference = written.reference
    assert reference is not None
    patient = await client.read(reference)
    assert patient is not None
    version = patient["meta"]["versionId"]

    await client.write(
        [FhirWrite("PUT", reference, {**patient, "gender": "other"}, if_match=version)]
    )
    with pytest.raises(FhirConflictError):
        await client.write([FhirWrite("DELETE", reference, if_match=version)])
    changed = await client.read(reference)
    assert changed is not None
    assert changed["gender"] == "other"
    await client.write([FhirWrite("DELETE", reference, if_match=changed["meta"]["versionId"])])

    assert await client.read(reference) is None
    assert await client.search([search("P1")]) == [[]]
