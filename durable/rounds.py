"""What operations that go on in rounds have in common: a plan, its work side by side, and a note.

What is done is in the operation's row, so that it goes on from there when it is begun anew.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from durabletask.task import OrchestrationContext, Task, TaskFailedError, when_all

from durable.activities import RETRY

_ROUNDS = 20
"""After so many the history of what was done begins anew, lest it grows with the archive."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """Activities by name, and how the work of a round follows from its plan.

    Attributes:
        plan: Given the operation's id, tells the next round; None where it has ended.
        do: Given a piece of work, does it.
        note: Given operation, plan and what was done, tells after how many seconds there is
            another round, None where there is none.
        fail: Given the operation's id, ends it, as it cannot go on.
        work: The pieces of work of an operation's plan; there may be none.
    """

    plan: str
    do: str
    note: str
    fail: str
    work: Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]

    def orchestrate(
        self, context: OrchestrationContext, operation_id: str
    ) -> Generator[Task[Any], Any]:
        """Do rounds until there are no more."""
        try:
            for _ in range(_ROUNDS):
                plan = yield context.call_activity(
                    self.plan, input=operation_id, retry_policy=RETRY
                )
                if plan is None:
                    return
                pieces: list[Task[Any]] = [
                    context.call_activity(self.do, input=piece, retry_policy=RETRY)
                    for piece in self.work(operation_id, plan)
                ]
                # Nothing would ever come of no tasks.
                done = (yield when_all(pieces)) if pieces else []
                noted = {"operation": operation_id, "plan": plan, "done": done}
                pause = yield context.call_activity(self.note, input=noted, retry_policy=RETRY)
                if pause is None:
                    return
                if pause:
                    yield context.create_timer(timedelta(seconds=pause))
        except TaskFailedError:
            yield context.call_activity(self.fail, input=operation_id, retry_policy=RETRY)
            return
        context.continue_as_new(operation_id)
