import httpx
import pytest

from tests.localhost.sample import ended, run

pytestmark = pytest.mark.host


def test_an_orchestration_waits_for_a_timer_and_for_another_one(http: httpx.Client) -> None:
    found = run(http, "parent")
    assert (found["status"], found["output"]) == ("Completed", [n * 2 for n in range(20)])


@pytest.mark.slow
def test_an_orchestration_waits_for_another_longer_than_the_engine_would(
    patience: str, http: httpx.Client
) -> None:
    assert ended(http, patience, seconds=60)["output"] == "slept"
