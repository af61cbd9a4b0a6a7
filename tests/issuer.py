"""A local issuer of tokens that speaks OpenID Connect Discovery, with the claims of Entra ID."""

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

TENANT = "11111111-2222-3333-4444-555555555555"
AUDIENCE = "api://dicom"
CLIENT = "66666666-7777-8888-9999-000000000000"
USER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


@cache
def private_key(number: int) -> rsa.RSAPrivateKey:
    """A key that stays the same for the whole test run: they take long to make; 0 is weak."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048 if number else 1024)


def jwk(key: rsa.RSAPrivateKey, key_id: str, **more: str) -> dict[str, Any]:
    """The public half of a key, as the issuer publishes it."""
    found: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**found, "kid": key_id, "use": "sig", **more}


def encoded(part: object) -> str:
    """A segment of a token, of JSON or of any bytes."""
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(content).rstrip(b"=").decode()


class Issuer:
    """What the issuer publishes, and what it has been asked.

    Attributes:
        entries: The keys it publishes, as JWKs.
        documents: What it answers instead, by the end of the path.
        is_away: Whether it answers 503.
        fetched: The paths that were asked for.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.name = f"{address}/{TENANT}/v2.0"
        self.entries: list[dict[str, Any]] = [jwk(private_key(1), "key-1")]
        self.documents: dict[str, bytes] = {}
        self.is_away = False
        self.fetched: list[str] = []

    @property
    def settings(self) -> dict[str, str]:
        """What lets the app take its tokens."""
        return {
            "AUTHENTICATION": "entra",
            "ENTRA_TENANT_ID": TENANT,
            "ENTRA_AUDIENCE": f"{AUDIENCE}, {CLIENT}",
            "ENTRA_AUTHORITY": self.address,
        }

    def answer(self, path: str) -> bytes | None:
        """The document of a path."""
        self.fetched.append(path)
        for end, document in self.documents.items():
            if path.endswith(end):
                return document
        if path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            keys = f"{self.address}/{TENANT}/discovery/v2.0/keys"
            return json.dumps({"issuer": self.name, "jwks_uri": keys}).encode()
        if path == f"/{TENANT}/discovery/v2.0/keys":
            return json.dumps({"keys": self.entries}).encode()
        return None

    def claims(self, **changes: object) -> dict[str, Any]:
        """What a token of an application says; a changed claim of None is left out."""
        now = int(time.time())
        claims = {
            "aud": AUDIENCE,
            "iss": self.name,
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + 3600,
            "azp": CLIENT,
            "oid": USER,
            "sub": USER,
            "tid": TENANT,
            "ver": "2.0",
            "roles": ["Dicom.Administer"],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *roles: str, key: int = 1, **changes: object) -> str:
        """A token of an application, with all rights where no roles are named."""
        given = {"roles": list(roles), **changes} if roles else changes
        return signed(self.claims(**given), {"kid": f"key-{key}"}, private_key(key))


def signed(
    claims: object, header: Mapping[str, object], key: rsa.RSAPrivateKey | None = None
) -> str:
    """A token that is signed with RS256, whatever its header and claims say."""
    head = {"alg": "RS256", "typ": "JWT", **header}
    return signed_parts(encoded(head), encoded(claims), key)


def signed_parts(head: str, body: str, key: rsa.RSAPrivateKey | None = None) -> str:
    """The same of segments that are encoded already."""
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(
        f"{head}.{body}".encode(), key or private_key(1)
    )
    return f"{head}.{body}.{encoded(signature)}"


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer that answers on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = issuer.answer(self.path)
            status = 503 if issuer.is_away else 404 if content is None else 200
            self.send_response(status)
            self.end_headers()
            if status == 200 and content is not None:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
