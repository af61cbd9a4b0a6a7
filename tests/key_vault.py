"""A stand-in for Azure Key Vault that speaks its protocol, as the REST reference has it.

It is reached under the vault's real name: as the proxy of its clients it answers in the place of
the vault, by HTTPS. It also is the endpoint where an app on Azure gets tokens of its identity.
"""

import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

_DAYS = 90
_MAX_VALUE_LENGTH = 25_000
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}\Z")

type Answer = tuple[int, dict[str, Any]]


def _error(status: int, code: str, message: str, inner: str = "") -> Answer:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return status, {"error": error}


class KeyVault:
    """One vault, and an identity that may use it.

    Attributes:
        uri: Its address, as on Azure.
        environment: What lets a process use it.
        resource: For what its challenge tells clients to get a token.
        settling_seconds: How long a removal or recovery takes.
        failures: Statuses to answer with before anything else, one a request.
        asked: The requests that had a valid token, by method and path.
        token_requests: The queries of the requests for tokens.
    """

    def __init__(self, port: int, authority: Path) -> None:
        self.host = f"test-{secrets.token_hex(4)}.vault.azure.net"
        self.uri = f"https://{self.host}"
        self.environment = {
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
            "https_proxy": f"http://127.0.0.1:{port}",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(authority),
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{port}/msi/token",
            "IDENTITY_HEADER": secrets.token_hex(8),
        }
        self.resource = "https://vault.azure.net"
        self.settling_seconds = 0.0
        self.failures: list[int] = []
        self.asked: list[tuple[str, str]] = []
        self.token_requests: list[dict[str, list[str]]] = []
        self._token = secrets.token_urlsafe(64)
        self._values: dict[str, str] = {}
        self._deleted: dict[str, str] = {}
        self._settled: dict[str, float] = {}
        self._lock = threading.Lock()

    def token(self, query: dict[str, list[str]], header: str | None) -> Answer:
        """Give a token of the identity, as App Service does."""
        self.token_requests.append(query)
        if header != self.environment["IDENTITY_HEADER"]:
            return 400, {"statusCode": 400, "message": "the identity header is wrong"}
        return 200, {
            "access_token": self._token,
            "client_id": query.get("client_id", ["system"])[0],
            "expires_on": str(int(time.time()) + 86_400),
            "resource": query["resource"][0],
            "token_type": "Bearer",
        }

    def is_permitted(self, authorization: str | None) -> bool:
        """Whether a request has the token."""
        return authorization == f"Bearer {self._token}"

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Do what a request with a valid token asks for."""
        with self._lock:
            self.asked.append((method, urlsplit(path).path))
            if self.failures:
                return _error(self.failures.pop(0), "ServiceUnavailable", "Try again later.")
            if "api-version" not in parse_qs(urlsplit(path).query):
                return _error(400, "BadParameter", "The api-version is missing.")
            collection, name, *rest = urlsplit(path).path.strip("/").split("/")
            if not _NAME.match(name):
                return _error(400, "BadParameter", "The name is not valid.")
            if collection == "secrets" and rest in ([], [""]):
                return self._of_secret(method, name, body)
            return self._of_deleted(method, name, rest)

    def _of_secret(self, method: str, name: str, body: bytes) -> Answer:
        if method == "PUT":
            return self._set(name, json.loads(body)["value"])
        if name not in self._values or not self._is_settled(name):
            return _error(
                404,
                "SecretNotFound",
                f"A secret with (name/id) {name} was not found in this vault.",
            )
        if method == "DELETE":
            self._deleted[name] = self._values.pop(name)
            self._settle(name)
            return 200, self._deleted_bundle(name)
        return 200, {**self._bundle(name), "value": self._values[name]}

    def _set(self, name: str, value: str) -> Answer:
        if name in self._deleted and not self._is_settled(name):
            return self._conflict(name, "being deleted", "ObjectIsBeingDeleted")
        if name in self._deleted:
            return self._conflict(
                name, "in a deleted but recoverable state", "ObjectIsDeletedButRecoverable"
            )
        if not self._is_settled(name):
            return self._conflict(name, "being recovered", "ObjectIsBeingRecovered")
        if len(value) > _MAX_VALUE_LENGTH:
            return _error(400, "BadParameter", "The value is too long.")
        self._values[name] = value
        return 200, {**self._bundle(name), "value": value}

    def _of_deleted(self, method: str, name: str, rest: list[str]) -> Answer:
        if name not in self._deleted or not self._is_settled(name):
            return _error(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        if rest == ["recover"] and method == "POST":
            self._values[name] = self._deleted.pop(name)
            self._settle(name)
            return 200, self._bundle(name)
        return 200, self._deleted_bundle(name)

    def _conflict(self, name: str, state: str, inner: str) -> Answer:
        return _error(409, "Conflict", f"Secret {name} is currently {state}.", inner)

    def _settle(self, name: str) -> None:
        self._settled[name] = time.monotonic() + self.settling_seconds

    def _is_settled(self, name: str) -> bool:
        return time.monotonic() >= self._settled.get(name, 0.0)

    def _bundle(self, name: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            "id": f"{self.uri}/secrets/{name}/{secrets.token_hex(16)}",
            "attributes": {
                "enabled": True,
                "created": now,
                "updated": now,
                "recoveryLevel": "Recoverable+Purgeable",
                "recoverableDays": _DAYS,
            },
            "tags": {},
        }

    def _deleted_bundle(self, name: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            **self._bundle(name),
            "recoveryId": f"{self.uri}/deletedsecrets/{name}",
            "deletedDate": now,
            "scheduledPurgeDate": now + _DAYS * 86_400,
        }


class _Handler(BaseHTTPRequestHandler):
    vault: KeyVault
    context: ssl.SSLContext

    protocol_version = "HTTP/1.1"
    is_vault = False

    def do_CONNECT(self) -> None:
        self.send_response(200 if self.path == f"{self.vault.host}:443" else 403)
        self.end_headers()
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.is_vault, self.close_connection = True, False

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        given = self.headers.get("Authorization")
        if not self.is_vault:
            query = parse_qs(urlsplit(self.path).query)
            status, content = self.vault.token(query, self.headers.get("X-IDENTITY-HEADER"))
        elif self.vault.is_permitted(given):
            status, content = self.vault.answer(self.command, self.path, body)
        else:
            status, content = _error(401, "Unauthorized", "AKV10000: A token is missing.")
        self.send(status, json.dumps(content).encode())

    def send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        if status == 401:
            challenge = (
                'Bearer authorization="https://login.windows.net/'
                f'11111111-2222-3333-4444-555555555555", resource="{self.vault.resource}"'
            )
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_key_vault(folder: Path) -> Iterator[KeyVault]:
    """A vault that clients reach with `environment`; its authority's file is in the folder."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "key-vault-ca.pem")

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        vault = Handler.vault = KeyVault(server.server_port, folder / "key-vault-ca.pem")
        context = Handler.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(vault.host).configure_cert(context)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield vault
        finally:
            server.shutdown()
            thread.join()
