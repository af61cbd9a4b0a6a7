"""FHIR export as a workflow: rounds of studies, in lanes side by side, until nothing is left.

What is done is in the operation's row, so that it goes on from there when it is begun anew.
"""

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
from durabletask.task import OrchestrationContext, Task, TaskFailedError, when_all

from durable.activities import RETRY, observed
from shared import wiring
from shared.ports import OperationType
from shared.services.fhir_delivery import Delivered
from shared.services.fhir_export import Round

blueprint = df.Blueprint()

_ROUNDS = 20
"""After so many the history of what was done begins anew, lest it grows with the archive."""


@blueprint.orchestration_trigger(
    context_name="context", orchestration=OperationType.FHIR_EXPORT.workflow
)
def fhir_export_workflow(
    context: OrchestrationContext, operation_id: str
) -> Generator[Task[Any], Any]:
    """Deliver the studies of an operation to the FHIR server."""
    try:
        for _ in range(_ROUNDS):
            round_ = yield context.call_activity(
                "fhir_export_plan", input=operation_id, retry_policy=RETRY
            )
            if round_ is None:
                return
            work = [{"studies": lane, "sequence": 0} for lane in round_["lanes"]]
            lanes: list[Task[Any]] = [
                context.call_activity("fhir_deliver", input=one, retry_policy=RETRY) for one in work
            ]
            # Nothing would ever come of no tasks.
            delivered = (yield when_all(lanes)) if lanes else []
            done = {"operation": operation_id, "round": round_, "delivered": delivered}
            pause = yield context.call_activity("fhir_export_note", input=done, retry_policy=RETRY)
            if pause is None:
                return
            if pause:
                yield context.create_timer(timedelta(seconds=pause))
    except TaskFailedError:
        yield context.call_activity("fhir_export_fail", input=operation_id, retry_policy=RETRY)
        return
    context.continue_as_new(operation_id)


@blueprint.activity_trigger(input_name="operation", activity="fhir_export_plan")
@observed
async def fhir_export_plan(operation: str) -> dict[str, Any] | None:
    """Say which studies come next."""
    round_ = await wiring.services().fhir.export.plan(operation)
    return None if round_ is None else dict(round_.to_json())


@blueprint.activity_trigger(input_name="done", activity="fhir_export_note")
@observed
async def fhir_export_note(done: dict[str, Any]) -> int | None:
    """Note what a round has done, and say when the next one begins, if there is one."""
    delivered = [Delivered.of(one) for one in done["delivered"]]
    export = wiring.services().fhir.export
    return await export.note(done["operation"], Round.of(done["round"]), delivered)


@blueprint.activity_trigger(input_name="operation", activity="fhir_export_fail")
@observed
async def fhir_export_fail(operation: str) -> None:
    """End an export that cannot go on."""
    await wiring.services().fhir.export.fail(operation)
