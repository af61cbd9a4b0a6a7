"""What callers prove with who they are."""

from typing import Protocol

from shared.access import Principal


class Tokens(Protocol):
    """The tokens that callers prove with who they are."""

    async def principal(self, token: str) -> Principal | None:
        """Tell whose a token is; None where it does not hold, for whatever reason."""

    async def check(self) -> None:
        """See that tokens can be checked: that the keys they are signed with are known."""
