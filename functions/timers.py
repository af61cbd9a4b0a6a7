"""What the app does by the clock; every step may be repeated, and none overlaps itself."""

from datetime import UTC, datetime

import azure.durable_functions as df
import azure.functions as func
from azure.durable_functions.client import DurableFunctionsClient

from functions.orchestrations import DurableOrchestrations
from shared import wiring

blueprint = df.Blueprint()


@blueprint.function_name("timer_remove_deleted_blobs")
@blueprint.timer_trigger(arg_name="timer", schedule="0 */3 * * * *")
async def remove_deleted_blobs(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Remove the blobs of deleted instances whose grace period is over."""
    await wiring.services().cleanup.remove_due(datetime.now(UTC))


@blueprint.function_name("timer_watch_operations")
@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *", run_on_startup=True)
@blueprint.durable_client_input(client_name="client")
async def watch_operations(timer: func.TimerRequest, client: DurableFunctionsClient) -> None:  # noqa: ARG001
    """Start the operations again that the engine has forgotten."""
    await wiring.services().operations.watch(DurableOrchestrations(client))


@blueprint.function_name("timer_forget_operations")
@blueprint.timer_trigger(arg_name="timer", schedule="0 41 * * * *")
@blueprint.durable_client_input(client_name="client")
async def forget_operations(timer: func.TimerRequest, client: DurableFunctionsClient) -> None:  # noqa: ARG001
    """Forget the operations that ended long ago."""
    await wiring.services().operations.forget(DurableOrchestrations(client))


@blueprint.function_name("timer_sweep_orphans")
@blueprint.timer_trigger(arg_name="timer", schedule="0 17 * * * *")
async def sweep_orphans(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Remove blobs that no row of the index names."""
    await wiring.services().cleanup.sweep(datetime.now(UTC))


@blueprint.function_name("timer_number_changes")
@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *")
async def number_changes(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Give committed changes their place in the change feed."""
    await wiring.services().index.number_changes()
