"""The index locked away for a while, and several workers at one study."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.builders import image, part10
from tests.e2e.server import Server
from tests.e2e.wire import client, instance_path, retrieve_all, search, store_one, study_path

pytestmark = pytest.mark.host

_LOCKED_SECONDS = 10
_AT_ONCE = 8


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the index as another program would that writes to it."""
    other = sqlite3.connect(data / "index.sqlite", isolation_level=None, timeout=10)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


async def test_stores_outlast_an_index_that_is_locked_for_ten_seconds(server: Server) -> None:
    study = generate_uid()
    outcomes: list[tuple[Dataset, httpx.Response]] = []
    is_over = asyncio.Event()

    async def keep_storing(http: httpx.AsyncClient) -> None:
        while not is_over.is_set():
            dataset = image(StudyInstanceUID=study)
            outcomes.append((dataset, await store_one(http, part10(dataset))))

    async with client(server.v2) as http:
        storing = [asyncio.create_task(keep_storing(http)) for _ in range(_AT_ONCE)]
        await asyncio.sleep(1)
        with _locked(server.data):
            before = len(outcomes)
            await asyncio.sleep(_LOCKED_SECONDS)
            assert len(outcomes) <= before + _AT_ONCE  # It was locked indeed.
        released = monotonic()
        while len(outcomes) < before + 3 * _AT_ONCE:
            assert monotonic() - released < 20
            await asyncio.sleep(0.05)
        is_over.set()
        await asyncio.gather(*storing)

        refused = [answer for _, answer in outcomes if answer.status_code != 200]
        assert {answer.status_code for answer in refused} <= {503}
        assert all("Retry-After" in answer.headers for answer in refused)
        stored = [dataset for dataset, answer in outcomes if answer.status_code == 200]
        files = [part10(dataset) for dataset in stored]
        assert await retrieve_all(http, map(instance_path, stored)) == files
        found = await search(http, study_path(stored[0]) + "/instances", limit="1000")
        assert len(found) >= len(stored)


async def test_what_a_study_counts_is_what_four_clients_stored_over_two_workers(
    server: Server,
) -> None:
    study = generate_uid()
    series = {modality: generate_uid() for modality in ("CT", "MR", "OT")}
    datasets = [
        image(StudyInstanceUID=study, SeriesInstanceUID=uid, Modality=modality)
        for _ in range(20)
        for modality, uid in series.items()
    ]

    async def store(some: list[Dataset]) -> None:
        # A connection for each request, so that the system hands them to either worker.
        async with client(server.v2, 0) as http:
            for dataset in some:
                answer = await store_one(http, part10(dataset))
                assert answer.status_code == 200, answer.text

    await asyncio.gather(*(store(datasets[number::4]) for number in range(4)))
    async with client(server.v2) as http:
        [found] = await search(http, "/studies", StudyInstanceUID=study, includefield="all")
        assert found["00201206"]["Value"] == [len(series)]
        assert found["00201208"]["Value"] == [len(datasets)]
        assert sorted(found["00080061"]["Value"]) == sorted(series)
        of_series = await search(http, f"/studies/{study}/series", includefield="all")
        assert {
            (item["0020000E"]["Value"][0], *item["00080060"]["Value"], *item["00201209"]["Value"])
            for item in of_series
        } == {(uid, modality, 20) for modality, uid in series.items()}
        assert len(await search(http, f"/studies/{study}/instances", limit="1000")) == 60
