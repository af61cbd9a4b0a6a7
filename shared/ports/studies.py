"""The studies of the archive, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KnownStudy:
    """A study that is there; `key` is the index's own number, never used again."""

    key: int
    partition_name: str
    uid: str


class StudyTable(Protocol):
    """The studies in the order in which they came."""

    async def span(self, partition_name: str | None) -> tuple[int, int]:
        """How many studies there are, in a partition or in all, and the highest key of them."""

    async def studies(
        self, partition_name: str | None, after: int, up_to: int, limit: int
    ) -> Sequence[KnownStudy]:
        """The next studies with a key above `after` and at most `up_to`, by key."""
