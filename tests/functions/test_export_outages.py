"""Folders of exports that fail in the middle: nothing is claimed that is not there."""

import asyncio
import resource
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from shared.services import export_round
from shared.wiring import Services
from tests.archive import HOST, Client
from tests.builders import dataset, image, part10
from tests.engine import running_engine
from tests.functions.exports import (
    UNKNOWN,
    asked,
    ended,
    files,
    of,
    open_exporting,
    out,
    start,
    store_of,
)

_MOST_BYTES = 8 << 20


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_exporting(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_round, "BATCH", 3)
    monkeypatch.setattr(export_round, "PARALLEL", 2)
    monkeypatch.setattr(export_round, "PAUSE_SECONDS", (1,))


@contextmanager
def full_disk() -> Iterator[None]:
    """While this lasts, no file can be written that is longer than some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _exported(services: Services) -> int:
    return len(list(out(services).rglob("*.dcm")))


async def _begun(client: Client, sources: list[Dataset], *more: str) -> tuple[Any, Path]:
    """An export that nobody works at yet, and the path of its folder."""
    await store_of(client, sources)
    async with running_engine({}, {}):
        started = await start(client, asked(*map(of, sources), *more, deidentification={}))
    operation = started.headers["location"].removeprefix(f"{HOST}/v2/operations/")
    return started, Path("a", "b", operation)


async def _round(services: Services, operation: str) -> None:
    rounds = services.export_rounds
    plan = await rounds.plan(operation)
    assert plan is not None
    copied = [await rounds.copy(operation, *span) for span in plan.batches]
    assert await rounds.note(operation, plan, copied) == 0


async def _went_on(client: Client, services: Services, started: Any) -> dict[str, Any]:
    async with running_engine() as orchestrations:
        await services.operations.watch(orchestrations)
        return await ended(client, started)


async def test_a_folder_that_disappears_ends_the_export_and_is_not_made_anew(
    client: Client, services: Services
) -> None:
    started, folder = await _begun(client, [dataset() for _ in range(10)])
    await _round(services, folder.name)
    assert _exported(services) == 6
    shutil.rmtree(out(services) / folder)
    document = await _went_on(client, services, started)
    assert document["status"] == "failed"
    assert document["results"]["exported"] == 6
    assert "cannot be written to" in document["results"]["error"]
    assert not (out(services) / folder).exists()
    assert await services.secrets.get(folder.name) is None


async def test_a_file_that_cannot_be_written_ends_the_export_with_all_others_counted(
    client: Client, services: Services
) -> None:
    # As they are, so that it is known what they are called.
    sources = [dataset() for _ in range(10)]
    await store_of(client, sources)
    async with running_engine({}, {}):
        started = await start(client, asked(UNKNOWN, *map(of, sources)))
    operation = started.headers["location"].removeprefix(f"{HOST}/v2/operations/")
    results = out(services) / "a" / "b" / operation / "results"
    results.mkdir()
    (results / sources[6].StudyInstanceUID).write_bytes(b"in the way")
    document = await _went_on(client, services, started)
    assert document["status"] == "failed"
    # A round of six, of which one is unknown, and of the next one what was not stopped.
    assert document["results"]["exported"] == _exported(services) >= 5
    assert document["results"]["skipped"] == 1
    assert document["results"].keys() == {"errorHref", "exported", "skipped", "error"}


async def test_a_full_disk_ends_the_export_with_all_counted_that_is_there(
    client: Client, services: Services
) -> None:
    sources = [dataset(), dataset(), image(rows=4096, columns=2500)]
    started, folder = await _begun(client, [*sources, dataset(), dataset()], UNKNOWN)
    with full_disk():
        document = await _went_on(client, services, started)
    assert document["status"] == "failed"
    assert document["results"]["exported"] == _exported(services) == 4
    assert document["results"]["skipped"] == 1
    assert not list(out(services).rglob("*.part"))
    assert await services.secrets.get(folder.name) is None


async def test_an_export_goes_on_when_there_is_room_again(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_round, "PAUSE_SECONDS", (1, 1, 1, 1))
    sources = [dataset(), image(rows=4096, columns=2500), *(dataset() for _ in range(9))]
    await store_of(client, sources)
    async with running_engine():
        with full_disk():
            started = await start(client, asked(*map(of, sources), UNKNOWN))
            await _has_paused(services, started)
        document = await ended(client, started)
    assert document["status"] == "succeeded"
    assert (document["results"]["exported"], document["results"]["skipped"]) == (11, 1)
    found = files(out(services))
    [folder] = [name.rpartition("/")[0] for name in found if name.endswith("errors.log")]
    del found[f"{folder}/errors.log"]
    assert found == {f"{folder}/results/{of(source)}.dcm": part10(source) for source in sources}


async def _has_paused(services: Services, started: Any) -> None:
    """Wait until a round has been of no use."""
    operation = started.headers["location"].removeprefix(f"{HOST}/v2/operations/")
    async with asyncio.timeout(30):
        while not ((await services.operations.get(operation)).results or {}).get("idle"):
            await asyncio.sleep(0.02)
