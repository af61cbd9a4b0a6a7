"""Bulk update as a workflow: one study after the other.

What is done is in the operation's row, so that it goes on from there when it is begun anew.
"""

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df
from durabletask.task import OrchestrationContext, Task

from durable.activities import RETRY, observed
from shared import wiring
from shared.ports import OperationType

blueprint = df.Blueprint()

_STUDIES = 10
"""After so many the history of what was done begins anew."""


@blueprint.orchestration_trigger(
    context_name="context", orchestration=OperationType.UPDATE.workflow
)
def update_workflow(context: OrchestrationContext, operation_id: str) -> Generator[Task[Any], Any]:
    """Update the studies of an operation."""
    for _ in range(_STUDIES):
        is_more = yield context.call_activity(
            "update_next_study", input=operation_id, retry_policy=RETRY
        )
        if not is_more:
            return
    context.continue_as_new(operation_id)


@blueprint.activity_trigger(input_name="operation", activity="update_next_study")
@observed
async def update_next_study(operation: str) -> bool:
    """Update the next study; False when there is none."""
    return await wiring.services().bulk_update.update_next_study(operation)
