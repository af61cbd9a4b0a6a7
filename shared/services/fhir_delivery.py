"""Delivery of studies to the FHIR server: one after the other, and what goes wrong is sorted.

An outage stops, and nothing is lost by it; a study that is refused is put aside, and others go on.
A study that the server fails at, while it takes others, is no outage: it is put aside too.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from shared.audit import write_record
from shared.errors import FhirAccessError, StoreUnavailableError
from shared.fhir.mapping_warning import MappingWarning
from shared.services.fhir_dead_letters import DeadLetters
from shared.services.fhir_reconciliation import PERMANENT, ReconcileOutcome, Reconciliation
from shared.services.fhir_study_writes import CONFLICTS

_log = logging.getLogger(__name__)

_MOST_FAILURES = 2
"""After so many in a lane the rest is not tried: each takes a minute."""

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
    """How many studies were written, were there as they are, and were put aside.

    Attributes:
        failed: Those at which the FHIR server, or a store, has failed; if there is no reason to
            halt, it is not known yet whether they are to blame.
    """

    written: int = 0
    unchanged: int = 0
    refused: int = 0
    failed: tuple[StudyName, ...] = ()
    halt: Halt | None = None

    def to_json(self) -> Mapping[str, Any]:
        """The counts as an orchestration keeps them."""
        return asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives."""
        halt = None if kept["halt"] is None else Halt(kept["halt"])
        return cls(**{**kept, "failed": tuple(read_lane(kept["failed"])), "halt": halt})

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        """The sum of some; it halts where one of them does, above all for want of access."""
        found = list(parts)
        halts = {part.halt for part in found}
        return cls(
            sum(part.written for part in found),
            sum(part.unchanged for part in found),
            sum(part.refused for part in found),
            tuple(study for part in found for study in part.failed),
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
        """Deliver studies one after the other, until there is a reason to halt.

        `sequence` is of the newest change in them that is known, 0 where none is.
        """
        total = Delivered()
        for study in studies:
            delivered, _ = await self._deliver(study, sequence)
            if delivered.halt is Halt.OUTAGE:
                has_more = len(total.failed) + 1 < _MOST_FAILURES
                delivered = Delivered(failed=(study,), halt=None if has_more else Halt.OUTAGE)
            total = Delivered.total((total, delivered))
            if total.halt is not None:
                break
        return total

    async def settle(self, parts: Sequence[Delivered], sequence: int = 0) -> Delivered:
        """The sum of what was delivered side by side.

        Where others were written meanwhile, a study at which the FHIR server has failed is put
        aside; where none was, there is an outage.
        """
        total = Delivered.total(parts)
        if total.halt is not None or not total.failed:
            return total
        if not total.written:
            return replace(total, halt=Halt.OUTAGE)
        error = StoreUnavailableError("The FHIR server fails at this study, and not at others.")
        aside = [await self._put_aside(study, error, sequence) for study in total.failed]
        return Delivered.total((replace(total, failed=()), *aside))

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
        if any(warning.reason in CONFLICTS for warning in done.warnings):
            _record(study, "conflict")
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
