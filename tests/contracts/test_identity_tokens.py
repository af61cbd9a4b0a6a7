"""Tokens for Azure SQL from the endpoint that Azure Functions gives an app with an identity."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from shared.adapters.sql_index.mssql_tokens import identity_tokens
from shared.errors import StoreUnavailableError


class Endpoint(ThreadingHTTPServer):
    """Numbers the tokens that it gives; each is good for so many seconds."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, list[str]]] = []
        self.seconds = 3600
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        assert self.headers["X-IDENTITY-HEADER"] == "proof"
        self.server.asked.append(parse_qs(urlsplit(self.path).query))
        token = {
            "access_token": f"token {len(self.server.asked)}",
            "expires_on": str(int(time.time()) + self.server.seconds),
            "resource": "https://database.windows.net/",
            "token_type": "Bearer",
        }
        refusal = {"error": "invalid_request", "error_description": "no such identity"}
        content = orjson.dumps(token if self.server.status == 200 else refusal)
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with Endpoint() as found:
        thread = Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{found.server_port}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "proof")
        yield found
        found.shutdown()
        thread.join()


def test_a_token_is_for_azure_sql_and_for_the_identity_that_is_named(endpoint: Endpoint) -> None:
    assert identity_tokens("a-client-id")() == "token 1"
    [asked] = endpoint.asked
    assert asked["resource"] == ["https://database.windows.net"]
    assert asked["client_id"] == ["a-client-id"]


def test_a_token_is_used_until_it_is_about_to_expire(endpoint: Endpoint) -> None:
    token = identity_tokens("a-client-id")
    assert [token(), token()] == ["token 1", "token 1"]
    endpoint.seconds = 200
    token = identity_tokens("another-client-id")
    assert [token(), token()] == ["token 2", "token 3"]


def test_an_identity_that_cannot_be_proven_makes_the_index_unavailable(endpoint: Endpoint) -> None:
    endpoint.status = 400
    with pytest.raises(StoreUnavailableError, match="cannot prove who it is"):
        identity_tokens("a-third-client-id")()
