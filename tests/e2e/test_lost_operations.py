"""The server is killed with an operation under way, whose engine forgets everything."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from uuid import uuid4

import orjson
import pytest

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_operation_table import SqlOperationTable
from shared.ports import Operation, OperationStatus, OperationType
from shared.wiring import index_url
from tests.e2e.server import WORKERS, Server, running

pytestmark = pytest.mark.host

_WITHIN_SECONDS = 10
_LOOK = re.compile(r'\{"time":.*"transaction":"timer_watch_operations".*\}')


async def _begin(data: Path) -> None:
    """Note an operation that was heard of just now, as if its orchestration were under way."""
    index = SqlIndex(index_url(data), sync=True)
    now = datetime.now(UTC)
    operation = Operation(
        id=uuid4().hex,
        type=OperationType.REINDEX,
        status=OperationStatus.RUNNING,
        created=now,
        last_updated=now,
        percent_complete=50,
        input={"tags": []},
        results=None,
    )
    await SqlOperationTable(index).add(operation, alone=False)
    await index.close()


async def _looks(server: Server, after: int) -> list[dict[str, object]]:
    """What the watchdog tells of its looks that found something, written after so many bytes."""
    deadline = monotonic() + _WITHIN_SECONDS
    while monotonic() < deadline:
        if found := _LOOK.findall(server.log()[after:]):
            return [orjson.loads(line) for line in found]
        await asyncio.sleep(0.1)
    raise AssertionError(server.log()[after:])


async def test_a_lost_operation_goes_on_at_once_when_the_server_is_started_again(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with running(data) as server:
        assert server.workers == WORKERS > 1
        await _begin(data)
        server.kill()
        told = len(server.log())
    with running(data) as server:
        looks = await _looks(server, told)
    assert looks[0]["operations"] == 1
