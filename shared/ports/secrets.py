"""Secret texts under names."""

from typing import Protocol


class Secrets(Protocol):
    """Secret texts under names of letters, digits and dashes."""

    async def get(self, name: str) -> str | None:
        """Read a secret."""

    async def set(self, name: str, value: str) -> None:
        """Write a secret."""

    async def delete(self, name: str) -> None:
        """Remove a secret; one that is not there is no error."""
