"""What all activities have in common."""

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import wraps
from typing import Any, get_origin

from durabletask.task import RetryPolicy

from shared import wiring
from shared.runs import observed_run

RETRY = RetryPolicy(
    first_retry_interval=timedelta(seconds=1),
    max_number_of_attempts=8,
    backoff_coefficient=2,
    max_retry_interval=timedelta(minutes=1),
)
"""How an activity that fails is tried again, for about two minutes."""


def observed[**P, R](activity: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Let an activity be told of, and keep the words of its errors from the engine's history."""

    @wraps(activity)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with observed_run(wiring.services().telemetry, activity.__name__):
            return await activity(*args, **kwargs)

    shown: Any = run
    shown.__signature__ = _plain(inspect.signature(activity))
    shown.__annotations__ = inspect.get_annotations(activity) | {
        name: parameter.annotation for name, parameter in shown.__signature__.parameters.items()
    }
    return run


def _plain(signature: inspect.Signature) -> inspect.Signature:
    """A signature whose parameters are of plain types: the worker takes no `dict[str, int]`."""
    parameters = signature.parameters.values()
    return signature.replace(
        parameters=[
            one.replace(annotation=get_origin(one.annotation) or one.annotation)
            for one in parameters
        ]
    )
