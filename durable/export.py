"""Export as a workflow: rounds of batches side by side, until nothing is left."""

from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import azure.durable_functions as df
from durabletask.task import OrchestrationContext, Task

from durable.activities import observed
from durable.rounds import Rounds
from shared import wiring
from shared.ports import OperationType
from shared.services.export_batch import Copied
from shared.services.export_round import Plan
from shared.services.export_walk import position

blueprint = df.Blueprint()

_ROUNDS = Rounds(
    plan="export_plan",
    do="export_copy",
    note="export_note",
    fail="export_fail",
    work=lambda operation_id, plan: [
        {"operation": operation_id, "span": span} for span in plan["batches"]
    ],
)


@blueprint.orchestration_trigger(
    context_name="context", orchestration=OperationType.EXPORT.workflow
)
def export_workflow(context: OrchestrationContext, operation_id: str) -> Generator[Task[Any], Any]:
    """Copy what an operation names to its destination."""
    yield from _ROUNDS.orchestrate(context, operation_id)


@blueprint.activity_trigger(input_name="operation", activity="export_plan")
@observed
async def export_plan(operation: str) -> dict[str, Any] | None:
    """Say which batches come next."""
    plan = await wiring.services().export_rounds.plan(operation)
    return None if plan is None else dict(plan.to_json())


@blueprint.activity_trigger(input_name="work", activity="export_copy")
@observed
async def export_copy(work: dict[str, Any]) -> dict[str, Any]:
    """Copy one batch."""
    start, end = map(position, work["span"])
    return asdict(await wiring.services().export_rounds.copy(work["operation"], start, end))


@blueprint.activity_trigger(input_name="done", activity="export_note")
@observed
async def export_note(done: dict[str, Any]) -> int | None:
    """Note what a round has done, and say when the next one begins, if there is one."""
    copied = [Copied.of(one) for one in done["done"]]
    rounds = wiring.services().export_rounds
    return await rounds.note(done["operation"], Plan.of(done["plan"]), copied)


@blueprint.activity_trigger(input_name="operation", activity="export_fail")
@observed
async def export_fail(operation: str) -> None:
    """End an export that cannot go on."""
    await wiring.services().export_rounds.fail(operation)
