"""One batch of an export: its instances copied to the destination, as far as that can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Self

import orjson

from shared.dicom.resource import ResourcePath
from shared.dicomweb.export_request import identifier
from shared.errors import (
    BlobNotFoundError,
    DestinationRefusedError,
    DicomWebError,
    InvalidInstanceError,
    InvalidRequestError,
    StoreUnavailableError,
)
from shared.ports import ExportDestination, StoredInstance
from shared.services.export_content import Contents
from shared.services.export_walk import Position, Walk, position
from shared.services.read_ahead import read_ahead

_AT_ONCE = 5
"""Instances that are copied at once."""
_STOPS = (DestinationRefusedError, StoreUnavailableError)

_UNKNOWN = "There is no such study, series or instance."
_GONE = "The instance is gone."


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What came of a batch, or of a whole round.

    Attributes:
        reached: Up to where nothing is left to be done.
        exported: Instances that are copied up to there.
        skipped: Instances and identifiers up to there that are not, and never will be.
        exported_ahead: Those copied behind it, which are again if the export goes on.
        skipped_ahead: Those skipped behind it, likewise.
        stopped: Why it went no further, None if it came to its end.
        is_refused: Whether trying again would not help.
    """

    reached: Position
    exported: int = 0
    skipped: int = 0
    exported_ahead: int = 0
    skipped_ahead: int = 0
    stopped: str | None = None
    is_refused: bool = False

    def then(self, more: "Copied") -> "Copied":
        """This and a batch that begins where it should have ended."""
        if self.stopped is None:
            return replace(
                more, exported=self.exported + more.exported, skipped=self.skipped + more.skipped
            )
        return replace(
            self,
            exported_ahead=self.exported_ahead + more.exported + more.exported_ahead,
            skipped_ahead=self.skipped_ahead + more.skipped + more.skipped_ahead,
            stopped=more.stopped if more.is_refused else self.stopped,
            is_refused=self.is_refused or more.is_refused,
        )

    def stopping(self, error: DicomWebError) -> Self:
        """This, which an error has ended."""
        is_refused = isinstance(error, InvalidRequestError)
        return replace(self, stopped=error.message, is_refused=is_refused)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Read the members, as an orchestration keeps them."""
        return cls(**{**kept, "reached": position(kept["reached"])})


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one instance or identifier; `skipped` says why it is not copied.

    Attributes:
        path: What the export calls it.
    """

    path: ResourcePath
    end: Position
    is_done: bool
    skipped: str | None = None


class Batch:
    """One batch under way, which begins nothing more once it had to stop."""

    def __init__(self, contents: Contents, destination: ExportDestination) -> None:
        self._contents = contents
        self._destination = destination
        self._stop: DicomWebError | None = None

    async def copy(self, walk: Walk, start: Position, end: Position) -> Copied:
        """Copy it, and count also what is done behind where it had to stop."""
        steps = walk.between(start, end)
        outcomes = [one async for one in read_ahead(steps, self._try, depth=_AT_ONCE)]
        if not await self._log([one for one in outcomes if one.skipped is not None]):
            # They are told again when it goes on; until then nothing is as it should be.
            done: list[_Outcome] = []
        else:
            done = list(takewhile(lambda one: one.is_done, outcomes))
        exported, skipped = _counts(done)
        exported_ahead, skipped_ahead = _counts(outcomes[len(done) :])
        copied = Copied(
            reached=done[-1].end if done else start,
            exported=exported,
            skipped=skipped,
            exported_ahead=exported_ahead,
            skipped_ahead=skipped_ahead,
        )
        return replace(copied, reached=end) if self._stop is None else copied.stopping(self._stop)

    async def _try(self, step: tuple[ResourcePath | StoredInstance, Position]) -> _Outcome:
        found, end = step
        # The log goes where the instances go: it tells no more of what is skipped than they do.
        path = self._contents.named(found.path if isinstance(found, StoredInstance) else found)
        if self._stop is not None:
            return _Outcome(path, end, is_done=False)
        try:
            return _Outcome(path, end, is_done=True, skipped=await self._write(found))
        except _STOPS as error:
            self._stop = error
            return _Outcome(path, end, is_done=False)

    async def _write(self, found: ResourcePath | StoredInstance) -> str | None:
        """Copy an instance, and say why if it is skipped."""
        if not isinstance(found, StoredInstance):
            return _UNKNOWN
        try:
            async with self._contents.open(found) as content:
                await self._destination.write(_name(content.path), content.chunks)
        except BlobNotFoundError:
            return _GONE
        except InvalidInstanceError as error:
            return error.message
        return None

    async def _log(self, skipped: Sequence[_Outcome]) -> bool:
        if not skipped:
            return True
        try:
            await self._destination.log(b"".join(map(_line, skipped)))
        except _STOPS as error:
            self._stop = error
            return False
        return True


def _counts(outcomes: Sequence[_Outcome]) -> tuple[int, int]:
    """How many are exported, and how many skipped."""
    done = [one for one in outcomes if one.is_done]
    skipped = sum(one.skipped is not None for one in done)
    return len(done) - skipped, skipped


def _name(path: ResourcePath) -> str:
    return f"results/{path.study}/{path.series}/{path.instance}.dcm"


def _line(skipped: _Outcome) -> bytes:
    told = {
        "timestamp": datetime.now(UTC),
        "identifier": identifier(skipped.path),
        "error": skipped.skipped,
    }
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
