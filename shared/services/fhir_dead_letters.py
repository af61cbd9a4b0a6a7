"""Studies that the FHIR server refuses, or that cannot be told of: put aside, one row each.

They are tried again after a while that grows, by hand, and whenever they change. No row holds a
value of an attribute, or the words of the FHIR server.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from shared.errors import FhirRefusedError, NotFoundError
from shared.ports import StateRow, StateTable, StateValue

_TABLE = "fhirdeadletter"
_PARTITION = "study"
_FIRST_PAUSE = timedelta(minutes=5)
_LONGEST_PAUSE = timedelta(hours=24)
_MAX_DOUBLINGS = 20

OPEN = "open"
IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A study that was put aside.

    Attributes:
        id: Hexadecimal digits, the same for the same study.
        error: Kind of error.
        status: HTTP status of the FHIR server's answer, 0 where it has not been asked.
        issues: Codes and expressions of the answer.
        first_sequence: Of the newest change that was known when it was put aside first.
        attempts: How often it has been tried.
        next_attempt: When it is tried again, if it is open.
        state: "open", or "ignored": tried no more until it changes.
    """

    id: str
    partition: str
    study: str
    error: str
    status: int
    issues: str
    first_sequence: int
    last_sequence: int
    attempts: int
    first_seen: datetime
    last_seen: datetime
    next_attempt: datetime
    state: str

    @classmethod
    def of(cls, row: StateRow) -> Self:
        """Read a row."""
        values = dict(row.values)
        times = ("first_seen", "last_seen", "next_attempt")
        moments = {name: datetime.fromisoformat(str(values.pop(name))) for name in times}
        return cls(id=row.key, **values, **moments)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The studies that were put aside."""

    state: StateTable

    async def note(self, partition: str, study: str, error: Exception, sequence: int = 0) -> None:
        """Put a study aside, once more if it is already."""
        now, key = datetime.now(UTC), letter_id(partition, study)
        row = await self.state.get(_TABLE, _PARTITION, key)
        earlier = {} if row is None else row.values
        attempts = int(earlier.get("attempts", 0)) + 1
        pause = _FIRST_PAUSE * 2 ** min(attempts - 1, _MAX_DOUBLINGS)
        values: Mapping[str, StateValue] = {
            "partition": partition,
            "study": study,
            "error": type(error).__name__.removesuffix("Error"),
            "status": getattr(error, "status", 0),
            "issues": "; ".join(error.issues) if isinstance(error, FhirRefusedError) else "",
            "first_sequence": earlier.get("first_sequence", sequence),
            "last_sequence": sequence or earlier.get("last_sequence", 0),
            "attempts": attempts,
            "first_seen": earlier.get("first_seen", now.isoformat()),
            "last_seen": now.isoformat(),
            "next_attempt": (now + min(pause, _LONGEST_PAUSE)).isoformat(),
            "state": OPEN,
        }
        await self.state.put(_TABLE, _PARTITION, key, values)

    async def resolve(self, partition: str, study: str) -> None:
        """Forget a study that has been told of, or is gone."""
        key = letter_id(partition, study)
        if await self.state.get(_TABLE, _PARTITION, key) is not None:
            await self.state.delete(_TABLE, _PARTITION, key)

    async def list(self, limit: int, offset: int) -> Sequence[DeadLetter]:
        """Some of them, by id."""
        found: list[DeadLetter] = []
        position = 0
        async for row in self.state.list(_TABLE, _PARTITION):
            if position >= offset + limit:
                break
            if position >= offset:
                found.append(DeadLetter.of(row))
            position += 1
        return found

    async def count_open(self) -> int:
        """How many are open."""
        rows = self.state.list(_TABLE, _PARTITION)
        return sum([row.values["state"] == OPEN async for row in rows])

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[str, str]]:
        """Partition and Study Instance UID of those whose time has come."""
        found: list[tuple[str, str]] = []
        async for row in self.state.list(_TABLE, _PARTITION):
            letter = DeadLetter.of(row)
            if letter.state == OPEN and letter.next_attempt <= now:
                found.append((letter.partition, letter.study))
            if len(found) == limit:
                break
        return found

    async def get(self, letter: str) -> DeadLetter:
        """Find one.

        Raises:
            NotFoundError: There is none.
        """
        return DeadLetter.of(await self._row(letter))

    async def ignore(self, letter: str) -> DeadLetter:
        """Try one no more until its study changes.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has been tried meanwhile.
        """
        row = await self._row(letter)
        values = {**row.values, "state": IGNORED}
        version = await self.state.put(_TABLE, _PARTITION, letter, values, if_version=row.version)
        return DeadLetter.of(StateRow(letter, values, version))

    async def _row(self, letter: str) -> StateRow:
        row = None
        if len(letter) == _ID_LENGTH and letter.isalnum():
            row = await self.state.get(_TABLE, _PARTITION, letter)
        if row is None:
            raise NotFoundError("There is no such dead letter.")
        return row


_ID_LENGTH = 32


def letter_id(partition: str, study: str) -> str:
    """The id of the dead letter of a study."""
    return hashlib.sha256(f"{partition}\n{study}".encode()).hexdigest()[:_ID_LENGTH]
