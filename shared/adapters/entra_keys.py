"""The public keys that Microsoft Entra ID signs a tenant's tokens with."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import orjson
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm

from shared.adapters.own_threads import OwnThreads
from shared.errors import StoreUnavailableError

FRESH_SECONDS = 3600.0
"""Keys older than this are read again while they are still used."""
KEPT_SECONDS = 86_400.0
"""Keys of an issuer that does not answer are used this long."""
PAUSE_SECONDS = 60.0
"""Time between two readings, whatever tokens are sent."""
RETRY_SECONDS = 5.0
"""The same while there are no keys to go by."""

_TIMEOUT_SECONDS = (3.05, 5.0)
_DEADLINE_SECONDS = 15.0
_MAX_DOCUMENT_BYTES = 1_048_576
_CHUNK_BYTES = 65_536
_MIN_KEY_BITS = 2048

_UNREADABLE = (
    requests.RequestException,
    TimeoutError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)
"""The issuer is away, or what it says has another form than it must."""

_log = logging.getLogger(__name__)

type Keys = Mapping[str, RSAPublicKey]


class EntraKeys:
    """The keys by their IDs, as the issuer's OpenID configuration leads to them.

    One set is used until another takes its place: whoever remembers what a set has proved can tell
    by its identity that it still holds.
    """

    def __init__(self, issuer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: Keys = {}
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._threads = OwnThreads("keys")

    async def current(self) -> Keys:
        """The keys to go by.

        Raises:
            StoreUnavailableError: There are none, or none but old ones, and the issuer is away.
        """
        age = self._clock() - self._read_at
        if age > FRESH_SECONDS:
            reading = self._read_again(RETRY_SECONDS if age > KEPT_SECONDS else PAUSE_SECONDS)
            if age > KEPT_SECONDS:
                await _end_of(reading)
        if self._clock() - self._read_at > KEPT_SECONDS:
            raise StoreUnavailableError("The issuer of tokens does not answer.")
        return self._keys

    async def after_change(self) -> Keys:
        """The keys, read again unless that was done a moment ago: a token names an unknown one."""
        await _end_of(self._read_again(PAUSE_SECONDS))
        return self._keys

    def _read_again(self, pause: float) -> "asyncio.Task[None] | None":
        if self._reading is None and self._clock() - self._tried_at > pause:
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                keys = await self._threads.run(_fetched, self._issuer)
        except _UNREADABLE as error:
            # The kind only: the text of some has the answer.
            _log.warning("the signing keys cannot be read: %s", type(error).__name__)
            return
        finally:
            self._reading = None
        self._read_at = self._clock()
        if _numbers(keys) != _numbers(self._keys):
            self._keys = keys


async def _end_of(reading: "asyncio.Task[None] | None") -> None:
    """Wait with others; one that goes away does not end what the others wait for."""
    if reading is not None:
        await asyncio.shield(reading)


def _fetched(issuer: str) -> Keys:
    """Read the configuration, and the keys it names.

    Standard: OpenID Connect Discovery 1.0, sections 4.2 and 4.3.
    """
    with requests.Session() as session:
        configuration = _document(session, f"{issuer}/.well-known/openid-configuration")
        if configuration["issuer"] != issuer:
            raise ValueError("the configuration is that of another issuer")
        address = str(configuration["jwks_uri"])
        if issuer.startswith("https:") and not address.startswith("https:"):
            raise ValueError("the keys are not served by HTTPS")
        keys = _usable(_document(session, address)["keys"])
    if not keys:
        raise ValueError("there is no key that can be used")
    return keys


def _document(session: requests.Session, address: str) -> dict[str, Any]:
    with session.get(
        address, timeout=_TIMEOUT_SECONDS, allow_redirects=False, stream=True
    ) as answer:
        answer.raise_for_status()
        content = bytearray()
        for chunk in answer.iter_content(_CHUNK_BYTES):
            content += chunk
            if len(content) > _MAX_DOCUMENT_BYTES:
                raise ValueError("the document is too large")
    found: dict[str, Any] = orjson.loads(content)
    return found


def _usable(entries: list[dict[str, Any]]) -> Keys:
    keys = {}
    for entry in entries:
        key_id = entry.get("kid")
        if isinstance(key_id, str) and entry.get("use", "sig") == "sig" and "d" not in entry:
            key = _rsa(entry)
            if key is not None and key.key_size >= _MIN_KEY_BITS:
                keys[key_id] = key
    return keys


def _rsa(entry: dict[str, Any]) -> RSAPublicKey | None:
    """The key of an entry, None where it is of another kind or damaged."""
    if entry.get("kty") != "RSA" or entry.get("alg", "RS256") != "RS256":
        return None
    try:
        key = RSAAlgorithm.from_jwk(entry)
    except (jwt.InvalidKeyError, ValueError, TypeError):
        return None
    return key if isinstance(key, RSAPublicKey) else None


def _numbers(keys: Keys) -> dict[str, tuple[int, int]]:
    numbers = {key_id: key.public_numbers() for key_id, key in keys.items()}
    return {key_id: (number.n, number.e) for key_id, number in numbers.items()}
