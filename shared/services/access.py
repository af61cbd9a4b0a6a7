"""Authentication and authorization of a request, before anything else of it is looked at."""

import re
from collections.abc import Sequence

from shared.access import ANYBODY, TRUSTED, DataAction, Principal
from shared.errors import NotAuthenticatedError, NotPermittedError
from shared.ports import Tokens

_MAX_TOKEN_LENGTH = 16_384
_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*) *\Z")
_SCHEME = re.compile(r"bearer(\s|\Z)", re.IGNORECASE)


class Access:
    """Lets those in who may do what they ask for."""

    def __init__(self, tokens: Tokens | None, challenge: str = "Bearer") -> None:
        """Check the callers by their tokens, or not at all without anything to check them by."""
        self._tokens = tokens
        self._challenge = challenge

    @property
    def is_checked(self) -> bool:
        """Whether callers must prove who they are."""
        return self._tokens is not None

    async def check(self) -> None:
        """See that tokens can be checked.

        Raises:
            StoreUnavailableError: They cannot.
        """
        if self._tokens is not None:
            await self._tokens.check()

    async def permit(self, authorization: Sequence[str], action: DataAction) -> Principal:
        """Tell who sends the Authorization header lines given, if the action is theirs to do.

        Raises:
            NotAuthenticatedError: There is no token, or not one that holds.
            NotPermittedError: The caller has no role for this.
            StoreUnavailableError: Tokens cannot be checked now.

        Standard: RFC 6750 2.1 and 3.
        """
        if action is DataAction.ANONYMOUS:
            return ANYBODY
        if self._tokens is None:
            return TRUSTED
        principal = await self._tokens.principal(self._token(authorization))
        if principal is None:
            raise self._invalid()
        if action not in principal.actions:
            raise NotPermittedError("The caller has no role that permits this.")
        return principal

    def _token(self, lines: Sequence[str]) -> str:
        if not any(_SCHEME.match(line) for line in lines):
            raise NotAuthenticatedError("A bearer token is needed.", self._challenge)
        if len(lines) > 1 or len(lines[0]) > _MAX_TOKEN_LENGTH:
            raise self._invalid()
        found = _BEARER.match(lines[0])
        if found is None:
            raise self._invalid()
        return found[1]

    def _invalid(self) -> NotAuthenticatedError:
        separator = ", " if " " in self._challenge else " "
        return NotAuthenticatedError(
            "The bearer token is not valid.", f'{self._challenge}{separator}error="invalid_token"'
        )
