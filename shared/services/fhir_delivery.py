"""Delivery of studies to the FHIR server: one after the other, and what goes wrong is sorted.

An outage stops, and nothing is lost by it; a study that is refused is put aside, and others go on.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from shared.audit import write_record
from shared.errors import FhirAccessError, StoreUnavailableError
from shared.fhir.mapping_warning import MappingWarning
from shared.services.fhir_dead_letters import DeadLetters
from shared.services.fhir_reconciliation import PERMANENT, ReconcileOutcome, Reconciliation

_log = logging.getLogger(__name__)

type StudyName = tuple[str, str]
"""The name of a partition and a Study Instance UID."""


class Halt(StrEnum):
    """Why no more studies can be delivered now."""

    OUTAGE = "outage"
    """A store or the FHIR server does not answer, or is too busy."""
    ACCESS = "access"
    """The FHIR server does not let the app in, or is none that it can use."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many studies were written, were there as they are, and were put aside."""

    written: int = 0
    unchanged: int = 0
    refused: int = 0
    halt: Halt | None = None

    def to_json(self) -> Mapping[str, Any]:
        """The counts as an orchestration keeps them."""
        return asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives."""
        halt = kept["halt"]
        return cls(**{**kept, "halt": None if halt is None else Halt(halt)})

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        """The sum of some; it halts where one of them does, above all for want of access."""
        found = list(parts)
        halts = {part.halt for part in found}
        return cls(
            sum(part.written for part in found),
            sum(part.unchanged for part in found),
            sum(part.refused for part in found),
            next((halt for halt in (Halt.ACCESS, Halt.OUTAGE) if halt in halts), None),
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivers studies."""

    reconciliation: Reconciliation
    letters: DeadLetters

    async def deliver_one(self, study: StudyName) -> tuple[Delivered, Sequence[MappingWarning]]:
        """Deliver a study; also answers what of it is left out or changed, if it is delivered."""
        return await self._deliver(study, 0)

    async def deliver(self, studies: Sequence[StudyName], sequence: int = 0) -> Delivered:
        """Deliver studies one after the other, up to the first that cannot be delivered now.

        `sequence` is of the newest change in them that is known, 0 where none is.
        """
        total = Delivered()
        for study in studies:
            delivered, _ = await self._deliver(study, sequence)
            total = Delivered.total((total, delivered))
            if total.halt is not None:
                break
        return total

    async def _deliver(
        self, study: StudyName, sequence: int
    ) -> tuple[Delivered, Sequence[MappingWarning]]:
        try:
            done = await self.reconciliation.reconcile(*study)
            await self.letters.resolve(*study)
        except PERMANENT as error:
            return await self._put_aside(study, error, sequence), ()
        except FhirAccessError as error:
            _log.error("FHIR: %s", error.message)
            return Delivered(halt=Halt.ACCESS), ()
        except StoreUnavailableError as error:
            _log.warning("FHIR: %s", error.message)
            return Delivered(halt=Halt.OUTAGE), ()
        if done.outcome is ReconcileOutcome.UNCHANGED:
            return Delivered(unchanged=1), done.warnings
        _record(study, "written")
        return Delivered(written=1), done.warnings

    async def _put_aside(self, study: StudyName, error: Exception, sequence: int) -> Delivered:
        _log.warning("FHIR: a study is put aside", exc_info=error)
        try:
            await self.letters.note(*study, error, sequence)
        except StoreUnavailableError as failure:
            _log.warning("FHIR: %s", failure.message)
            return Delivered(halt=Halt.OUTAGE)
        _record(study, "refused")
        return Delivered(refused=1)


def _record(study: StudyName, outcome: str) -> None:
    """Leave an audit record of what others were told, or would not hear."""
    partition, uid = study
    record = {"time": datetime.now(UTC), "transaction": "fhir", "outcome": outcome}
    write_record({**record, "partition": partition, "study": uid})


def read_lane(kept: Sequence[Sequence[str]]) -> Sequence[StudyName]:
    """A lane, as an orchestration keeps it."""
    return [(partition, uid) for partition, uid in kept]


def lanes(studies: Sequence[StudyName], count: int) -> Sequence[Sequence[StudyName]]:
    """Spread studies over at most `count` lanes, to be delivered side by side."""
    return [lane for number in range(count) if (lane := studies[number::count])]
