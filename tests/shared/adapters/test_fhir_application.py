"""Tokens for a FHIR server by the secret of an application, from an authority of its own."""

import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest
import trustme
from azure.core.exceptions import ClientAuthenticationError

from shared.adapters.fhir_credentials import application
from tests.issuer import CLIENT, TENANT

pytestmark = pytest.mark.host


class Authority(ThreadingHTTPServer):
    """Gives tokens to whoever knows the secret."""

    @property
    def address(self) -> str:
        return f"https://localhost:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Authority

    def do_GET(self) -> None:
        base = f"{self.server.address}/{TENANT}"
        ends = {"token_endpoint": "oauth2/v2.0/token", "authorization_endpoint": "authorize"}
        self.give(200, {"issuer": base, **{name: f"{base}/{end}" for name, end in ends.items()}})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form["client_secret"] != ["right"] or form["client_id"] != [CLIENT]:
            self.give(401, {"error": "invalid_client"})
        else:
            token = f"for {form['scope'][0]}"
            self.give(200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def give(self, status: int, answer: object) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Authority]:
    issuer, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("localhost").configure_cert(context)
    issuer.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with Authority(("127.0.0.1", 0), _Handler) as found:
        found.socket = context.wrap_socket(found.socket, server_side=True)
        thread = Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def test_an_application_gets_tokens_where_its_authority_is(authority: Authority) -> None:
    credential = application(authority.address, TENANT, CLIENT, "right")
    scope = "https://fhir.example/.default"
    assert credential.get_token(scope).token.startswith(f"for {scope}")


def test_a_wrong_secret_gets_none(authority: Authority) -> None:
    credential = application(authority.address, TENANT, CLIENT, "wrong")
    with pytest.raises(ClientAuthenticationError):
        credential.get_token("https://fhir.example/.default")
