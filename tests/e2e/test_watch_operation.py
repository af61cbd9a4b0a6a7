"""An operation is followed from the command line."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_operation_table import SqlOperationTable
from shared.ports import Operation, OperationStatus, OperationType
from shared.wiring import index_url
from tests.e2e.server import ROOT, Server

pytestmark = pytest.mark.host


def _operation(status: OperationStatus, percent: int) -> Operation:
    now = datetime.now(UTC)
    return Operation(
        id=uuid4().hex,
        type=OperationType.UPDATE,
        status=status,
        created=now,
        last_updated=now,
        percent_complete=percent,
        input={},
        results={"studyUpdated": percent, "errors": ["one"]},
    )


async def _add(data: Path, operation: Operation) -> None:
    index = SqlIndex(index_url(data))
    await SqlOperationTable(index).add(operation, alone=False)
    await index.close()


async def _finish(data: Path, operation: Operation) -> None:
    index = SqlIndex(index_url(data))
    table, now = SqlOperationTable(index), datetime.now(UTC)
    await table.update(operation.id, now, status=OperationStatus.CANCELED, percent_complete=60)
    await index.close()


def _make(server: Server, operation: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["make", "-s", "watch-operation", f"ID={operation}", f"URL={server.v2}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_an_operation_is_followed_to_its_end(server: Server) -> None:
    operation = _operation(OperationStatus.RUNNING, 40)
    await _add(server.data, operation)
    command = [sys.executable, "-m", "infra.watch_operation", "--url", server.v2, operation.id]
    watching = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    first = await asyncio.to_thread(watching.stdout.readline)
    assert first == "update running, 40 %, studyUpdated 40, errors 1\n"
    await _finish(server.data, operation)
    rest, _ = await asyncio.to_thread(watching.communicate)
    assert rest == "update canceled, 60 %, studyUpdated 40, errors 1\n"
    assert watching.returncode == 1


async def test_make_tells_how_an_operation_ended(server: Server) -> None:
    operation = _operation(OperationStatus.SUCCEEDED, 100)
    await _add(server.data, operation)
    for given in (operation.id, f"{server.v2}/operations/{operation.id}"):
        done = _make(server, given)
        told, _ = await asyncio.to_thread(done.communicate)
        assert told == "update succeeded, 100 %, studyUpdated 100, errors 1\n"
        assert done.returncode == 0


async def test_an_operation_that_is_not_there_is_told(server: Server) -> None:
    done = _make(server, "0" * 32)
    _, errors = await asyncio.to_thread(done.communicate)
    assert "404 Not Found" in errors
    assert done.returncode != 0
