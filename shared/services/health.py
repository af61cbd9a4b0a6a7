"""Health: whether what the service depends on answers."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from shared.errors import DicomWebError

_TIMEOUT_SECONDS = 5.0
_KEPT_SECONDS = 1.5
"""However often it is asked for, nothing is asked more often than this."""

_log = logging.getLogger(__name__)

type Check = Callable[[], Awaitable[object]]


class HealthStatus(Enum):
    """Of the whole service; degraded: every transaction works, and something beside them not."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    UNHEALTHY = "Unhealthy"


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something the service depends on.

    Attributes:
        check: Touches it, and raises anything when it does not answer.
        is_needed: Whether no transaction works without.
    """

    check: Check
    is_needed: bool = True


@dataclass(frozen=True, slots=True)
class DependencyHealth:
    """One dependency; `milliseconds` is how long it took to answer or to fail."""

    name: str
    is_healthy: bool
    is_needed: bool
    milliseconds: float


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The state of each dependency, in a fixed order."""

    dependencies: Sequence[DependencyHealth]

    @property
    def status(self) -> HealthStatus:
        """The state of all of them together."""
        away = [found for found in self.dependencies if not found.is_healthy]
        if any(found.is_needed for found in away):
            return HealthStatus.UNHEALTHY
        return HealthStatus.DEGRADED if away else HealthStatus.HEALTHY


class Health:
    """Asks every dependency at once, and remembers the answers for a moment."""

    def __init__(
        self,
        dependencies: Mapping[str, Dependency],
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dependencies = dependencies
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._report = HealthReport(())
        self._fresh_until = float("-inf")

    async def check(self) -> HealthReport:
        """The state of each dependency now, or at most 1.5 s ago."""
        async with self._one_at_a_time:
            if self._clock() >= self._fresh_until:
                asked = [self._ask(name, it) for name, it in self._dependencies.items()]
                self._report = HealthReport(await asyncio.gather(*asked))
                self._fresh_until = self._clock() + _KEPT_SECONDS
            return self._report

    async def _ask(self, name: str, dependency: Dependency) -> DependencyHealth:
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await dependency.check()
            is_healthy = True
        except Exception as error:  # noqa: BLE001 - whatever it raises, it does not work
            # The sentences of our own errors are safe to tell, and may say what to do.
            reason = error.message if isinstance(error, DicomWebError) else type(error).__name__
            _log.warning("%s does not answer: %s", name, reason)
            is_healthy = False
        milliseconds = round((time.perf_counter() - start) * 1000, 2)
        return DependencyHealth(name, is_healthy, dependency.is_needed, milliseconds)
