"""FHIR export: what is there already, delivered to the FHIR server as a long-running operation.

A round begins where the operation's row says and is noted there at once, so that one which is lost
is done again: delivering a study twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from shared.dicomweb.export_request import QuerySource
from shared.dicomweb.fhir_export_request import FhirExportRequest
from shared.ports import Operation, OperationType, Orchestrations, Partition, StudyTable
from shared.services.export_source import ExportSource
from shared.services.fhir_delivery import Delivered, Delivery, Halt, StudyName, lanes, read_lane
from shared.services.operations import Operations

ROUND = 200
"""Studies of a round."""
PAUSE_SECONDS = 30
"""Before the next round where the FHIR server, or a store, does not answer."""


@dataclass(frozen=True, slots=True)
class Round:
    """Studies to be delivered in lanes side by side.

    Attributes:
        start: Where it begins; its operation goes on from `end` when all are delivered.
    """

    start: int
    end: int
    lanes: Sequence[Sequence[StudyName]]

    def to_json(self) -> Mapping[str, Any]:
        """The round as an orchestration keeps it."""
        return {"start": self.start, "end": self.end, "lanes": self.lanes}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives."""
        found = [read_lane(lane) for lane in kept["lanes"]]
        return cls(kept["start"], kept["end"], found)


@dataclass(frozen=True, slots=True)
class FhirExport:
    """Starts FHIR exports, and plans and notes their rounds.

    Attributes:
        concurrency: How many studies are delivered side by side.
    """

    studies: StudyTable
    source: ExportSource
    operations: Operations
    delivery: Delivery
    concurrency: int

    async def start(
        self, orchestrations: Orchestrations, partition: Partition, request: FhirExportRequest
    ) -> Operation:
        """Start an export of the archive, of a partition or of some studies of it.

        Raises:
            InvalidRequestError: The search is no search, or has too many results.
        """
        name = None if request.is_of_archive else partition.name
        asked: dict[str, Any] = {"partition": name}
        if isinstance(request.source, QuerySource):
            paths = await self.source.paths(partition, request.source)
            asked["studies"] = list(dict.fromkeys(path.study for path in paths))
        elif request.source is not None:
            asked["studies"] = list(request.source)
        else:
            asked["count"], asked["upTo"] = await self.studies.span(name)
        return await self.operations.start(orchestrations, OperationType.FHIR_EXPORT, asked)

    async def plan(self, operation_id: str) -> Round | None:
        """The next round, without lanes when all is done; None for an export that has ended."""
        operation = await self.operations.table.find(operation_id)
        if operation is None or operation.status.is_final:
            return None
        start = _results(operation)["position"]
        end, studies = await self._next(operation.input, start)
        return Round(start, end, lanes(studies, self.concurrency))

    async def note(
        self, operation_id: str, done: Round, delivered: Sequence[Delivered]
    ) -> int | None:
        """Note what has become of a round, and say after how many seconds there is another one.

        None when there is none: all is done, or the FHIR server does not let the app in.
        """
        operation = await self.operations.table.find(operation_id)
        if operation is None or operation.status.is_final:
            return None
        results, total = _results(operation), await self.delivery.settle(delivered)
        if not done.lanes:
            await self.operations.finish(operation_id, results)
            return None
        if total.halt is Halt.ACCESS:
            reason = {"error": "The FHIR server does not let the app in."}
            await self.operations.finish(operation_id, {**results, **reason}, has_failed=True)
            return None
        if total.halt is None and results["position"] == done.start:
            results = _counted(results, total, done)
        goes_on = await self.operations.report(
            operation_id, _percent(operation.input, results), results
        )
        if not goes_on:
            return None
        return 0 if total.halt is None else PAUSE_SECONDS

    async def fail(self, operation_id: str) -> None:
        """End an export that cannot go on, though it was tried again and again."""
        operation = await self.operations.table.find(operation_id)
        if operation is not None and not operation.status.is_final:
            reason = {"error": "The export could not go on: a store did not answer."}
            results = {**_results(operation), **reason}
            await self.operations.finish(operation_id, results, has_failed=True)

    async def _next(self, asked: Mapping[str, Any], start: int) -> tuple[int, Sequence[StudyName]]:
        if "studies" in asked:
            uids = asked["studies"][start : start + ROUND]
            return start + len(uids), [(asked["partition"], uid) for uid in uids]
        found = await self.studies.studies(asked["partition"], start, asked["upTo"], ROUND)
        end = found[-1].key if found else start
        return end, [(study.partition_name, study.uid) for study in found]


def _results(operation: Operation) -> dict[str, Any]:
    if operation.results is not None:
        return dict(operation.results)
    return {"position": 0, "written": 0, "unchanged": 0, "refused": 0}


def _counted(results: Mapping[str, Any], total: Delivered, done: Round) -> dict[str, Any]:
    return {
        "position": done.end,
        "written": results["written"] + total.written,
        "unchanged": results["unchanged"] + total.unchanged,
        "refused": results["refused"] + total.refused,
    }


def _percent(asked: Mapping[str, Any], results: Mapping[str, Any]) -> int:
    count: int = len(asked["studies"]) if "studies" in asked else asked["count"]
    done: int = results["written"] + results["unchanged"] + results["refused"]
    return min(99, 100 * done // max(count, 1))
