"""FHIR export as a workflow: rounds of studies, in lanes side by side, until nothing is left."""

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df
from durabletask.task import OrchestrationContext, Task

from durable.activities import observed
from durable.rounds import Rounds
from shared import wiring
from shared.ports import OperationType
from shared.services.fhir_delivery import Delivered
from shared.services.fhir_export import Round

blueprint = df.Blueprint()

_ROUNDS = Rounds(
    plan="fhir_export_plan",
    do="fhir_deliver",
    note="fhir_export_note",
    fail="fhir_export_fail",
    work=lambda _, plan: [{"studies": lane, "sequence": 0} for lane in plan["lanes"]],
)


@blueprint.orchestration_trigger(
    context_name="context", orchestration=OperationType.FHIR_EXPORT.workflow
)
def fhir_export_workflow(
    context: OrchestrationContext, operation_id: str
) -> Generator[Task[Any], Any]:
    """Deliver the studies of an operation to the FHIR server."""
    yield from _ROUNDS.orchestrate(context, operation_id)


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
    delivered = [Delivered.of(one) for one in done["done"]]
    export = wiring.services().fhir.export
    return await export.note(done["operation"], Round.of(done["plan"]), delivered)


@blueprint.activity_trigger(input_name="operation", activity="fhir_export_fail")
@observed
async def fhir_export_fail(operation: str) -> None:
    """End an export that cannot go on."""
    await wiring.services().fhir.export.fail(operation)
