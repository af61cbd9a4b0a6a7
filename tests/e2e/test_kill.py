"""The server is killed, or part of it, while it stores."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.builders import image, part10
from tests.e2e.maintenance import sweep
from tests.e2e.named_blobs import named_blobs
from tests.e2e.server import Server, running
from tests.e2e.wire import (
    DICOM_JSON,
    STUDY_INSTANCE_UID,
    client,
    instance_path,
    path_of,
    retrieve,
    search,
    store_one,
    store_parts,
)

pytestmark = pytest.mark.host

_ROUNDS = 2
_MOST_ROUNDS = 40
"""Until one of the kills has hit a store between its blobs and its commit."""
_CLIENTS = 12
_KILLED_AFTER_INSTANCES = (20, 150)
_REPLACED_WITHIN_SECONDS = 60
_SERIES = {generate_uid(): generate_uid() for _ in range(3)}
_NUMBER_OF_STUDY_RELATED_INSTANCES = "00201208"

type Send = Callable[[httpx.AsyncClient, Sequence[bytes]], Awaitable[httpx.Response]]


def _new_instance() -> Dataset:
    """An instance of one of few studies, so that stores wait for each other; some are big."""
    big = random.random() < 0.1
    study, series = random.choice(list(_SERIES.items()))
    return image(
        rows=1024 if big else 16,
        columns=1024 if big else 16,
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
    )


class _Clients:
    """Clients that store without end, and remember what they sent and what was acknowledged."""

    def __init__(self) -> None:
        self.sent: dict[str, bytes] = {}
        self.acknowledged: set[str] = set()

    async def store_until_it_is_gone(self, server: Server) -> None:
        """Store in parallel, and kill the server in the middle of it."""
        enough = len(self.acknowledged) + random.randint(*_KILLED_AFTER_INSTANCES)
        async with client(server.v2, _CLIENTS) as http:
            storing = [asyncio.create_task(self._store(http)) for _ in range(_CLIENTS)]
            while len(self.acknowledged) < enough:
                assert not all(task.done() for task in storing), server.log()
                await asyncio.sleep(0.01)
            server.kill()
            await asyncio.gather(*storing)

    async def _store(self, http: httpx.AsyncClient) -> None:
        while True:
            datasets = [_new_instance() for _ in range(random.choice((1, 1, 5)))]
            files = {instance_path(dataset): part10(dataset) for dataset in datasets}
            self.sent |= files
            try:
                await self.store(http, files)
            except httpx.TransportError:
                return

    async def store(self, http: httpx.AsyncClient, files: dict[str, bytes]) -> None:
        """Store some files; they are acknowledged when this returns."""
        contents = list(files.values())
        answer = await (
            store_one(http, contents[0]) if len(contents) == 1 else store_parts(http, contents)
        )
        assert answer.status_code == 200, answer.text
        self.acknowledged |= files.keys()


async def _found(http: httpx.AsyncClient) -> set[str]:
    paths: list[str] = []
    while page := await search(http, "/instances", limit="500", offset=str(len(paths))):
        paths += map(path_of, page)
    assert len(set(paths)) == len(paths)
    return set(paths)


async def _all_is_whole(http: httpx.AsyncClient, clients: _Clients) -> None:
    """What was acknowledged is there; what is there can be had, whole and as it was sent."""
    found = await _found(http)
    assert clients.acknowledged <= found
    await asyncio.gather(*(_is_whole(http, path, clients.sent[path]) for path in found))
    in_study = Counter(path.split("/")[2] for path in found)
    studies = await search(http, "/studies", includefield=_NUMBER_OF_STUDY_RELATED_INSTANCES)
    assert in_study == {
        study[STUDY_INSTANCE_UID]["Value"][0]: study[_NUMBER_OF_STUDY_RELATED_INSTANCES]["Value"][0]
        for study in studies
    }


async def _is_whole(http: httpx.AsyncClient, path: str, file: bytes) -> None:
    assert await retrieve(http, path) == file
    answer = await http.get(f"{path}/metadata", headers=DICOM_JSON)
    assert answer.status_code == 200
    assert path_of(answer.json()[0]) == path


@pytest.mark.slow
async def test_a_killed_server_loses_nothing_acknowledged_and_shows_nothing_half_stored(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    clients = _Clients()
    orphans: set[str] = set()
    for done in range(_MOST_ROUNDS):
        if done >= _ROUNDS and orphans:
            break
        with running(data) as server:
            async with client(server.v2) as http:
                await _all_is_whole(http, clients)
            await clients.store_until_it_is_gone(server)
            orphans |= server.blob_names() - named_blobs(data)
    assert orphans, "the kills hit no store"
    with running(data) as server:
        async with client(server.v2) as http:
            await _all_is_whole(http, clients)
            # Retried, as clients do: what had been stored without a word is no conflict.
            for path in clients.sent.keys() - clients.acknowledged:
                await clients.store(http, {path: clients.sent[path]})
            await _all_is_whole(http, clients)
            assert await _found(http) == clients.sent.keys()
    assert sweep(data) > 0
    assert server.blob_names() == named_blobs(data)


async def test_a_killed_worker_is_replaced_and_the_service_goes_on(tmp_path: Path) -> None:
    clients = _Clients()
    with running(tmp_path / "data") as server:
        async with client(server.v2) as http:
            storing = [
                asyncio.create_task(_store_with_retries(http, clients)) for _ in range(_CLIENTS)
            ]
            await asyncio.sleep(0.5)
            killed, left = server.worker_pids()
            os.kill(killed, signal.SIGKILL)
            await asyncio.gather(*storing)
            await _all_is_whole(http, clients)
            assert await _found(http) == clients.sent.keys()
        replacement = await _replacement(server, left)
        assert killed != replacement


async def _store_with_retries(http: httpx.AsyncClient, clients: _Clients) -> None:
    for _ in range(10):
        dataset = _new_instance()
        path, file = instance_path(dataset), part10(dataset)
        clients.sent[path] = file
        while path not in clients.acknowledged:
            try:
                await clients.store(http, {path: file})
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def _replacement(server: Server, left: int) -> int:
    """The worker that was started; it also serves."""
    deadline = monotonic() + _REPLACED_WITHIN_SECONDS
    while monotonic() < deadline:
        others = set(server.worker_pids()) - {left}
        for pid in others:
            if server.serves(pid):
                return pid
        await asyncio.sleep(0.1)
    raise AssertionError(server.log())
