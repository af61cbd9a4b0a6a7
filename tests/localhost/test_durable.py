import httpx
import pytest

from tests.e2e.server import Server
from tests.localhost.sample import ended, eventually, notes, run, start

# The long one is started with the first test, and waited for in test_sub_orchestrations.
pytestmark = [pytest.mark.host, pytest.mark.usefixtures("patience")]


def test_activities_fan_out_and_their_results_come_in(http: httpx.Client) -> None:
    found = run(http, "fan_out")
    assert (found["status"], found["output"]) == ("Completed", [n * 2 for n in range(20)])


def test_one_engine_hands_its_work_to_all_workers(host: Server, http: httpx.Client) -> None:
    assert set(run(http, "spread")["output"]) == set(host.worker_pids())


def test_every_worker_sees_the_same_orchestrations(host: Server, http: httpx.Client) -> None:
    instance_id = start(http, "fan_out")
    ended(http, instance_id)
    seen: dict[int, str] = {}
    while len(seen) < host.workers:
        # A connection of its own each time, so that another worker may take it.
        answer = httpx.get(f"{host.address}/status/{instance_id}", timeout=30).json()
        seen[answer["pid"]] = answer["status"]
    assert set(seen.values()) == {"Completed"}


def test_an_activity_that_gives_nothing_gives_none(http: httpx.Client) -> None:
    found = run(http, "silent")
    assert (found["status"], found["output"]) == ("Completed", None)


def test_an_activity_is_tried_again_as_its_policy_says(host: Server, http: httpx.Client) -> None:
    instance_id = start(http, "retried")
    assert ended(http, instance_id)["output"] == instance_id
    assert notes(host, "flaky").count(instance_id) == 3


def test_a_failed_orchestration_says_what_its_activity_raised(http: httpx.Client) -> None:
    found = run(http, "failing")
    assert found["status"] == "Failed"
    assert "not yet" in str(found["output"])


def test_an_orchestration_that_the_app_does_not_have_fails(http: httpx.Client) -> None:
    found = run(http, "unheard_of")
    assert found["status"] == "Failed"
    assert "unheard_of" in str(found["output"])


def test_an_event_reaches_the_orchestration_that_waits_for_it(http: httpx.Client) -> None:
    instance_id = start(http, "waiting")
    eventually(lambda: http.get(f"/status/{instance_id}").json()["status"] == "Running")
    assert http.post(f"/raise/{instance_id}").status_code == 202
    assert ended(http, instance_id)["output"] == {"answer": 42}
