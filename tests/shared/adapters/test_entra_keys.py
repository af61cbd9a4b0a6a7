"""How the keys of the issuer are read, kept and replaced."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from shared.access import Principal
from shared.adapters.entra_keys import FRESH_SECONDS, KEPT_SECONDS, PAUSE_SECONDS, EntraKeys
from shared.adapters.entra_tokens import EntraTokens
from shared.errors import StoreUnavailableError
from tests.issuer import AUDIENCE, TENANT, Issuer, jwk, private_key, running_issuer, signed

READ = 2
"""Documents that one reading takes."""


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> EntraKeys:
    return EntraKeys(issuer.name, clock)


@pytest.fixture
def tokens(keys: EntraKeys, issuer: Issuer) -> EntraTokens:
    return EntraTokens(keys, tenant_id=TENANT, issuers=[issuer.name], audiences=[AUDIENCE])


async def _holds(tokens: EntraTokens, token: str) -> bool:
    return isinstance(await tokens.principal(token), Principal)


async def test_many_requests_at_the_start_read_the_keys_once(
    tokens: EntraTokens, issuer: Issuer
) -> None:
    found = await asyncio.gather(*(_holds(tokens, issuer.token()) for _ in range(50)))
    assert all(found)
    assert len(issuer.fetched) == READ


async def test_a_new_key_is_found_and_a_withdrawn_one_holds_no_longer(
    tokens: EntraTokens, issuer: Issuer, clock: Clock
) -> None:
    old, new = issuer.token(), issuer.token(key=2)
    assert await _holds(tokens, old)
    assert not await _holds(tokens, new)

    issuer.entries = [jwk(private_key(2), "key-2")]
    clock.now += PAUSE_SECONDS + 1

    assert await _holds(tokens, new)
    assert not await _holds(tokens, old)


async def test_a_withdrawn_key_is_noticed_without_a_token_of_a_new_one(
    tokens: EntraTokens, keys: EntraKeys, issuer: Issuer, clock: Clock
) -> None:
    old = issuer.token()
    assert await _holds(tokens, old)
    issuer.entries = [jwk(private_key(2), "key-2")]
    clock.now += FRESH_SECONDS + 1

    # The present keys serve while the new ones are read.
    assert await _holds(tokens, old)
    while "key-2" not in await keys.current():
        await asyncio.sleep(0.01)
    assert not await _holds(tokens, old)


async def test_another_key_under_the_same_id_takes_the_place_of_the_first(
    tokens: EntraTokens, issuer: Issuer, clock: Clock
) -> None:
    first = issuer.token()
    assert await _holds(tokens, first)
    issuer.entries = [jwk(private_key(2), "key-1")]
    clock.now += PAUSE_SECONDS + 1
    assert not await _holds(tokens, issuer.token(key=3))

    second = signed(issuer.claims(), {"kid": "key-1"}, private_key(2))
    assert await _holds(tokens, second)
    assert not await _holds(tokens, first)


async def test_a_storm_of_unknown_keys_costs_the_issuer_one_reading_a_minute(
    tokens: EntraTokens, issuer: Issuer, clock: Clock
) -> None:
    assert await _holds(tokens, issuer.token())
    for minute in range(1, 4):
        clock.now += PAUSE_SECONDS + 1
        storm = [
            signed(issuer.claims(), {"kid": f"random-{minute}-{number}"}) for number in range(60)
        ]
        found = await asyncio.gather(*(_holds(tokens, token) for token in storm))
        assert not any(found)
        assert len(issuer.fetched) == READ * (minute + 1)
    assert await _holds(tokens, issuer.token())


async def test_keys_are_kept_for_a_day_while_the_issuer_is_away(
    tokens: EntraTokens, issuer: Issuer, clock: Clock
) -> None:
    assert await _holds(tokens, issuer.token())
    issuer.is_away = True
    for hours in (2, 12, 23):
        clock.now = 1000 + hours * 3600
        assert await _holds(tokens, issuer.token())
    clock.now = 1000 + KEPT_SECONDS + 1
    with pytest.raises(StoreUnavailableError):
        await tokens.principal(issuer.token())
    issuer.is_away = False
    clock.now += 6
    assert await _holds(tokens, issuer.token())


async def test_an_issuer_that_is_away_is_not_asked_by_every_request(
    tokens: EntraTokens, issuer: Issuer
) -> None:
    issuer.is_away = True
    for _ in range(20):
        with pytest.raises(StoreUnavailableError):
            await tokens.principal(issuer.token())
    assert len(issuer.fetched) == 1


async def test_a_request_that_goes_away_does_not_take_the_keys_from_the_others(
    tokens: EntraTokens, issuer: Issuer
) -> None:
    first = asyncio.create_task(_holds(tokens, issuer.token()))
    second = asyncio.create_task(_holds(tokens, issuer.token()))
    await asyncio.sleep(0)
    first.cancel()
    assert await second


ELSEWHERE = b'{"issuer": "https://attacker.test/v2.0", "jwks_uri": "https://attacker.test/keys"}'


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("openid-configuration", b""),
        ("openid-configuration", b"[]"),
        ("openid-configuration", b"{}"),
        ("openid-configuration", ELSEWHERE),
        ("keys", b"nonsense"),
        ("keys", b'{"keys": null}'),
        ("keys", b'{"keys": ["key-1"]}'),
        ("keys", b'{"keys": []}'),
        ("keys", b" " * 2_000_000),
    ],
)
async def test_what_is_no_set_of_keys_is_taken_for_an_issuer_that_is_away(
    tokens: EntraTokens, issuer: Issuer, path: str, document: bytes
) -> None:
    issuer.documents[path] = document
    with pytest.raises(StoreUnavailableError):
        await tokens.principal(issuer.token())


async def test_only_public_rsa_keys_for_signatures_are_used(
    keys: EntraKeys, issuer: Issuer
) -> None:
    good = jwk(private_key(1), "good")
    issuer.entries = [
        good,
        {**good, "kid": "without alg"} | {"alg": "RS256"},
        jwk(private_key(0), "weak"),
        jwk(private_key(1), "for encryption", use="enc"),
        jwk(private_key(1), "for PS256", alg="PS256"),
        {**good, "kid": "private", "d": "AQAB"},
        {**good, "kid": "damaged", "n": "!"},
        {**good, "kid": "empty", "n": ""},
        {**good, "kid": 7},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "elliptic"},
    ]
    assert set(await keys.current()) == {"good", "without alg"}


async def test_an_issuer_that_leads_elsewhere_is_not_followed(clock: Clock) -> None:
    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", other.address + self.path)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with running_issuer() as other, HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        keys = EntraKeys(f"http://127.0.0.1:{server.server_port}/{TENANT}/v2.0", clock)
        with pytest.raises(StoreUnavailableError):
            await keys.current()
        thread.join()
    assert other.fetched == []


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """An issuer by HTTPS whose keys lie at a plain address; its port, and its authority's file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = f"https://127.0.0.1:{server.server_port}"
            scheme = "http" if self.path.startswith("/plain") else "https"
            content: dict[str, object] = {
                "issuer": name + self.path.removesuffix("/.well-known/openid-configuration"),
                "jwks_uri": f"{scheme}://127.0.0.1:{server.server_port}/keys",
                "keys": [jwk(private_key(1), "key-1")],
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(HTTPServer):
        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True), address

        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port, tmp_path / "ca.pem"
        finally:
            server.shutdown()
            thread.join()


async def test_an_issuer_must_have_a_certificate_that_is_trusted(
    https: tuple[int, Path], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, authority = https
    with pytest.raises(StoreUnavailableError):
        await EntraKeys(f"https://127.0.0.1:{port}/v2.0", clock).current()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    assert set(await EntraKeys(f"https://127.0.0.1:{port}/v2.0", clock).current()) == {"key-1"}


async def test_keys_are_not_read_by_a_plain_connection_from_an_issuer_by_https(
    https: tuple[int, Path], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, authority = https
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    with pytest.raises(StoreUnavailableError):
        await EntraKeys(f"https://127.0.0.1:{port}/plain/v2.0", clock).current()


async def test_a_token_is_remembered_until_it_expires(keys: EntraKeys, issuer: Issuer) -> None:
    clock = Clock()
    tokens = EntraTokens(
        keys, tenant_id=TENANT, issuers=[issuer.name], audiences=[AUDIENCE], clock=clock
    )
    claims = issuer.claims()
    token = signed(claims, {"kid": "key-1"})
    first = await tokens.principal(token)
    clock.now = claims["exp"] + 59
    assert await tokens.principal(token) is first
    clock.now = claims["exp"] + 61
    # The library goes by the time of the machine: it holds, but it was looked at again.
    again = await tokens.principal(token)
    assert again == first
    assert again is not first


async def test_only_so_many_tokens_are_remembered(keys: EntraKeys, issuer: Issuer) -> None:
    tokens = EntraTokens(
        keys, tenant_id=TENANT, issuers=[issuer.name], audiences=[AUDIENCE], remembered=10
    )
    used, unused = issuer.token(jti="used"), issuer.token(jti="unused")
    of_used, of_unused = await tokens.principal(used), await tokens.principal(unused)
    for number in range(30):
        assert await _holds(tokens, issuer.token(jti=str(number)))
        assert await tokens.principal(used) is of_used
    again = await tokens.principal(unused)
    assert again == of_unused
    assert again is not of_unused
