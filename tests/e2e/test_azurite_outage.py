"""The storage account goes away while the server stores, and comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from localhost.azurite import azurite
from tests.builders import image, part10
from tests.e2e.server import running
from tests.e2e.wire import client, instance_path, path_of, retrieve, search, store_one

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(600)]

_CLIENTS = 6
_ENOUGH = 30
_BOUND_SECONDS = 15


class _Clients:
    """Clients that store without end, and remember how each file was answered."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self.refused: list[httpx.Response] = []
        self.slowest_seconds = 0.0
        self._http = http

    @asynccontextmanager
    async def storing(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Store in parallel meanwhile, or until the function given has been called."""
        stopping = asyncio.Event()
        tasks = [asyncio.create_task(self._store(stopping)) for _ in range(_CLIENTS)]

        async def stop() -> None:
            stopping.set()
            await asyncio.gather(*tasks)

        try:
            yield stop
        finally:
            await stop()

    async def _store(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            dataset = image()
            file = part10(dataset)
            began = monotonic()
            answer = await store_one(self._http, file)
            self.slowest_seconds = max(self.slowest_seconds, monotonic() - began)
            if answer.status_code == 200:
                self.acknowledged[instance_path(dataset)] = file
            else:
                self.refused.append(answer)

    async def until_acknowledged(self, more: int) -> None:
        """Wait until so many more files are stored."""
        enough = len(self.acknowledged) + more
        while len(self.acknowledged) < enough:
            await asyncio.sleep(0.05)

    async def until_refused(self, more: int) -> None:
        """Wait until so many more files are refused."""
        enough = len(self.refused) + more
        while len(self.refused) < enough:
            await asyncio.sleep(0.05)


async def _away(http: httpx.AsyncClient, address: str) -> set[str]:
    """The dependencies that do not answer."""
    health: dict[str, Any] = (await http.get(f"{address}/health/check")).json()
    return {each["name"] for each in health["details"] if each["status"] != "Healthy"}


async def test_nothing_acknowledged_is_lost_when_storage_is_killed_and_it_all_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "account"
    preload = Path(__file__).with_name("durable_azurite.cjs")
    monkeypatch.setenv("NODE_OPTIONS", f"--require {preload}")
    with azurite(folder) as emulator:
        settings = {"DATA_STORAGE": emulator.connection_string}
        with running(tmp_path / "data", settings) as server:
            async with client(server.v2) as http:
                clients = _Clients(http)
                async with clients.storing() as stop:
                    await clients.until_acknowledged(_ENOUGH)
                    emulator.process.kill()
                    await clients.until_refused(_CLIENTS)
                    assert await _away(http, server.address) == {"BlobStore", "StateTable"}
                    with azurite(folder, ports=emulator.ports):
                        await clients.until_acknowledged(_ENOUGH)
                        await stop()
                        while await _away(http, server.address):
                            await asyncio.sleep(0.2)  # The answer is remembered for a moment.
                        await _are_there(http, clients.acknowledged)
                assert {answer.status_code for answer in clients.refused} == {503}
                assert all("retry-after" in answer.headers for answer in clients.refused)
                assert clients.slowest_seconds < _BOUND_SECONDS


async def _are_there(http: httpx.AsyncClient, files: dict[str, bytes]) -> None:
    """All files that were acknowledged so far can be found, and are as they were sent."""
    expected = dict(files)
    found = {path_of(each) for each in await search(http, "/instances", limit="5000")}
    assert expected.keys() <= found
    for path, file in expected.items():
        assert await retrieve(http, path) == file
