import asyncio
import time

import pytest

from shared.errors import StoreUnavailableError
from shared.services.health import Dependency, Health, HealthStatus


class Asked:
    """A dependency that answers as it is told, and counts how often it was asked."""

    def __init__(self, error: Exception | None = None, seconds: float = 0) -> None:
        self.error = error
        self.times = 0
        self._seconds = seconds

    async def __call__(self) -> None:
        self.times += 1
        await asyncio.sleep(self._seconds)
        if self.error is not None:
            raise self.error


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("needed", "optional", "status"),
    [
        (None, None, HealthStatus.HEALTHY),
        (None, StoreUnavailableError("Away."), HealthStatus.DEGRADED),
        (KeyError("key"), None, HealthStatus.UNHEALTHY),
        (OSError("away"), OSError("away"), HealthStatus.UNHEALTHY),
    ],
)
async def test_only_a_needed_dependency_makes_the_service_unhealthy(
    needed: Exception | None, optional: Exception | None, status: HealthStatus
) -> None:
    health = Health(
        {"A": Dependency(Asked(needed)), "B": Dependency(Asked(optional), is_needed=False)}
    )

    report = await health.check()

    assert report.status is status
    assert [(d.name, d.is_healthy) for d in report.dependencies] == [
        ("A", needed is None),
        ("B", optional is None),
    ]


async def test_all_are_asked_at_once_and_none_for_longer_than_the_time_out() -> None:
    stuck = {name: Dependency(Asked(seconds=60)) for name in "ABC"}
    health = Health({**stuck, "D": Dependency(Asked(seconds=0.01))}, timeout_seconds=1)
    start = time.monotonic()

    report = await health.check()

    assert 1 <= time.monotonic() - start < 3
    assert [d.is_healthy for d in report.dependencies] == [False, False, False, True]
    assert all(d.milliseconds >= 999 for d in report.dependencies[:3])


async def test_a_storm_of_checks_asks_once_until_the_answer_is_old() -> None:
    asked, clock = Asked(seconds=0.05), Clock()
    health = Health({"A": Dependency(asked)}, clock=clock)

    reports = await asyncio.gather(*(health.check() for _ in range(200)))

    assert asked.times == 1
    assert all(report is reports[0] for report in reports)
    clock.now = 1.4
    await health.check()
    assert asked.times == 1
    asked.error, clock.now = OSError(), 1.6
    assert (await health.check()).status is HealthStatus.UNHEALTHY
    assert asked.times == 2


async def test_the_log_says_why_in_our_own_words_only(caplog: pytest.LogCaptureFixture) -> None:
    ours = Dependency(Asked(StoreUnavailableError("Run the migration.")))
    theirs = Dependency(Asked(OSError("vault.example has no address")))

    await Health({"A": ours, "B": theirs}).check()

    assert [record.getMessage() for record in caplog.records] == [
        "A does not answer: Run the migration.",
        "B does not answer: OSError",
    ]


async def test_a_check_that_is_given_up_leaves_the_next_one_to_ask() -> None:
    asked = Asked(seconds=0.2)
    health = Health({"A": Dependency(asked)})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(health.check(), 0.02)

    assert (await health.check()).status is HealthStatus.HEALTHY
    assert asked.times == 2
