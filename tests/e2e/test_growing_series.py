"""A series that grows one instance at a time while a viewer looks at it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import httpx
import pytest
from pydicom.uid import generate_uid

from tests.builders import dataset, part10
from tests.e2e.server import Server, running
from tests.e2e.wire import DICOM_JSON, client, store_one

pytestmark = [pytest.mark.host, pytest.mark.slow]

_INSTANCES = int(os.environ.get("E2E_SERIES_INSTANCES", "2400"))
_STEPS = 3
_CONNECTIONS = 3
_VIEWED_EVERY_SECONDS = 1.0
_STUDY, _SERIES = generate_uid(), generate_uid()
_UID = b"1.2.3.99999"
_SLICE = part10(
    dataset(StudyInstanceUID=_STUDY, SeriesInstanceUID=_SERIES, SOPInstanceUID=_UID.decode())
)
_METADATA = f"/studies/{_STUDY}/series/{_SERIES}/metadata"


@dataclass(frozen=True)
class Step:
    """What a third of the instances cost.

    Attributes:
        written: Bytes written to files, by all processes, an instance.
        looks: How often the viewer looked meanwhile.
        look_calls: Read calls of one look at the series after one more instance, when all is quiet.
        look_bytes: Bytes read by these.
    """

    instances: int
    seconds: float
    written: float
    looks: int
    look_calls: int
    look_bytes: int


class _Growth:
    def __init__(self, server: Server, http: httpx.AsyncClient) -> None:
        self._server = server
        self._http = http
        self._stored = 0
        self._looks = 0

    async def step(self, count: int) -> Step:
        """Store a number of instances one by one on each connection, watched by a viewer."""
        started, written, looks = monotonic(), self._server.io("write_bytes"), self._looks
        numbers = iter(range(count))
        async with self._viewer():
            await asyncio.gather(*(self._store_each(numbers) for _ in range(_CONNECTIONS)))
        seconds = monotonic() - started
        written = self._server.io("write_bytes") - written
        await self._look()
        await self._store()
        calls, read = self._server.io("syscr"), self._server.io("rchar")
        await self._look()
        return Step(
            self._stored,
            round(seconds, 1),
            round(written / count),
            self._looks - looks,
            self._server.io("syscr") - calls,
            self._server.io("rchar") - read,
        )

    async def _store_each(self, numbers: Iterator[int]) -> None:
        for _ in numbers:
            await self._store()

    async def _store(self) -> None:
        self._stored += 1
        uid = b"1.2.3.%05d" % self._stored
        answer = await store_one(self._http, _SLICE.replace(_UID, uid))
        assert answer.status_code == 200, answer.text

    @asynccontextmanager
    async def _viewer(self) -> AsyncIterator[None]:
        looking = asyncio.create_task(self._look_for_ever())
        yield
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

    async def _look_for_ever(self) -> None:
        while True:
            begun = monotonic()
            if self._stored > _CONNECTIONS:
                await self._look()
            await asyncio.sleep(max(0, begun + _VIEWED_EVERY_SECONDS - monotonic()))

    async def _look(self) -> None:
        at_least = self._stored - _CONNECTIONS
        answer = await self._http.get(_METADATA, headers=DICOM_JSON)
        assert answer.status_code == 200
        assert answer.content.count(b'"00080018"') >= at_least
        self._looks += 1


async def test_work_stays_linear_while_a_viewer_looks(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(tmp_path / "data") as server:
        async with client(server.v2, _CONNECTIONS + 1) as http:
            growth = _Growth(server, http)
            steps = [await growth.step(_INSTANCES // _STEPS) for _ in range(_STEPS)]
        documents = sorted(
            (int(file.name.split(".")[0]), file.stat().st_size)
            for file in (server.data / "series-metadata").rglob("*.json.gz")
        )
    written = sum(size for _, size in documents)
    for number, step in enumerate(steps):
        record_property(f"step {number}", str(step))
    record_property("documents", f"{len(documents)} of {written} bytes, last {documents[-1]}")
    first, last = steps[0], steps[-1]
    # Were each look or each store to rewrite the document, this would grow with every step.
    assert last.written < 1.5 * first.written
    # Each document is a twentieth bigger than the one before: a geometric series.
    assert written < 25 * documents[-1][1]
    # One look reads the document, and the metadata of at most a twentieth of the instances.
    assert last.look_calls < first.look_calls + 0.3 * last.instances
