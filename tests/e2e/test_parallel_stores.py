"""Many stores at once over several workers."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.builders import image, part10
from tests.e2e.server import Server
from tests.e2e.wire import (
    PARTS_AS_STORED,
    client,
    instance_path,
    parts,
    path_of,
    retrieve_all,
    search,
    store_one,
    store_parts,
    study_path,
)

pytestmark = pytest.mark.host

_INSTANCES = 208
_AT_ONCE = 16
_PARTS = 8


def _study() -> list[Dataset]:
    """Instances of one study in several series."""
    study = generate_uid()
    series = [generate_uid() for _ in range(4)]
    return [
        image(
            StudyInstanceUID=study,
            SeriesInstanceUID=series[number % len(series)],
            InstanceNumber=number,
        )
        for number in range(_INSTANCES)
    ]


async def _are_found(fresh: httpx.AsyncClient, datasets: Sequence[Dataset]) -> None:
    """Every instance is found by a connection of its own, whichever worker that leads to."""
    for dataset in datasets:
        uid = dataset.SOPInstanceUID
        [found] = await search(fresh, "/instances", SOPInstanceUID=uid)
        assert path_of(found) == instance_path(dataset)


async def _all_there(http: httpx.AsyncClient, datasets: Sequence[Dataset]) -> None:
    files = [part10(dataset) for dataset in datasets]
    found = await search(http, f"{study_path(datasets[0])}/instances", limit="1000")
    assert {path_of(item) for item in found} == {instance_path(item) for item in datasets}
    assert await retrieve_all(http, map(instance_path, datasets)) == files
    whole = await http.get(study_path(datasets[0]), headers=PARTS_AS_STORED)
    assert sorted(parts(whole)) == sorted(files)


async def test_single_parts_in_parallel_are_all_there_and_found_at_once(server: Server) -> None:
    datasets = _study()
    slots = asyncio.Semaphore(_AT_ONCE)
    async with client(server.v2) as http, client(server.v2, 0) as fresh:

        async def store(dataset: Dataset) -> None:
            async with slots:
                answer = await store_one(http, part10(dataset))
                assert answer.status_code == 200, answer.text
                await _are_found(fresh, [dataset])

        await asyncio.gather(*map(store, datasets))
        await _all_there(http, datasets)


async def test_multiparts_in_parallel_are_all_there_and_found_at_once(server: Server) -> None:
    datasets = _study()
    slots = asyncio.Semaphore(_AT_ONCE)
    async with client(server.v2) as http, client(server.v2, 0) as fresh:

        async def store(group: list[Dataset]) -> None:
            async with slots:
                answer = await store_parts(http, [part10(dataset) for dataset in group])
                assert answer.status_code == 200, answer.text
                await _are_found(fresh, group)

        groups = [datasets[at : at + _PARTS] for at in range(0, _INSTANCES, _PARTS)]
        await asyncio.gather(*map(store, groups))
        await _all_there(http, datasets)


async def test_one_request_of_two_hundred_parts_is_all_there(server: Server) -> None:
    datasets = _study()
    async with client(server.v2) as http, client(server.v2, 0) as fresh:
        answer = await store_parts(http, [part10(dataset) for dataset in datasets])
        assert answer.status_code == 200, answer.text
        await _are_found(fresh, datasets[::16])
        await _all_there(http, datasets)
