"""Access tokens of one Microsoft Entra tenant, checked in this process.

Source: Microsoft identity platform, "Access token claims reference" and "Secure applications and
APIs by validating claims"; RFC 8725.
"""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import jwt
from jwt.utils import base64url_decode

from shared.access import CallerKind, Principal, granted_by
from shared.adapters.entra_keys import EntraKeys, Keys

_ALGORITHM = "RS256"
_TYPES = frozenset({"JWT", "AT+JWT"})
_LEEWAY_SECONDS = 60
_MAX_KEY_ID_LENGTH = 256
_REQUIRED = ["iss", "aud", "exp", "nbf", "iat", "sub", "tid", "oid"]


class _InvalidTokenError(Exception):
    """The token does not hold; why is nobody's business."""


_INVALID = (_InvalidTokenError, jwt.InvalidTokenError, ValueError, OverflowError, RecursionError)
"""What reading bytes of anybody's making comes to."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """A token that has been found to hold, until `expires`, in seconds of the epoch."""

    principal: Principal
    expires: float


class EntraTokens:
    """Tells whose a token is; one that has been checked is remembered until it expires."""

    def __init__(  # noqa: PLR0913
        self,
        keys: EntraKeys,
        *,
        tenant_id: str,
        issuers: Sequence[str],
        audiences: Sequence[str],
        remembered: int = 4096,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._tenant_id = tenant_id
        self._issuers = issuers
        self._audiences = audiences
        self._most = remembered
        self._clock = clock
        self._checked: OrderedDict[bytes, _Checked] = OrderedDict()
        self._checked_by: Keys = {}

    @classmethod
    def of_tenant(cls, issuer: str, tenant_id: str, audiences: Sequence[str]) -> Self:
        """Take the tenant's tokens of both forms; which one is a setting of the API's app."""
        return cls(
            EntraKeys(issuer),
            tenant_id=tenant_id,
            issuers=[issuer, f"https://sts.windows.net/{tenant_id}/"],
            audiences=audiences,
        )

    async def check(self) -> None:
        """See Tokens."""
        await self._keys.current()

    async def principal(self, token: str) -> Principal | None:
        """See Tokens."""
        keys = await self._keys.current()
        if keys is not self._checked_by:
            # A key may have been withdrawn, and with it all that it has signed.
            self._checked.clear()
            self._checked_by = keys
        # Only a digest is kept: whoever reads this memory gets no token that can be sent.
        digest = hashlib.sha256(token.encode()).digest()
        known = self._checked.get(digest)
        if known is not None and self._clock() < known.expires:
            self._checked.move_to_end(digest)
            return known.principal
        try:
            checked = await self._check(token, keys)
        except _INVALID:
            return None
        self._remember(digest, checked)
        return checked.principal

    def _remember(self, digest: bytes, checked: _Checked) -> None:
        self._checked[digest] = checked
        while len(self._checked) > self._most:
            self._checked.popitem(last=False)

    async def _check(self, token: str, keys: Keys) -> _Checked:
        key_id = _key_id(token)
        if key_id not in keys:
            keys = await self._keys.after_change()
        if key_id not in keys:
            raise _InvalidTokenError
        claims = jwt.decode(
            token,
            keys[key_id],
            algorithms=[_ALGORITHM],
            audience=self._audiences,
            issuer=self._issuers,
            leeway=_LEEWAY_SECONDS,
            options={"require": _REQUIRED},
        )
        _read(token.split(".")[1])
        if claims["tid"] != self._tenant_id:
            raise _InvalidTokenError
        return _Checked(_principal(claims), float(claims["exp"]) + _LEEWAY_SECONDS)


def _key_id(token: str) -> str:
    """The key that a token names; nothing else of its header is used, and much is refused."""
    header = _read(token.partition(".")[0])
    key_id = header.get("kid")
    kind = header.get("typ", "JWT")
    if header.get("alg") != _ALGORITHM or "crit" in header or "b64" in header:
        raise _InvalidTokenError
    if not isinstance(kind, str) or kind.upper() not in _TYPES:
        raise _InvalidTokenError
    if not isinstance(key_id, str) or len(key_id) > _MAX_KEY_ID_LENGTH:
        raise _InvalidTokenError
    return key_id


def _read(segment: str) -> dict[str, Any]:
    """Read a segment of a token; one with a name twice is refused: readers differ over those."""
    found = json.loads(base64url_decode(segment), object_pairs_hook=_distinct)
    if not isinstance(found, dict):
        raise _InvalidTokenError
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _InvalidTokenError
    return found


def _principal(claims: dict[str, Any]) -> Principal:
    """Whose the token is, and what it permits.

    A user may do by an application what both may: what the user's roles grant, as far as the
    scopes go that the application was given. An application by itself goes by its roles.
    """
    client_id = claims.get("azp", claims.get("appid"))
    if not isinstance(client_id, str):
        # An ID token, which proves to an application who its user is, and opens nothing.
        raise _InvalidTokenError
    roles = granted_by(_names(claims.get("roles", [])))
    scopes = claims.get("scp")
    if scopes is not None:
        if not isinstance(scopes, str):
            raise _InvalidTokenError
        actions = roles & granted_by(scopes.split(" "))
        return Principal(CallerKind.USER, claims["oid"], client_id, actions)
    if claims["sub"] != claims["oid"]:
        raise _InvalidTokenError
    return Principal(CallerKind.APPLICATION, claims["oid"], client_id, roles)


def _names(roles: object) -> Sequence[str]:
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise _InvalidTokenError
    return roles
