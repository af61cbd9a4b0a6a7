import json

import pytest

from tests.e2e.server import Server
from tests.localhost.sample import eventually, notes

pytestmark = pytest.mark.host


def test_a_timer_fires_again_and_again(host: Server) -> None:
    before = len(notes(host, "timer"))
    eventually(lambda: len(notes(host, "timer")) >= before + 2)
    assert json.loads(notes(host, "timer")[-1]) == {"past_due": False}


def test_a_timer_that_is_to_run_at_the_start_fires_once_for_all_workers(host: Server) -> None:
    assert eventually(lambda: notes(host, "start")) == ["fired"]
