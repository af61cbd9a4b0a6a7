"""Export as a workflow: rounds of batches side by side, until nothing is left.

What is done is in the operation's row, so that it goes on from there when it is begun anew.
"""

from collections.abc import Generator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
from durabletask.task import OrchestrationContext, Task, TaskFailedError, when_all

from durable.activities import RETRY, observed
from shared import wiring
from shared.ports import OperationType
from shared.services.export_batch import Copied
from shared.services.export_round import Plan
from shared.services.export_walk import position

blueprint = df.Blueprint()

_ROUNDS = 20
"""After so many the history of what was done begins anew, lest it grows with the export."""


@blueprint.orchestration_trigger(
    context_name="context", orchestration=OperationType.EXPORT.workflow
)
def export_workflow(context: OrchestrationContext, operation_id: str) -> Generator[Task[Any], Any]:
    """Copy what an operation names to its destination."""
    try:
        for _ in range(_ROUNDS):
            plan = yield context.call_activity(
                "export_plan", input=operation_id, retry_policy=RETRY
            )
            if plan is None:
                return
            work = [{"operation": operation_id, "span": span} for span in plan["batches"]]
            copies: list[Task[Any]] = [
                context.call_activity("export_copy", input=one, retry_policy=RETRY) for one in work
            ]
            # Nothing would ever come of no tasks.
            copied = (yield when_all(copies)) if copies else []
            done = {"operation": operation_id, "plan": plan, "copied": copied}
            pause = yield context.call_activity("export_note", input=done, retry_policy=RETRY)
            if pause is None:
                return
            if pause:
                yield context.create_timer(timedelta(seconds=pause))
    except TaskFailedError:
        yield context.call_activity("export_fail", input=operation_id, retry_policy=RETRY)
        return
    context.continue_as_new(operation_id)


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
    copied = [Copied.of(one) for one in done["copied"]]
    rounds = wiring.services().export_rounds
    return await rounds.note(done["operation"], Plan.of(done["plan"]), copied)


@blueprint.activity_trigger(input_name="operation", activity="export_fail")
@observed
async def export_fail(operation: str) -> None:
    """End an export that cannot go on."""
    await wiring.services().export_rounds.fail(operation)
