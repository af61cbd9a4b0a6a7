"""What the app does by the clock; every step may be repeated, and none overlaps itself."""

from datetime import UTC, datetime

import azure.functions as func

from shared import wiring

blueprint = func.Blueprint()


@blueprint.function_name("timer_remove_deleted_blobs")
@blueprint.timer_trigger(arg_name="timer", schedule="0 */3 * * * *")
async def remove_deleted_blobs(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Remove the blobs of deleted instances whose grace period is over."""
    await wiring.services().cleanup.remove_due(datetime.now(UTC))


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
