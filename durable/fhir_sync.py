"""Continuous synchronisation with the FHIR server as a workflow: windows of the change feed.

There is one of it at a time, which the clock starts; where it stops, the next one goes on.
"""

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df
from durabletask.task import OrchestrationContext, Task, TaskFailedError, when_all

from durable.activities import RETRY, observed
from shared import wiring
from shared.services.fhir_delivery import Delivered, read_lane
from shared.services.fhir_sync import WORKFLOW, Window

blueprint = df.Blueprint()

_WINDOWS = 20
"""After so many the history of what was done begins anew, lest it grows with the feed."""


@blueprint.orchestration_trigger(context_name="context", orchestration=WORKFLOW)
def fhir_sync_workflow(context: OrchestrationContext, _: object) -> Generator[Task[Any], Any]:
    """Deliver what has changed, until nothing is left or nothing more can be delivered now."""
    try:
        for _window in range(_WINDOWS):
            window = yield context.call_activity("fhir_sync_window", retry_policy=RETRY)
            if window is None:
                return
            work = [{"studies": lane, "sequence": window["sequence"]} for lane in window["lanes"]]
            delivered = yield when_all(
                [
                    context.call_activity("fhir_deliver", input=one, retry_policy=RETRY)
                    for one in work
                ]
            )
            done = {"window": window, "delivered": delivered}
            if not (yield context.call_activity("fhir_advance", input=done, retry_policy=RETRY)):
                return
    except TaskFailedError:
        return  # The clock starts it again.
    context.continue_as_new(None)


@blueprint.activity_trigger(input_name="nothing", activity="fhir_sync_window")
@observed
async def fhir_sync_window(nothing: str) -> dict[str, Any] | None:  # noqa: ARG001
    """Say what is to be delivered next."""
    window = await wiring.services().fhir.sync.next_window()
    return None if window is None else dict(window.to_json())


@blueprint.activity_trigger(input_name="work", activity="fhir_deliver")
@observed
async def fhir_deliver(work: dict[str, Any]) -> dict[str, Any]:
    """Deliver some studies."""
    delivery = wiring.services().fhir.delivery
    studies = read_lane(work["studies"])
    return dict((await delivery.deliver(studies, work["sequence"])).to_json())


@blueprint.activity_trigger(input_name="done", activity="fhir_advance")
@observed
async def fhir_advance(done: dict[str, Any]) -> bool:
    """Note what has become of a window."""
    delivered = [Delivered.of(one) for one in done["delivered"]]
    return await wiring.services().fhir.sync.advance(Window.of(done["window"]), delivered)
