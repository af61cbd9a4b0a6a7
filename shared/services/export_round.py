"""What the workflow of an export does: rounds of batches, until nothing is left.

A round begins where the operation's row says, and is noted there with its counts at once when all
of it is done. So one that is lost is done again from its start, over what it has written, and
nothing is counted twice. A position is the place of an identifier, the watermark up to which its
instances are done, and how many they were.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from shared.dicom.resource import Level, ResourcePath
from shared.dicomweb.export_request import identifier, parse_identifier
from shared.errors import BlobNotFoundError, DestinationRefusedError, InvalidInstanceError
from shared.ports import (
    ExportDestination,
    ExportDestinations,
    Index,
    Operation,
    Partition,
    Secrets,
    StoredInstance,
)
from shared.services.export import ExportJob
from shared.services.export_content import ExportContent
from shared.services.operations import Operations
from shared.services.read_ahead import read_ahead

BATCH = 100
"""Instances and unknown identifiers of a batch."""
PARALLEL = 4
"""Batches of a round."""
_AT_ONCE = 5
"""Instances of a batch that are copied at once."""

type Position = tuple[int, int, int]

_START: Position = (0, 0, 0)
_UNKNOWN = "There is no such study, series or instance."
_GONE = "The instance is gone."


@dataclass(frozen=True, slots=True)
class Plan:
    """A round: where it begins and ends, and the batches between."""

    start: Position
    end: Position
    batches: Sequence[tuple[Position, Position]]

    def to_json(self) -> Mapping[str, Any]:
        """The plan as an orchestration keeps it."""
        return {"start": self.start, "end": self.end, "batches": self.batches}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives."""
        batches = [(position(start), position(end)) for start, end in kept["batches"]]
        return cls(position(kept["start"]), position(kept["end"]), batches)


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of a batch; `refusal` says why the destination takes no more."""

    exported: int = 0
    skipped: int = 0
    refusal: str | None = None


class ExportRounds:
    """Plans, does and notes the rounds of an export."""

    def __init__(
        self,
        index: Index,
        secrets: Secrets,
        operations: Operations,
        destinations: ExportDestinations,
        content: ExportContent,
    ) -> None:
        self._index = index
        self._secrets = secrets
        self._operations = operations
        self._destinations = destinations
        self._content = content

    async def plan(self, operation_id: str) -> Plan | None:
        """The next round, without batches when all is done; None for an export that has ended."""
        operation = await self._operations.table.find(operation_id)
        if operation is None or operation.status.is_final:
            return None
        partition, paths = await self._source(operation)
        start = end = _reached(operation)
        batches: list[tuple[Position, Position]] = []
        ends = _Walk(self._index, partition, paths).ends(start)
        async for reached in ends:
            batches.append((end, reached))
            end = reached
            if len(batches) == PARALLEL:
                break
        await ends.aclose()
        return Plan(start, end, batches)

    async def copy(self, operation_id: str, start: Position, end: Position) -> Copied:
        """Copy a batch, whatever of it may be there already.

        Raises:
            StoreUnavailableError: A store or the destination does not answer now.
        """
        operation = await self._operations.table.find(operation_id)
        if operation is None or operation.status.is_final:
            return Copied()
        try:
            job = ExportJob.of(operation.input, await self._secrets.get(operation_id))
            destination = self._destinations.open(operation_id, job.place)
        except DestinationRefusedError as error:
            return Copied(refusal=error.message)
        try:
            return await self._copy(job, destination, (start, end))
        except DestinationRefusedError as error:
            return Copied(refusal=error.message)
        finally:
            await destination.close()

    async def _copy(
        self, job: ExportJob, destination: ExportDestination, span: tuple[Position, Position]
    ) -> Copied:
        partition = await self._partition(job.partition_name)
        walk = _Walk(self._index, partition, job.paths)
        open_content = self._content.of(job.profile, job.key)

        async def load(found: ResourcePath | StoredInstance) -> tuple[ResourcePath, str | None]:
            """Copy an instance, and say why if it is skipped."""
            if not isinstance(found, StoredInstance):
                return found, _UNKNOWN
            try:
                async with open_content(found) as content:
                    await destination.write(_name(content.path), content.chunks)
            except BlobNotFoundError:
                return found.path, _GONE
            except InvalidInstanceError as error:
                return found.path, error.message
            return found.path, None

        skipped: list[tuple[ResourcePath, str]] = []
        exported = 0
        async for path, reason in read_ahead(walk.between(*span), load, depth=_AT_ONCE):
            if reason is None:
                exported += 1
            else:
                skipped.append((path, reason))
        if skipped:
            await destination.log(b"".join(_line(path, reason) for path, reason in skipped))
        return Copied(exported, len(skipped))

    async def note(self, operation_id: str, plan: Plan, copied: Sequence[Copied]) -> bool:
        """Note what a round has done, and say whether another one is needed.

        Once all is done, or the destination takes no more, the export ends.
        """
        operation = await self._operations.table.find(operation_id)
        if operation is None or operation.status.is_final:
            return False
        results = dict(_results(operation))
        if _reached(operation) == plan.start:
            results["exported"] += sum(one.exported for one in copied)
            results["skipped"] += sum(one.skipped for one in copied)
            results["position"] = list(plan.end)
        refusal = next((one.refusal for one in copied if one.refusal is not None), None)
        if refusal is not None:
            # Of a round that was cut short nobody can say what is there.
            await self._end(operation, _results(operation), refusal)
            return False
        if not plan.batches:
            await self._end(operation, results)
            return False
        percent = await self._percent(operation, plan.end)
        return await self._operations.report(operation_id, percent, results)

    async def fail(self, operation_id: str) -> None:
        """End an export that cannot go on, though it was tried again and again."""
        operation = await self._operations.table.find(operation_id)
        if operation is not None and not operation.status.is_final:
            reason = "The export could not go on: a store did not answer."
            await self._end(operation, _results(operation), reason)

    async def _end(
        self, operation: Operation, results: Mapping[str, Any], refusal: str | None = None
    ) -> None:
        # First the secret: an export that is not final would be started again, and end here.
        await self._secrets.delete(operation.id)
        if refusal is not None:
            results = {**results, "error": refusal}
        await self._operations.finish(operation.id, results, has_failed=refusal is not None)

    async def _percent(self, operation: Operation, reached: Position) -> int:
        partition, paths = await self._source(operation)
        number, watermark, done = reached
        part = 0.0
        if watermark and number < len(paths):
            version = await self._index.version(partition, paths[number])
            part = min(1.0, done / max(version.instance_count if version else 1, 1))
        return min(99, int(100 * (number + part) / len(paths))) if paths else 99

    async def _source(self, operation: Operation) -> tuple[Partition, Sequence[ResourcePath]]:
        paths = [parse_identifier(text) for text in operation.input["identifiers"]]
        return await self._partition(operation.input["partition"]), paths

    async def _partition(self, name: str) -> Partition:
        partition = await self._index.find_partition(name)
        if partition is None:
            raise LookupError(name)
        return partition


class _Walk:
    """The instances of identifiers one after the other, each once where they overlap."""

    def __init__(self, index: Index, partition: Partition, paths: Sequence[ResourcePath]) -> None:
        self._index = index
        self._partition = partition
        self._paths = paths
        self._named = frozenset(paths)

    async def ends(self, start: Position) -> AsyncGenerator[Position]:
        """Where batches from a position on end."""
        count, end = 0, None
        async for _, end in self._steps(start):
            count += 1
            if count % BATCH == 0:
                yield end
        if end is not None and count % BATCH:
            yield end

    async def between(
        self, start: Position, end: Position
    ) -> AsyncIterator[ResourcePath | StoredInstance]:
        """What a batch has: instances, and the paths at which there are none."""
        async for found, reached in self._steps(start):
            # An instance that has changed since has moved on, to a batch that is yet to come.
            if reached[:2] > end[:2]:
                return
            yield found

    async def _steps(
        self, start: Position
    ) -> AsyncIterator[tuple[ResourcePath | StoredInstance, Position]]:
        first, watermark, done = start
        for number in range(first, len(self._paths)):
            path = self._paths[number]
            if self._is_covered(path):
                if await self._index.version(self._partition, path) is None:
                    yield path, (number + 1, 0, 0)
            else:
                after, has_begun = watermark, bool(watermark)
                async for instance in self._index.instances(self._partition, path, after):
                    has_begun = True
                    done += 1
                    yield instance, (number, instance.watermark, done)
                if not has_begun:
                    yield path, (number + 1, 0, 0)
            watermark = done = 0

    def _is_covered(self, path: ResourcePath) -> bool:
        """Whether what is at a path is exported with its study or series, which is named too."""
        if path.level is Level.STUDY:
            return False
        if ResourcePath(path.study) in self._named:
            return True
        return path.level is Level.INSTANCE and (
            ResourcePath(path.study, path.series) in self._named
        )


def position(kept: Sequence[int]) -> Position:
    """A position, read from JSON."""
    number, watermark, done = kept
    return number, watermark, done


def _reached(operation: Operation) -> Position:
    return position((operation.results or {}).get("position", _START))


def _results(operation: Operation) -> Mapping[str, Any]:
    if operation.results is not None:
        return operation.results
    return {"errorHref": operation.input["errorHref"], "exported": 0, "skipped": 0}


def _name(path: ResourcePath) -> str:
    return f"results/{path.study}/{path.series}/{path.instance}.dcm"


def _line(path: ResourcePath, reason: str) -> bytes:
    return orjson.dumps(
        {"timestamp": datetime.now(UTC), "identifier": identifier(path), "error": reason},
        option=orjson.OPT_APPEND_NEWLINE,
    )
