"""Long-running operations: started, followed, cancelled, and started again when they were lost.

Everything that must survive is in the operation's row. The engine only drives: when it has
forgotten an operation that is not final, the operation is started again, and goes on from what its
activities find done.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from shared.errors import ConflictError, NotFoundError, StoreUnavailableError
from shared.ports import (
    Operation,
    OperationStatus,
    OperationTable,
    OperationType,
    Orchestrations,
    OrchestrationState,
    Secrets,
)

_SETTLING = timedelta(seconds=30)
"""An operation heard of since may be on its way to the engine, so nobody need look after it."""

_FORGOTTEN_AT_ONCE = 2000
_FAILURES_AT_MOST = 20

_ENDED = {
    OrchestrationState.COMPLETED: OperationStatus.FAILED,  # It would have said how it ended.
    OrchestrationState.FAILED: OperationStatus.FAILED,
    OrchestrationState.TERMINATED: OperationStatus.CANCELED,
}

_log = logging.getLogger(__name__)

type Note = Callable[[Operation], Awaitable[Operation | None]]
"""Notes a new operation, or gives the one that must end first, as OperationTable.add does."""


class OperationRunningError(ConflictError):
    """Another operation of this type must end first; `operation_id` is that one's."""

    def __init__(self, operation_id: str) -> None:
        super().__init__("Another operation of this kind is not finished.")
        self.operation_id = operation_id


@dataclass(slots=True)
class Operations:
    """What is known of long-running operations.

    Attributes:
        history: How long a final operation is remembered.
        secrets: What has the secret of an operation under its id, until it has ended.
    """

    table: OperationTable
    history: timedelta
    secrets: Secrets
    _has_looked: bool = field(default=False, init=False)

    async def start(  # noqa: PLR0913
        self,
        orchestrations: Orchestrations,
        kind: OperationType,
        asked: Mapping[str, Any],
        *,
        operation_id: str | None = None,
        alone: bool = False,
        note: Note | None = None,
    ) -> Operation:
        """Note an operation and start it; with `alone`, only one of its type at a time.

        `note` notes it instead, together with what belongs to it, and says whether it is alone.

        Raises:
            OperationRunningError: One of its type is not final.
        """
        now = datetime.now(UTC)
        operation = Operation(
            id=operation_id or uuid4().hex,
            type=kind,
            status=OperationStatus.NOT_STARTED,
            created=now,
            last_updated=now,
            percent_complete=0,
            input=asked,
            results=None,
        )
        if note is None:
            other = await self.table.add(operation, alone=alone)
        else:
            other = await note(operation)
        if other is not None:
            raise OperationRunningError(other.id)
        try:
            await orchestrations.start(operation)
        except StoreUnavailableError:
            # It is noted, so it will be started.
            _log.warning("operation %s: the engine does not answer", operation.id)
        return operation

    async def get(self, operation_id: str) -> Operation:
        """Find an operation.

        Raises:
            NotFoundError: There is none, or it is long over.
        """
        operation = await self.table.find(operation_id)
        if operation is None:
            raise NotFoundError("There is no such operation.")
        return operation

    async def list(self, limit: int, offset: int) -> Sequence[Operation]:
        """The operations, newest first."""
        return await self.table.list(limit, offset)

    async def cancel(self, orchestrations: Orchestrations, operation_id: str) -> Operation:
        """Let an operation end where it stands; what it has done stays done.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has ended.
        """
        operation = await self.get(operation_id)
        now = datetime.now(UTC)
        # First the row: from here on no activity of it reports progress, nor is it started again.
        if not await self.table.update(operation_id, now, status=OperationStatus.CANCELED):
            raise ConflictError("The operation has ended.")
        try:
            await orchestrations.terminate(operation_id)
        except StoreUnavailableError:
            _log.warning("operation %s: the engine does not answer", operation_id)
        await self._drop_secret(operation)
        return replace(operation, status=OperationStatus.CANCELED, last_updated=now)

    async def report(
        self,
        operation_id: str,
        percent_complete: int | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> bool:
        """Tell how far an operation is; False when it is cancelled, and must do no more."""
        return await self.table.update(
            operation_id,
            datetime.now(UTC),
            status=OperationStatus.RUNNING,
            percent_complete=percent_complete,
            results=results,
        )

    async def finish(
        self,
        operation_id: str,
        results: Mapping[str, Any] | None = None,
        *,
        has_failed: bool = False,
    ) -> None:
        """Tell how an operation ended; one that is final stays as it is."""
        status = OperationStatus.FAILED if has_failed else OperationStatus.SUCCEEDED
        percent = None if has_failed else 100
        now = datetime.now(UTC)
        await self.table.update(
            operation_id, now, status=status, percent_complete=percent, results=results
        )

    async def watch(self, orchestrations: Orchestrations) -> int:
        """Start again what the engine has forgotten, end what has ended there, and count both.

        The first look after a start passes nothing over: an engine in memory has just begun, and
        knows none of them. To start one that another instance is about to start is harmless, as
        the id of the orchestration is that of the operation.
        """
        waiting = await self.table.unfinished()
        if self._has_looked:
            newest = datetime.now(UTC) - _SETTLING
            waiting = [one for one in waiting if one.last_updated < newest]
        mended = 0
        for operation in waiting:
            mended += await self._mend(orchestrations, operation)
        self._has_looked = True
        if mended:
            _log.warning("watchdog: %d operations were started again or ended", mended)
        return mended

    async def _mend(self, orchestrations: Orchestrations, operation: Operation) -> bool:
        state = await orchestrations.state(operation.id)
        if state is OrchestrationState.UNFINISHED:
            return False
        if state is OrchestrationState.UNKNOWN:
            await orchestrations.start(operation)
            return True
        now = datetime.now(UTC)
        is_ended = await self.table.update(operation.id, now, status=_ENDED[state])
        await self._drop_secret(operation)
        return is_ended

    async def _drop_secret(self, operation: Operation) -> None:
        if operation.type is not OperationType.EXPORT:
            return
        try:
            await self.secrets.delete(operation.id)
        except StoreUnavailableError:
            # It goes with the operation at the latest.
            _log.warning("operation %s: its secret could not be removed", operation.id)

    async def forget(self, orchestrations: Orchestrations) -> int:
        """Forget final operations whose time is over, some thousand at once, and count them.

        The engine forgets first: one whose row is there is forgotten again. A few that cannot be
        forgotten stop no other.

        Raises:
            StoreUnavailableError: More than a few cannot be forgotten.
        """
        ids = await self.table.final(datetime.now(UTC) - self.history, _FORGOTTEN_AT_ONCE)
        failed = 0
        for operation_id in ids:
            try:
                await self._forget(orchestrations, operation_id)
            except StoreUnavailableError:
                failed += 1
                if failed > _FAILURES_AT_MOST:
                    raise
                _log.error("operation %s: it cannot be forgotten", operation_id)
        _log.info("operations: %d forgotten", len(ids) - failed)
        return len(ids) - failed

    async def _forget(self, orchestrations: Orchestrations, operation_id: str) -> None:
        await orchestrations.forget(operation_id)
        # First the secret, which nobody would know of without the row.
        await self.secrets.delete(operation_id)
        await self.table.remove(operation_id)
