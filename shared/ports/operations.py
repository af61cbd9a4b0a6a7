"""Long-running operations, and the engine that drives them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol


class OperationType(Enum):
    """What a long-running operation does."""

    REINDEX = "reindex"
    UPDATE = "update"
    EXPORT = "export"
    FHIR_EXPORT = "fhirExport"

    @property
    def workflow(self) -> str:
        """Name of the orchestrator that does it."""
        return f"{self.name.lower()}_workflow"


class OperationStatus(Enum):
    """How far a long-running operation is."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (OperationStatus.NOT_STARTED, OperationStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A long-running operation.

    Attributes:
        id: 32 hexadecimal digits; also the id of its orchestration.
        created: When it was asked for, UTC.
        last_updated: When its status, progress or results last changed, UTC.
        percent_complete: 0 to 100, None where that cannot be told.
        input: What was asked for, as JSON; never a secret.
        results: What it has done so far or in the end, as JSON.
    """

    id: str
    type: OperationType
    status: OperationStatus
    created: datetime
    last_updated: datetime
    percent_complete: int | None
    input: Mapping[str, Any]
    results: Mapping[str, Any] | None


class OperationTable(Protocol):
    """The long-running operations, kept so that none is lost with the engine that drives it."""

    async def add(self, operation: Operation, *, alone: bool) -> Operation | None:
        """Note a new operation.

        With `alone`, only if no other one of its type is unfinished; that one is given instead.
        """

    async def find(self, operation_id: str) -> Operation | None:
        """Find an operation."""

    async def list(self, limit: int, offset: int) -> Sequence[Operation]:
        """The operations, newest first."""

    async def unfinished(self) -> Sequence[Operation]:
        """Those that are not final, oldest first."""

    async def update(
        self,
        operation_id: str,
        now: datetime,
        *,
        status: OperationStatus,
        percent_complete: int | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> bool:
        """Change an operation that is not final; False, and nothing, if it is final or unknown.

        What is None stays as it was.
        """

    async def final(self, before: datetime, limit: int) -> Sequence[str]:
        """The ids of final ones that last changed before a moment."""

    async def remove(self, operation_id: str) -> None:
        """Forget an operation; one that is not there is no error."""


class OrchestrationState(Enum):
    """What an engine knows of an orchestration."""

    UNKNOWN = "unknown"
    UNFINISHED = "unfinished"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"


class Orchestrations(Protocol):
    """The engine that drives long-running operations, one orchestration each."""

    async def start(self, operation: Operation) -> None:
        """Start the orchestration of an operation; one that is known already goes on."""

    async def start_alone(self, workflow: str) -> bool:
        """Start an orchestration that belongs to no operation, unless it is under way."""

    async def state(self, operation_id: str) -> OrchestrationState:
        """What is known of an orchestration."""

    async def terminate(self, operation_id: str) -> None:
        """End an orchestration where it stands; activities under way end by themselves."""

    async def forget(self, operation_id: str) -> None:
        """Drop the history of an orchestration that has ended."""
