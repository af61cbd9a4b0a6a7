"""Health: whether the stores answer."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from shared.errors import StoreUnavailableError


@dataclass(frozen=True, slots=True)
class DependencyHealth:
    """One dependency; `milliseconds` is how long it took to answer or to fail."""

    name: str
    is_healthy: bool
    milliseconds: float


class Health:
    """Asks every dependency."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._checks = checks

    async def check(self) -> tuple[DependencyHealth, ...]:
        """The state of each dependency, in a fixed order."""
        return tuple([await _ask(name, check) for name, check in self._checks.items()])


async def _ask(name: str, check: Callable[[], Awaitable[None]]) -> DependencyHealth:
    start = time.perf_counter()
    try:
        await check()
        is_healthy = True
    except StoreUnavailableError:
        is_healthy = False
    return DependencyHealth(name, is_healthy, round((time.perf_counter() - start) * 1000, 2))
