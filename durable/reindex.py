"""Re-indexing as a workflow: slices of instances side by side, from the newest to the oldest.

What is done is in the index, so that it goes on from there when it is begun anew.
"""

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df
from durabletask.task import OrchestrationContext, Task, when_all

from durable.activities import RETRY, observed
from shared import wiring
from shared.ports import OperationType

blueprint = df.Blueprint()

_ROUNDS = 20
"""After so many the history of what was done begins anew, lest it grows with the archive."""


@blueprint.orchestration_trigger(
    context_name="context", orchestration=OperationType.REINDEX.workflow
)
def reindex_workflow(context: OrchestrationContext, operation_id: str) -> Generator[Task[Any], Any]:
    """Index by the tags of an operation what was there before them."""
    asked: dict[str, Any] = {"operation": operation_id, "doneFrom": None}
    for _ in range(_ROUNDS):
        slices = yield context.call_activity("reindex_next", input=asked, retry_policy=RETRY)
        if not slices:
            if slices is not None:
                yield context.call_activity(
                    "reindex_finish", input=operation_id, retry_policy=RETRY
                )
            return
        work = [{"operation": operation_id, "first": first, "last": last} for first, last in slices]
        yield when_all(
            [context.call_activity("reindex_slice", input=one, retry_policy=RETRY) for one in work]
        )
        asked["doneFrom"] = slices[-1][0]
    context.continue_as_new(operation_id)


@blueprint.activity_trigger(input_name="asked", activity="reindex_next")
@observed
async def reindex_next(asked: dict[str, Any]) -> list[tuple[int, int]] | None:
    """Note what is done, and give the slices that come next."""
    reindex = wiring.services().reindex
    slices = await reindex.next_slices(asked["operation"], asked["doneFrom"])
    return None if slices is None else list(slices)


@blueprint.activity_trigger(input_name="work", activity="reindex_slice")
@observed
async def reindex_slice(work: dict[str, Any]) -> None:
    """Index one slice."""
    await wiring.services().reindex.index(work["operation"], work["first"], work["last"])


@blueprint.activity_trigger(input_name="operation", activity="reindex_finish")
@observed
async def reindex_finish(operation: str) -> None:
    """Let the tags be searched by."""
    await wiring.services().reindex.finish(operation)
