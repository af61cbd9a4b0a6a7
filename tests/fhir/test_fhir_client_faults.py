"""The client of FHIR servers, where servers fail, refuse, or answer what they should not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat

import pytest

from shared.adapters.fhir_server import HttpFhirServer
from shared.errors import (
    FhirAccessError,
    FhirConflictError,
    FhirRefusedError,
    StoreUnavailableError,
)
from shared.fhir.resource import Identifier
from shared.fhir.search import FhirSearch
from shared.ports import FhirRelease, FhirWrite
from tests.fhir_proxy import Fault, FhirProxy, Passed, running_fhir_proxy
from tests.fhir_server import FhirTestServer

pytestmark = pytest.mark.host

KEY = Identifier("urn:x-hospital:patient", "Geheim-4711")
SEARCH = FhirSearch.by_identifier("Patient", KEY)
WRITE = FhirWrite(
    "POST",
    "Patient",
    {
        "resourceType": "Patient",
        "identifier": [{"system": KEY.system, "value": KEY.value}],
        "name": [{"family": "Müller"}],
    },
    full_url="urn:uuid:6b1a2d1e-0f3c-4a55-8f5b-0d4c3a1b2c3d",
    if_none_exist=SEARCH,
)


async def nobody() -> None:
    return None


@asynccontextmanager
async def opened(url: str, trying_seconds: float = 2) -> AsyncIterator[HttpFhirServer]:
    """A client that gives up soon."""
    client = HttpFhirServer(url, nobody, "", trying_seconds=trying_seconds, answer_seconds=0.6)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def proxy(fhir: FhirTestServer) -> Iterator[FhirProxy]:
    fhir.reset()
    with running_fhir_proxy(fhir.url) as running:
        yield running


@pytest.fixture
async def client(proxy: FhirProxy) -> AsyncIterator[HttpFhirServer]:
    async with opened(proxy.url) as found:
        await found.release()
        yield found


def transactions(proxy: FhirProxy, *faults: Fault | None) -> None:
    """Do this with the transactions, one after the other, and the last with all that follow."""
    coming = chain(faults, repeat(faults[-1]))
    proxy.gate = lambda request: next(coming) if request.bundle_type == "transaction" else None


def tries(proxy: FhirProxy) -> int:
    return sum(request.bundle_type == "transaction" for request in proxy.seen)


@pytest.mark.parametrize("status", [408, 423, 425, 429, 500, 502, 503, 504])
async def test_a_transaction_is_tried_again_where_the_server_is_busy(
    fhir: FhirTestServer, proxy: FhirProxy, client: HttpFhirServer, status: int
) -> None:
    transactions(proxy, Fault(status), None)

    [written] = await client.write([WRITE])

    assert (written.status, tries(proxy)) == (201, 2)
    assert written.reference == f"Patient/{fhir.one('Patient')['id']}"


async def test_a_server_says_when_to_come_back(proxy: FhirProxy, client: HttpFhirServer) -> None:
    transactions(proxy, Fault(429, {"Retry-After": "1"}), None)
    start = time.monotonic()

    await client.write([WRITE])

    assert time.monotonic() - start >= 1


async def test_no_request_waits_longer_than_it_may_be_tried(
    proxy: FhirProxy, client: HttpFhirServer
) -> None:
    transactions(proxy, Fault(503, {"Retry-After": "3600"}))
    start = time.monotonic()

    with pytest.raises(StoreUnavailableError):
        await client.write([WRITE])

    assert (tries(proxy), time.monotonic() - start < 1) == (1, True)


async def test_a_storm_ends_the_tries(
    fhir: FhirTestServer, proxy: FhirProxy, client: HttpFhirServer
) -> None:
    transactions(proxy, Fault(503))
    start = time.monotonic()

    with pytest.raises(StoreUnavailableError):
        await client.write([WRITE])

    assert time.monotonic() - start < 4
    assert tries(proxy) >= 2
    assert fhir.count("Patient") == 0


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(), id="a connection that ends before the server gets it"),
        pytest.param(Fault(is_late=True), id="an answer that is lost"),
        pytest.param(Fault(502, is_late=True), id="a gateway that loses the answer"),
        pytest.param(Fault(200, seconds=1), id="an answer that takes too long"),
    ],
)
async def test_what_is_tried_again_is_made_once(
    fhir: FhirTestServer, proxy: FhirProxy, client: HttpFhirServer, fault: Fault
) -> None:
    transactions(proxy, fault, None)

    [written] = await client.write([WRITE])

    assert written.reference == f"Patient/{fhir.one('Patient')['id']}"
    assert written.status == (200 if fault.is_late else 201)


async def test_where_nothing_listens_the_server_is_away() -> None:
    async with opened("http://127.0.0.1:9/fhir", 0.5) as client:
        with pytest.raises(StoreUnavailableError):
            await client.release()


@pytest.mark.parametrize("status", [409, 412])
async def test_a_conflict_is_not_tried_again_whatever_the_server_says(
    proxy: FhirProxy, client: HttpFhirServer, status: int
) -> None:
    transactions(proxy, Fault(status, {"Retry-After": "1"}))
    with pytest.raises(FhirConflictError):
        await client.write([WRITE])
    assert tries(proxy) == 1


async def test_a_stale_version_is_a_conflict_and_undoes_the_transaction(
    fhir: FhirTestServer, client: HttpFhirServer
) -> None:
    patient = fhir.create({"resourceType": "Patient"})
    stale = FhirWrite("PUT", f"Patient/{patient['id']}", patient, if_match="0")
    with pytest.raises(FhirConflictError):
        await client.write([WRITE, stale])
    assert fhir.all("Patient") == [patient]


async def test_several_where_one_may_be_are_a_conflict(
    fhir: FhirTestServer, client: HttpFhirServer
) -> None:
    assert WRITE.resource is not None
    for _ in range(2):
        fhir.create(WRITE.resource)
    with pytest.raises(FhirConflictError):
        await client.write([WRITE])


async def test_of_eight_at_once_one_makes_it_and_all_learn_which(
    fhir: FhirTestServer, client: HttpFhirServer
) -> None:
    outcomes = await asyncio.gather(*(client.write([WRITE]) for _ in range(8)))

    made = f"Patient/{fhir.one('Patient')['id']}"
    assert sorted(written.status for [written] in outcomes) == [200] * 7 + [201]
    assert {written.reference for [written] in outcomes} == {made}


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_of_a_refusal_codes_and_expressions_are_told_but_no_words(
    proxy: FhirProxy, client: HttpFhirServer, status: int
) -> None:
    issue = {
        "severity": "error",
        "code": "invalid",
        "diagnostics": f"{KEY.value} is no identifier",
        "details": {"text": "of Müller"},
        "expression": ["Patient.identifier"],
    }
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    transactions(proxy, Fault(status, content=json.dumps(outcome).encode()))

    with pytest.raises(FhirRefusedError) as caught:
        await client.write([WRITE])

    assert (caught.value.status, caught.value.issues) == (status, ("invalid Patient.identifier",))
    assert KEY.value not in str(caught.value)
    assert "Müller" not in str(caught.value)
    assert tries(proxy) == 1


async def test_what_the_server_finds_wrong_is_refused(client: HttpFhirServer) -> None:
    wrong = FhirWrite(
        "POST", "ImagingStudy", {"resourceType": "ImagingStudy", "status": "available"}
    )
    with pytest.raises(FhirRefusedError) as caught:
        await client.write([wrong])
    assert caught.value.issues


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_not_let_in_is_told_so(
    proxy: FhirProxy, client: HttpFhirServer, status: int
) -> None:
    transactions(proxy, Fault(status))
    with pytest.raises(FhirAccessError):
        await client.write([WRITE])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_nobody_is_followed_elsewhere(
    fhir: FhirTestServer, proxy: FhirProxy, client: HttpFhirServer, status: int
) -> None:
    with running_fhir_proxy(fhir.url) as other:
        transactions(proxy, Fault(status, {"Location": other.url}))
        with pytest.raises(FhirAccessError):
            await client.write([WRITE])
    assert other.seen == []


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"<html>Welcome</html>"),
        (200, b'{"resourceType": "Patient"}'),
        (200, b"[]"),
        (404, b""),
        (200, b'{"resourceType": "CapabilityStatement", "fhirVersion": "3.0.2"}'),
        (200, b'{"resourceType": "CapabilityStatement"}'),
    ],
)
async def test_what_is_no_fhir_server_that_the_app_can_use_is_left_alone(
    proxy: FhirProxy, status: int, content: bytes
) -> None:
    proxy.gate = lambda _: Fault(status, content=content)
    async with opened(proxy.url) as client:
        with pytest.raises(FhirAccessError):
            await client.release()


@pytest.mark.parametrize(
    ("version", "release"),
    [("4.0.1", FhirRelease.R4), ("4.3.0", FhirRelease.R4B), ("5.0.0", FhirRelease.R5)],
)
async def test_a_server_says_which_release_it_speaks(
    proxy: FhirProxy, version: str, release: FhirRelease
) -> None:
    statement = {"resourceType": "CapabilityStatement", "fhirVersion": version}
    proxy.gate = lambda _: Fault(200, content=json.dumps(statement).encode())
    async with opened(proxy.url) as client:
        assert [await client.release(), await client.release()] == [release, release]
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("status", [503, 429, 408])
async def test_a_server_that_is_away_at_first_is_asked_again_what_it_can(
    proxy: FhirProxy, status: int
) -> None:
    async with opened(proxy.url, 0.5) as client:
        # That it gives up at once is for the test; it does after a minute where it is not told.
        proxy.gate = lambda _: Fault(status, {"Retry-After": "3600"})
        with pytest.raises(StoreUnavailableError):
            await client.release()
        proxy.gate = lambda _: None
        assert await client.release() is FhirRelease.R4


async def test_an_answer_without_end_is_not_read(proxy: FhirProxy, client: HttpFhirServer) -> None:
    transactions(proxy, Fault(200, content=b" " * (64 * 1_048_576 + 1)))
    with pytest.raises(FhirRefusedError):
        await client.write([WRITE])


@pytest.mark.parametrize("content", [b"{}", b'{"resourceType": "Bundle", "entry": [{}, {}]}'])
async def test_an_answer_of_another_shape_is_no_success(
    proxy: FhirProxy, client: HttpFhirServer, content: bytes
) -> None:
    transactions(proxy, Fault(200, content=content))
    with pytest.raises(FhirRefusedError):
        await client.write([WRITE])


async def test_nothing_of_a_patient_is_in_an_address_or_a_log(
    proxy: FhirProxy, client: HttpFhirServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    transactions(proxy, Fault(503), Fault(), None)

    await client.search([SEARCH])
    await client.write([WRITE])
    [[found]] = await client.search([SEARCH])

    assert found["name"] == [{"family": "Müller"}]
    assert {request.path for request in proxy.seen} == {"/fhir/R4/metadata", "/fhir/R4"}
    for secret in ("4711", "Müller"):
        assert secret not in caplog.text


def paged(proxy: FhirProxy, link: str) -> None:
    """Let what a search finds go on at a link."""
    page = {"resourceType": "Bundle", "link": [{"relation": "next", "url": link}]}
    entry = {"resource": page, "response": {"status": "200"}}
    batch = {"resourceType": "Bundle", "type": "batch-response", "entry": [entry]}

    def gate(request: Passed) -> Fault | None:
        is_batch = request.bundle_type == "batch"
        return Fault(200, content=json.dumps(batch).encode()) if is_batch else None

    proxy.gate = gate


async def test_what_a_search_finds_is_read_to_its_end(
    fhir: FhirTestServer, proxy: FhirProxy, client: HttpFhirServer
) -> None:
    patient = fhir.create({"resourceType": "Patient"})
    paged(proxy, f"{proxy.url}/Patient?_count=10")
    assert await client.search([FhirSearch("Patient", ())]) == [[patient]]


async def test_a_link_to_another_host_is_not_followed(
    fhir: FhirTestServer, proxy: FhirProxy, client: HttpFhirServer
) -> None:
    with running_fhir_proxy(fhir.url) as other:
        paged(proxy, f"{other.url}/Patient?_count=10")
        assert await client.search([FhirSearch("Patient", ())]) == [[]]
    assert other.seen == []
