"""Stores whose calls are traced: a proxy around each, in place of a line in each method."""

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import wraps
from typing import Any, cast

from shared.adapters.open_telemetry import OpenTelemetry
from shared.ports import BlobStore, CommitOutcome, Committed, Index, NewInstance, Partition
from shared.telemetry import Measure


def traced_blobs(blobs: BlobStore, telemetry: OpenTelemetry) -> BlobStore:
    """A blob store whose calls are spans, each named by its method."""
    return cast("BlobStore", _Traced(blobs, "BlobStore", telemetry))


def traced_index[I: Index](index: I, telemetry: OpenTelemetry) -> I:
    """An index whose calls are spans, and what it commits is counted."""
    return cast("I", _TracedIndex(index, "Index", telemetry))


class _Traced:
    """Passes every call on, within a span."""

    def __init__(self, port: Any, name: str, telemetry: OpenTelemetry) -> None:  # noqa: ANN401
        self._port = port
        self._name = name
        self._telemetry = telemetry

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401
        found = getattr(self._port, method)
        if inspect.iscoroutinefunction(found):
            found = self._call(found)
        elif inspect.isasyncgenfunction(found):
            found = self._iteration(found)
        # Found once: from now on it is an attribute like any other.
        setattr(self, method, found)
        return found

    def _call(self, method: Callable[..., Any]) -> Callable[..., Any]:
        name = f"{self._name}.{method.__name__}"

        @wraps(method)
        async def call(*args: object, **kwargs: object) -> object:
            with self._telemetry.call(name):
                return await method(*args, **kwargs)

        return call

    def _iteration(self, method: Callable[..., Any]) -> Callable[..., Any]:
        name = f"{self._name}.{method.__name__}"

        @wraps(method)
        async def iterate(*args: object, **kwargs: object) -> AsyncIterator[object]:
            with self._telemetry.call(name):
                async with aclosing(method(*args, **kwargs)) as items:
                    async for item in items:
                        yield item

        return iterate


class _TracedIndex(_Traced):
    async def commit(
        self,
        partition: Partition,
        instances: Sequence[NewInstance],
        *,
        replaced_until: datetime | None = None,
    ) -> Sequence[CommitOutcome]:
        """See Index."""
        with self._telemetry.call("Index.commit"):
            outcomes: Sequence[CommitOutcome] = await self._port.commit(
                partition, instances, replaced_until=replaced_until
            )
        lengths = [
            instance.file.length
            for instance, outcome in zip(instances, outcomes, strict=True)
            if isinstance(outcome, Committed)
        ]
        self._telemetry.measure(Measure.STORED_INSTANCES, len(lengths))
        self._telemetry.measure(Measure.STORED_BYTES, sum(lengths))
        return outcomes
