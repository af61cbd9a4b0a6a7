"""Tags are added while the server is killed in the middle of what that starts."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from shared import wiring
from shared.adapters.sql_index.migrate import migrate
from shared.settings import Settings
from tests.e2e.server import Server, running
from tests.tagged_instances import fill

pytestmark = pytest.mark.host

INSTANCES = 4000
_SECONDS = 60
TAGS = [
    {"path": "AcquisitionNumber", "level": "Instance"},
    {"path": "OperatorsName", "level": "Series"},
]


async def _fill(data: Path) -> None:
    services = wiring.build(
        Settings.from_env({"DATA_DIRECTORY": str(data), "EMBEDDED_SYNC": "off"})
    )
    partition = await services.partitions.resolve(None, create=True)
    await fill(services, partition, INSTANCES)
    await services.index.close()


def _operation(server: Server, operation_id: str) -> dict[str, Any]:
    answer = requests.get(f"{server.v2}/operations/{operation_id}", timeout=10)
    document: dict[str, Any] = answer.json()
    return document


def test_a_re_index_goes_on_after_a_kill_and_everything_is_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    migrate(wiring.index_url(data))
    asyncio.run(_fill(data))
    with running(data) as server:
        started = requests.post(f"{server.v2}/extendedquerytags", json=TAGS, timeout=10)
        assert started.status_code == 202
        operation_id = started.json()["id"]
        until = time.monotonic() + _SECONDS
        while (seen := _operation(server, operation_id))["percentComplete"] < 20:
            assert time.monotonic() < until, seen
        server.kill()
    assert seen["status"] == "running"

    with running(data) as server:
        while (ended := _operation(server, operation_id))["status"] == "running":
            assert time.monotonic() < until, ended
            time.sleep(0.1)
        assert (ended["status"], ended["percentComplete"]) == ("succeeded", 100)
        tags = requests.get(f"{server.v2}/extendedquerytags", timeout=10).json()
        assert {(tag["status"], tag["queryStatus"]) for tag in tags} == {("ready", "enabled")}
        for number in (0, 1, INSTANCES // 2, INSTANCES - 1):
            parameters = {"AcquisitionNumber": str(number)}
            found = requests.get(f"{server.v2}/instances", parameters, timeout=10).json()
            assert len(found) == 1
        for number in range(7):
            parameters = {"OperatorsName": f"name{number}*", "limit": "5000"}
            assert requests.get(f"{server.v2}/series", parameters, timeout=30).json()
