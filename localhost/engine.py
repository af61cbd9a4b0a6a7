"""Durabletask's own engine, in memory, called without gRPC."""

import threading
from collections.abc import Callable
from typing import Any

import grpc
from durabletask.testing.in_memory_backend import InMemoryOrchestrationBackend


class Engine(InMemoryOrchestrationBackend):
    """The engine without its limit of 30 seconds on whoever waits for a sub-orchestration."""

    def _wait_for_state(
        self, instance_id: str, predicate: Callable[..., bool], timeout: float | None
    ) -> Any:
        return super()._wait_for_state(instance_id, predicate, timeout or threading.TIMEOUT_MAX)


class Local:
    """The part of a gRPC context that the engine looks at when it is called directly."""

    def is_active(self) -> bool:
        """It never goes away."""
        return True

    def time_remaining(self) -> float | None:
        """There is no limit."""
        return None

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        """Refuse a call."""
        raise RuntimeError(f"{code}: {details}")
