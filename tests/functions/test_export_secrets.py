"""The secret of an export, which stays nowhere whatever happens while it begins."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from shared.ports import Operation
from shared.services import export_round
from shared.wiring import Services
from tests.archive import HOST, Client
from tests.builders import dataset
from tests.engine import running_engine
from tests.functions.exports import asked, ended, of, open_exporting, start, store_of


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_exporting(tmp_path) as opened:
        yield opened


def _kept(services: Services) -> set[str]:
    file = services.settings.folder / "secrets.json"
    return set(orjson.loads(file.read_bytes())) if file.exists() else set()


async def _only(services: Services) -> Operation:
    [operation] = await services.operations.list(2, 0)
    return operation


async def _ended(client: Client, services: Services) -> Operation:
    """The one operation, as it is after the watchdog has looked after it."""
    operation = await _only(services)
    async with running_engine() as orchestrations, asyncio.timeout(30):
        await services.operations.watch(orchestrations)
        path = f"/v2/operations/{operation.id}"
        while (await client.get(path)).status_code != 200:
            await asyncio.sleep(0.05)
    return await _only(services)


async def test_an_export_without_its_secret_ends_as_failed(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_round, "PAUSE_SECONDS", (1,))
    source = dataset()
    await store_of(client, [source])
    begun = asyncio.Event()

    async def killed(name: str, value: str) -> None:
        del name, value
        begun.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(services.secrets, "set", killed)
        request = asyncio.create_task(start(client, asked(of(source), deidentification={})))
        await begun.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    operation = await _ended(client, services)
    assert operation.status.value == "failed"
    assert operation.results is not None
    assert operation.results["exported"] == 0
    assert "secrets" in operation.results["error"]
    assert _kept(services) == set()


async def test_an_export_that_was_noted_but_not_started_is_started_with_its_secret(
    client: Client, services: Services
) -> None:
    source = dataset()
    await store_of(client, [source])
    # There is no engine.
    started = await start(client, asked(of(source), deidentification={}))
    assert started.status_code == 202
    operation = await _only(services)
    assert _kept(services) == {operation.id}
    operation = await _ended(client, services)
    assert operation.status.value == "succeeded"
    assert operation.results is not None
    assert operation.results["exported"] == 1
    assert _kept(services) == set()


async def test_an_export_whose_secret_cannot_be_kept_is_not_begun(
    client: Client, services: Services
) -> None:
    in_the_way = services.settings.folder / "secrets.json"
    in_the_way.mkdir()
    async with running_engine():
        answer = await start(client, asked("1.2.3", deidentification={}))
        assert answer.status_code == 503
        operation = await _only(services)
        assert operation.status.value == "failed"
        in_the_way.rmdir()
        answer = await start(client, asked("1.2.3", deidentification={}))
        assert (await ended(client, answer))["status"] == "succeeded"


async def test_an_operation_is_forgotten_together_with_its_secret(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_engine({}, {}) as orchestrations:
        answer = await start(client, asked("1.2.3", deidentification={}))
        operation = answer.headers["location"].removeprefix(f"{HOST}/v2/operations/")
        await services.operations.finish(operation, has_failed=True)
        assert _kept(services) == {operation}
        monkeypatch.setattr(services.operations, "history", -services.operations.history)

        async def killed(name: str) -> None:
            raise ConnectionResetError(name)

        with monkeypatch.context() as patched:
            patched.setattr(services.secrets, "delete", killed)
            with pytest.raises(ConnectionResetError):
                await services.operations.forget(orchestrations)
        assert await services.operations.forget(orchestrations) == 1
        assert _kept(services) == set()
