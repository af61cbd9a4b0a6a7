"""The app signs in to its storage account as itself, without any key."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
import pytest
import trustme

from localhost.azurite import azurite
from shared.adapters.azure_account import StorageAccount
from shared.adapters.azure_blobs import AzureBlobs
from shared.adapters.azure_state_table import AzureStateTable
from tests.contracts.test_blob_store import MIB, NAME, chunks_of, names_of

pytestmark = pytest.mark.host

_HEADER = "only the app knows it"


class _IdentityEndpoint(ThreadingHTTPServer):
    """Gives tokens of an identity to whoever is on this machine, as App Service does.

    Source: Microsoft Learn, "How to use managed identities for App Service and Azure Functions",
    "REST endpoint reference".
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tokens)
        self.asked_for: set[str] = set()


class _Tokens(BaseHTTPRequestHandler):
    server: _IdentityEndpoint

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        assert self.headers["X-IDENTITY-HEADER"] == _HEADER
        self.server.asked_for |= set(query["client_id"])
        now = datetime.now(UTC)
        expires = now + timedelta(hours=1)
        issuer = f"https://sts.windows.net/{uuid4()}/"
        claims = {"aud": query["resource"][0], "iss": issuer, "nbf": now, "iat": now}
        token = jwt.encode(claims | {"exp": expires}, "the emulator looks at no signature" * 2)
        answer = {"access_token": token, "expires_on": str(int(expires.timestamp()))}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer | {"resource": claims["aud"]}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[_IdentityEndpoint]:
    with _IdentityEndpoint() as endpoint:
        threading.Thread(target=endpoint.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{endpoint.server_address[1]}/msi/token"
        monkeypatch.setenv("IDENTITY_ENDPOINT", url)
        monkeypatch.setenv("IDENTITY_HEADER", _HEADER)
        yield endpoint
        endpoint.shutdown()


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageAccount]:
    """An account behind HTTPS, which tokens need."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    trusted, chain, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(trusted)
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(trusted))
    options = ["--oauth", "basic", "--cert", str(chain), "--key", str(key)]
    with azurite(options=options) as emulator:
        account = StorageAccount(
            blob_uri=f"{emulator.endpoints['blob']}/devstoreaccount1",
            table_uri=f"{emulator.endpoints['table']}/devstoreaccount1",
            client_id="of-the-app",
        )
        yield account
        account.close()


async def test_blobs_and_tables_are_reached_by_the_identity_of_the_app(
    identity: _IdentityEndpoint, secured: StorageAccount
) -> None:
    blobs = AzureBlobs(secured, "dicom")
    await blobs.put(NAME, b"x")
    assert await blobs.put_stream("dicom/large", chunks_of(*[bytes(MIB)] * 6)) == 6 * MIB
    assert bytes(await blobs.get(NAME)) == b"x"
    await blobs.delete([NAME])
    assert await names_of(blobs, "dicom/") == {"dicom/large"}
    state = AzureStateTable(secured)
    version = await state.put("fhir", "p", "k", {"a": 1})
    row = await state.get("fhir", "p", "k")
    assert row is not None
    assert row.version == version
    assert identity.asked_for == {"of-the-app"}
