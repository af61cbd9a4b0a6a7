"""What the workflow of an export does: rounds of batches, until nothing is left.

A round begins where the operation's row says, and is noted there with its counts at once, up to
where all of it is done. So one that is lost is done again from its start, over what it has written,
and nothing is counted twice. Where a store or the destination does not answer, the next round goes
on from there after a while, and the export ends as failed when that has not helped for long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from shared.dicom.resource import ResourcePath
from shared.dicomweb.export_request import parse_identifier
from shared.errors import InvalidRequestError, StoreUnavailableError
from shared.ports import ExportDestinations, Index, Operation, Partition, Secrets
from shared.services.export import ExportJob
from shared.services.export_batch import Batch, Copied
from shared.services.export_content import ExportContent
from shared.services.export_walk import START, Position, Walk, position
from shared.services.operations import Operations
from shared.services.partitions import noted_partition

BATCH = 100
"""Instances and unknown identifiers of a batch."""
PARALLEL = 4
"""Batches of a round."""
PAUSE_SECONDS = (1, 2, 4, 8, 16, 32, 60)
"""Before rounds that follow others in which nothing could be done; as many are tried."""


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
        ends = Walk(self._index, partition, paths).ends(start, BATCH)
        async for reached in ends:
            batches.append((end, reached))
            end = reached
            if len(batches) == PARALLEL:
                break
        await ends.aclose()
        return Plan(start, end, batches)

    async def copy(self, operation_id: str, start: Position, end: Position) -> Copied:
        """Copy a batch, whatever of it may be there already."""
        operation = await self._operations.table.find(operation_id)
        if operation is None or operation.status.is_final:
            return Copied(reached=start)
        try:
            job = ExportJob.of(operation.input, await self._secrets.get(operation_id))
            destination = self._destinations.open(operation_id, job.place)
        except (InvalidRequestError, StoreUnavailableError) as error:
            return Copied(reached=start).stopping(error)
        try:
            partition = await noted_partition(self._index, job.partition_name)
            return await Batch(self._content.of(job.profile, job.key), destination).copy(
                Walk(self._index, partition, job.paths), start, end
            )
        finally:
            await destination.close()

    async def note(self, operation_id: str, plan: Plan, copied: Sequence[Copied]) -> int | None:
        """Note what a round has done, and say after how many seconds there is another one.

        None when there is none: all is done, or the destination takes no more.
        """
        operation = await self._operations.table.find(operation_id)
        if operation is None or operation.status.is_final:
            return None
        done = Copied(reached=plan.start)
        for one in copied:
            done = done.then(one)
        results = _noted(operation, plan, done)
        if not plan.batches:
            await self._end(operation, results)
            return None
        if done.stopped and (done.is_refused or results["idle"] > len(PAUSE_SECONDS)):
            await self._end(operation, results, done.stopped)
            return None
        percent = await self._percent(operation, done.reached)
        if not await self._operations.report(operation_id, percent, results):
            return None
        return PAUSE_SECONDS[max(results["idle"] - 1, 0)] if done.stopped else 0

    async def fail(self, operation_id: str) -> None:
        """End an export that cannot go on, though it was tried again and again."""
        operation = await self._operations.table.find(operation_id)
        if operation is not None and not operation.status.is_final:
            reason = "The export could not go on: a store did not answer."
            await self._end(operation, _results(operation), reason)

    async def _end(
        self, operation: Operation, results: Mapping[str, Any], reason: str | None = None
    ) -> None:
        # First the secret: an export that is not final would be started again, and end here.
        await self._secrets.delete(operation.id)
        told = {name: results[name] for name in ("errorHref", "exported", "skipped")}
        if reason is not None:
            exported, skipped = results["ahead"]
            told["exported"] += exported
            told["skipped"] += skipped
            told["error"] = reason
        await self._operations.finish(operation.id, told, has_failed=reason is not None)

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
        return await noted_partition(self._index, operation.input["partition"]), paths


def _noted(operation: Operation, plan: Plan, done: Copied) -> Mapping[str, Any]:
    """The results of an operation after a round; one that is in them already changes nothing."""
    results = _results(operation)
    if _reached(operation) != plan.start:
        return results
    exported_ahead, skipped_ahead = results["ahead"]
    is_idle = done.stopped is not None and done.reached == plan.start
    return {
        **results,
        "exported": results["exported"] + done.exported,
        "skipped": results["skipped"] + done.skipped,
        "position": list(done.reached),
        "idle": results["idle"] + 1 if is_idle else 0,
        # Of what was ahead before, so much is still: never more than there is.
        "ahead": [
            max(exported_ahead - done.exported, done.exported_ahead),
            max(skipped_ahead - done.skipped, done.skipped_ahead),
        ],
    }


def _reached(operation: Operation) -> Position:
    return position((operation.results or {}).get("position", START))


def _results(operation: Operation) -> Mapping[str, Any]:
    """What is told of an export, with what is only for it to know."""
    none = {"exported": 0, "skipped": 0, "idle": 0, "ahead": (0, 0)}
    return {"errorHref": operation.input["errorHref"], **none, **(operation.results or {})}
