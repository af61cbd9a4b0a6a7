"""Continuous synchronisation: the change feed tells which studies to deliver to the FHIR server.

A change says only that its study is not as it was: what is delivered is the study as it is now. So
changes may be seen twice, and many of one study are one delivery. The checkpoint moves on when
every study of its window is delivered or put aside; it is one row, written only as it was read.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from shared.errors import ConflictError
from shared.ports import Change, Index, StateTable, StateValue
from shared.services.fhir_dead_letters import DeadLetters
from shared.services.fhir_delivery import Delivered, Delivery, StudyName, lanes, read_lane
from shared.telemetry import Measure, Telemetry

WORKFLOW = "fhir_sync_workflow"

_CHANGES = 2000
_LETTERS = 100
"""Of what was put aside, so many are tried again beside new changes."""
_TABLE = "fhirsync"
_PARTITION = "sync"
_KEY = "changefeed"
_NONE_YET = ""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Up to which change all is delivered; `version` is that of its row."""

    sequence: int
    version: str
    moved: datetime | None


@dataclass(frozen=True, slots=True)
class Window:
    """What is to be delivered next.

    Attributes:
        sequence: Of the last change that it takes in.
        version: Of the checkpoint that it begins at.
        lanes: Studies, in lanes that may be delivered side by side.
    """

    sequence: int
    version: str
    lanes: Sequence[Sequence[StudyName]]

    def to_json(self) -> Mapping[str, Any]:
        """The window as an orchestration keeps it."""
        return {"sequence": self.sequence, "version": self.version, "lanes": self.lanes}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives."""
        found = [read_lane(lane) for lane in kept["lanes"]]
        return cls(kept["sequence"], kept["version"], found)


@dataclass(frozen=True, slots=True)
class Sync:
    """Follows the change feed.

    Attributes:
        concurrency: How many studies are delivered side by side.
    """

    index: Index
    state: StateTable
    delivery: Delivery
    letters: DeadLetters
    telemetry: Telemetry
    concurrency: int

    async def is_due(self) -> bool:
        """Whether there is anything to deliver: most of the time there is not."""
        return await self.next_window() is not None

    async def next_window(self) -> Window | None:
        """What is to be delivered next: of new changes, and what was put aside and is due."""
        start = await self.checkpoint()
        changes = await self._changes(start.sequence)
        names: list[StudyName] = [(one.partition_name, one.path.study) for one in changes]
        due = await self.letters.due(datetime.now(UTC), _LETTERS if changes else _CHANGES)
        studies = list(dict.fromkeys([*names, *due]))
        if not studies:
            self.telemetry.measure(Measure.FHIR_LAG, 0)
            return None
        sequence = changes[-1].sequence if changes else start.sequence
        return Window(sequence, start.version, lanes(studies, self.concurrency))

    async def _changes(self, after: int) -> Sequence[Change]:
        """The next changes; all from the first one where the feed does not reach as far any more.

        An index that was rebuilt numbers its changes anew.
        """
        changes = await self.index.changes(after, _CHANGES)
        if changes or not after:
            return changes
        newest = await self.index.latest_change()
        if newest is None or newest.sequence >= after:
            return changes
        _log.warning("FHIR: the change feed begins anew, and so does what is told of it")
        return await self.index.changes(0, _CHANGES)

    async def advance(self, window: Window, delivered: Sequence[Delivered]) -> bool:
        """Note what has become of a window; False when there is a reason to stop for now."""
        total = await self.delivery.settle(delivered, window.sequence)
        self.telemetry.measure(Measure.FHIR_WRITTEN, total.written)
        self.telemetry.measure(Measure.FHIR_REFUSED, total.refused)
        if total.halt is not None:
            await self._measure_lag((await self.checkpoint()).sequence)
            return False
        try:
            await self._move(window)
        except ConflictError:
            # Another one is at it; what both have delivered is the same.
            _log.warning("FHIR: the checkpoint was moved by another run")
            return False
        await self._measure_lag(window.sequence)
        return True

    async def _measure_lag(self, reached: int) -> None:
        newest = await self.index.latest_change()
        self.telemetry.measure(Measure.FHIR_LAG, 0 if newest is None else newest.sequence - reached)

    async def status(self) -> Mapping[str, Any]:
        """Up to where the FHIR server has been told, and what was put aside, for who watches."""
        reached, newest = await self.checkpoint(), await self.index.latest_change()
        latest = 0 if newest is None else newest.sequence
        return {
            "sequence": reached.sequence,
            "latestSequence": latest,
            "behind": latest - reached.sequence,
            "lastMoved": reached.moved,
            "openDeadLetters": await self.letters.count_open(),
        }

    async def checkpoint(self) -> Checkpoint:
        """Up to where all is delivered."""
        row = await self.state.get(_TABLE, _PARTITION, _KEY)
        if row is None:
            return Checkpoint(0, _NONE_YET, None)
        moved = datetime.fromisoformat(str(row.values["moved"]))
        return Checkpoint(int(row.values["sequence"]), row.version, moved)

    async def _move(self, window: Window) -> None:
        values: Mapping[str, StateValue] = {
            "sequence": window.sequence,
            "moved": datetime.now(UTC).isoformat(),
        }
        await self.state.put(_TABLE, _PARTITION, _KEY, values, if_version=window.version)
