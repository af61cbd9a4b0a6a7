"""The client of FHIR servers as a backend service of SMART, at a server that checks assertions."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from shared.adapters.fhir_credentials import SMART_SCOPE, SmartBackend
from shared.adapters.fhir_server import HttpFhirServer
from shared.errors import FhirAccessError
from shared.fhir.search import FhirSearch
from tests.fhir_proxy import Fault, running_fhir_proxy
from tests.fhir_server import FhirTestServer, running_fhir_server

pytestmark = pytest.mark.host

CLIENT = "dicomweb"
SEARCHES = [FhirSearch("Patient", ())]
ELLIPTIC = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGE = ec.generate_private_key(ec.SECP384R1())

type PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirTestServer]:
    file: Path = tmp_path_factory.mktemp("keys") / "jwks.json"
    keys = [
        ECAlgorithm.to_jwk(ELLIPTIC.public_key(), as_dict=True),
        RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True),
    ]
    file.write_text(json.dumps({"keys": keys}))
    with running_fhir_server(f"--jwks={file}", f"--client={CLIENT}") as server:
        yield server


def client(
    url: str, key: Callable[[], str], is_allowed: Callable[[str], bool] = lambda _: True
) -> HttpFhirServer:
    async def credential() -> SmartBackend:
        return SmartBackend(url, CLIENT, key(), is_allowed)

    return HttpFhirServer(url, credential, SMART_SCOPE, trying_seconds=2)


@pytest.mark.parametrize("key", [ELLIPTIC, RSA], ids=["ES384", "RS384"])
async def test_a_signed_assertion_lets_the_app_in_and_its_token_is_kept(
    guarded: FhirTestServer, key: PrivateKey
) -> None:
    with running_fhir_proxy(guarded.url) as proxy:
        opened = client(proxy.url, lambda: pem(key))
        assert await opened.search(SEARCHES) == [[]]
        assert await opened.search(SEARCHES) == [[]]
        await opened.close()
    asked = [request.path for request in proxy.seen]
    assert asked.count("/fhir/R4/.well-known/smart-configuration") == 1


async def test_a_key_that_the_server_does_not_know_lets_nobody_in(guarded: FhirTestServer) -> None:
    opened = client(guarded.url, lambda: pem(STRANGE))
    with pytest.raises(FhirAccessError):
        await opened.search(SEARCHES)
    await opened.close()


@pytest.mark.parametrize("key", ["", "secret", "-----BEGIN PRIVATE KEY-----\n"])
async def test_what_is_no_private_key_is_named_without_being_told(
    guarded: FhirTestServer, key: str
) -> None:
    opened = client(guarded.url, lambda: key)
    with pytest.raises(FhirAccessError, match="is no private key"):
        await opened.search(SEARCHES)
    await opened.close()


async def test_the_secret_is_read_again_when_the_token_is_refused(guarded: FhirTestServer) -> None:
    read: list[str] = []

    def key() -> str:
        read.append(pem(ELLIPTIC))
        return read[-1]

    with running_fhir_proxy(guarded.url) as proxy:
        opened = client(proxy.url, key)
        await opened.search(SEARCHES)
        refusals = iter([Fault(401)])
        proxy.gate = lambda request: next(refusals, None) if request.bundle_type else None
        assert await opened.search(SEARCHES) == [[]]
        await opened.close()
    assert len(read) == 2
    tokens = [one.headers["Authorization"] for one in proxy.seen if one.bundle_type]
    assert tokens[0] == tokens[1] != tokens[2]


async def test_no_assertion_goes_to_a_host_that_is_not_allowed(guarded: FhirTestServer) -> None:
    with running_fhir_proxy(guarded.url) as other, running_fhir_proxy(guarded.url) as proxy:
        configuration = json.dumps({"token_endpoint": f"{other.url}/token"}).encode()
        proxy.gate = lambda request: (
            Fault(200, content=configuration) if "smart" in request.path else None
        )
        opened = client(proxy.url, lambda: pem(ELLIPTIC), lambda url: proxy.url in url)
        with pytest.raises(FhirAccessError):
            await opened.search(SEARCHES)
        await opened.close()
    assert other.seen == []


async def test_a_token_goes_to_no_other_host(guarded: FhirTestServer) -> None:
    page = {"resourceType": "Bundle"}
    with running_fhir_proxy(guarded.url) as other, running_fhir_proxy(guarded.url) as proxy:
        link = {"relation": "next", "url": f"{other.url}/Patient?page=2"}
        entry = {"resource": {**page, "link": [link]}, "response": {"status": "200"}}
        batch = json.dumps({**page, "type": "batch-response", "entry": [entry]}).encode()
        proxy.gate = lambda request: Fault(200, content=batch) if request.bundle_type else None
        opened = client(proxy.url, lambda: pem(ELLIPTIC))
        assert await opened.search(SEARCHES) == [[]]
        await opened.close()
    assert other.seen == []
