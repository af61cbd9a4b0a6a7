"""The engine behind the durable client binding, as the port that services know."""

from collections.abc import Iterator
from contextlib import contextmanager

from durabletask.client import AsyncTaskHubGrpcClient, OrchestrationStatus
from grpc import StatusCode
from grpc.aio import AioRpcError

from shared.errors import StoreUnavailableError
from shared.ports import Operation, Orchestrations, OrchestrationState

_STATES = {
    OrchestrationStatus.PENDING: OrchestrationState.UNFINISHED,
    OrchestrationStatus.RUNNING: OrchestrationState.UNFINISHED,
    OrchestrationStatus.CONTINUED_AS_NEW: OrchestrationState.UNFINISHED,
    OrchestrationStatus.SUSPENDED: OrchestrationState.UNFINISHED,
    OrchestrationStatus.COMPLETED: OrchestrationState.COMPLETED,
    OrchestrationStatus.FAILED: OrchestrationState.FAILED,
    OrchestrationStatus.TERMINATED: OrchestrationState.TERMINATED,
}


class DurableOrchestrations(Orchestrations):
    """Orchestrations of a task hub; the binding closes its client after the invocation."""

    def __init__(self, client: AsyncTaskHubGrpcClient) -> None:
        self._client = client

    async def start(self, operation: Operation) -> None:
        """See Orchestrations."""
        with _translated(known=StatusCode.ALREADY_EXISTS):
            await self._client.schedule_new_orchestration(
                operation.type.workflow, input=operation.id, instance_id=operation.id
            )

    async def start_alone(self, workflow: str) -> bool:
        """See Orchestrations."""
        if await self.state(workflow) is OrchestrationState.UNFINISHED:
            return False
        # An engine takes the id of one that has ended only once it has been forgotten.
        await self.forget(workflow)
        with _translated(known=StatusCode.ALREADY_EXISTS):
            await self._client.schedule_new_orchestration(workflow, instance_id=workflow)
        return True

    async def state(self, operation_id: str) -> OrchestrationState:
        """See Orchestrations."""
        with _translated():
            found = await self._client.get_orchestration_state(operation_id, fetch_payloads=False)
        return OrchestrationState.UNKNOWN if found is None else _STATES[found.runtime_status]

    async def terminate(self, operation_id: str) -> None:
        """See Orchestrations."""
        with _translated(known=StatusCode.NOT_FOUND):
            await self._client.terminate_orchestration(operation_id)

    async def forget(self, operation_id: str) -> None:
        """See Orchestrations."""
        with _translated(known=StatusCode.NOT_FOUND):
            await self._client.purge_orchestration(operation_id)


@contextmanager
def _translated(known: StatusCode | None = None) -> Iterator[None]:
    try:
        yield
    except AioRpcError as error:
        if error.code() is not known:
            raise StoreUnavailableError("The durable engine does not answer now.") from error
