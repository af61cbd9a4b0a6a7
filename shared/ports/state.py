"""Small rows that several instances of the app share."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

type StateValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class StateRow:
    """A row of a state table; `version` changes on every write."""

    key: str
    values: Mapping[str, StateValue]
    version: str


class StateTable(Protocol):
    """Small rows under (table, partition, key), written with optimistic concurrency."""

    async def get(self, table: str, partition: str, key: str) -> StateRow | None:
        """Read a row."""

    async def put(
        self,
        table: str,
        partition: str,
        key: str,
        values: Mapping[str, StateValue],
        *,
        if_version: str | None = None,
    ) -> str:
        """Write a row and give its new version.

        With `if_version`, only a row of that version is replaced; with an empty one, only a row
        that does not exist is made.

        Raises:
            ConflictError: The row is not of that version.
        """

    async def delete(self, table: str, partition: str, key: str) -> None:
        """Remove a row; one that is not there is no error."""

    def list(self, table: str, partition: str) -> AsyncIterator[StateRow]:
        """The rows of a partition, by key."""
