"""What the app does by the clock; every step may be repeated, and none overlaps itself."""

from datetime import UTC, datetime

import azure.durable_functions as df
import azure.functions as func
from azure.durable_functions.client import DurableFunctionsClient

from functions.orchestrations import DurableOrchestrations
from shared import wiring
from shared.runs import observed_run
from shared.services import fhir_sync, tombstones
from shared.telemetry import Measure

blueprint = df.Blueprint()


@blueprint.function_name("timer_remove_deleted_blobs")
@blueprint.timer_trigger(arg_name="timer", schedule="0 */3 * * * *")
async def remove_deleted_blobs(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Remove the blobs of deleted instances whose grace period is over."""
    services = wiring.services()
    with observed_run(services.telemetry, "timer_remove_deleted_blobs") as run:
        removed = await services.cleanup.remove_due(datetime.now(UTC))
        run.did(blobs=removed)
        services.telemetry.measure(Measure.BLOBS_REMOVED, removed)
        services.telemetry.measure(Measure.BLOBS_WAITING, await services.index.waiting_blobs())


@blueprint.function_name("timer_watch_operations")
@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *", run_on_startup=True)
@blueprint.durable_client_input(client_name="client")
async def watch_operations(timer: func.TimerRequest, client: DurableFunctionsClient) -> None:  # noqa: ARG001
    """Start the operations again that the engine has forgotten."""
    services = wiring.services()
    with observed_run(services.telemetry, "timer_watch_operations") as run:
        run.did(operations=await services.operations.watch(DurableOrchestrations(client)))


@blueprint.function_name("timer_forget_operations")
@blueprint.timer_trigger(arg_name="timer", schedule="0 41 * * * *")
@blueprint.durable_client_input(client_name="client")
async def forget_operations(timer: func.TimerRequest, client: DurableFunctionsClient) -> None:  # noqa: ARG001
    """Forget the operations that ended long ago."""
    services = wiring.services()
    with observed_run(services.telemetry, "timer_forget_operations") as run:
        run.did(operations=await services.operations.forget(DurableOrchestrations(client)))


@blueprint.function_name("timer_sweep_orphans")
@blueprint.timer_trigger(arg_name="timer", schedule="0 17 * * * *")
async def sweep_orphans(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Remove blobs that no row of the index names."""
    services = wiring.services()
    with observed_run(services.telemetry, "timer_sweep_orphans") as run:
        removed = await services.cleanup.sweep(datetime.now(UTC))
        run.did(blobs=removed)
        services.telemetry.measure(Measure.ORPHANS_REMOVED, removed)


@blueprint.function_name("timer_sweep_series_documents")
@blueprint.timer_trigger(arg_name="timer", schedule="0 29 */6 * * *")
async def sweep_series_documents(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Remove series documents that were never recorded."""
    services = wiring.services()
    with observed_run(services.telemetry, "timer_sweep_series_documents") as run:
        run.did(blobs=await services.document_cleanup.sweep(datetime.now(UTC)))


@blueprint.function_name("timer_sweep_tombstones")
@blueprint.timer_trigger(arg_name="timer", schedule="0 53 * * * *")
async def sweep_tombstones(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Remove tombstones whose instances have no blobs any more, or are there."""
    services = wiring.services()
    with observed_run(services.telemetry, "timer_sweep_tombstones") as run:
        removed = await tombstones.sweep_tombstones(
            services.blobs,
            services.deletions,
            datetime.now(UTC),
            orphan_age=services.settings.orphan_age_seconds,
        )
        run.did(blobs=removed)


@blueprint.function_name("timer_sync_fhir")
@blueprint.timer_trigger(arg_name="timer", schedule="*/15 * * * * *")
@blueprint.durable_client_input(client_name="client")
async def sync_fhir(timer: func.TimerRequest, client: DurableFunctionsClient) -> None:  # noqa: ARG001
    """Begin to tell the FHIR server of what has changed, unless it is being told."""
    services = wiring.services()
    if services.fhir_services is None or not services.settings.fhir_sync:
        return
    with observed_run(services.telemetry, "timer_sync_fhir"):
        if await services.fhir.sync.is_due():
            await DurableOrchestrations(client).start_alone(fhir_sync.WORKFLOW)


@blueprint.function_name("timer_number_changes")
@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *")
async def number_changes(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Give committed changes their place in the change feed."""
    services = wiring.services()
    with observed_run(services.telemetry, "timer_number_changes"):
        numbered = await services.index.number_changes()
        newest = await services.index.latest_change()
        services.telemetry.measure(Measure.CHANGE_FEED_BACKLOG, numbered)
        services.telemetry.measure(
            Measure.CHANGE_FEED_SEQUENCE, 0 if newest is None else newest.sequence
        )
