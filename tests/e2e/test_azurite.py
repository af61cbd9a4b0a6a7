"""The whole server on the storage emulator, as `make serve-azurite` starts it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from localhost.azurite import azurite
from tests.builders import image, part10
from tests.e2e.server import ROOT, Server, started
from tests.e2e.wire import (
    DICOM_JSON,
    client,
    instance_path,
    path_of,
    retrieve,
    search,
    store_one,
    store_parts,
    study_path,
)

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(600)]

_KINDS = ("dicom", "metadata", "frames", "staging")


@contextmanager
def _serving(data: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "localhost", "--azurite", "--port", "0", "--data", str(data)]
    with started([*command, "--workers", "1"], data) as server:
        yield server


async def _are_whole(http: httpx.AsyncClient, files: Mapping[str, bytes]) -> None:
    assert {path_of(found) for found in await search(http, "/instances")} == files.keys()
    await asyncio.gather(*(_is_whole(http, path, file) for path, file in files.items()))


async def _is_whole(http: httpx.AsyncClient, path: str, file: bytes) -> None:
    assert await retrieve(http, path) == file
    metadata = await http.get(f"{path}/metadata", headers=DICOM_JSON)
    assert path_of(metadata.json()[0]) == path


async def test_an_archive_on_azurite_survives_a_restart_and_the_loss_of_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    small = [image() for _ in range(3)]
    # One blob of several blocks among them.
    large, doomed = image(rows=2048, columns=2500), image()
    files = {instance_path(dataset): part10(dataset) for dataset in (*small, large, doomed)}
    with _serving(data) as server:
        async with client(server.v2) as http:
            answer = await store_parts(http, [files[instance_path(each)] for each in small])
            assert answer.status_code == 200, answer.text
            for dataset in (large, doomed):
                answer = await store_one(http, files[instance_path(dataset)])
                assert answer.status_code == 200, answer.text
            await _are_whole(http, files)
            frame = await http.get(f"{instance_path(large)}/frames/1")
            assert large.PixelData in frame.content
            assert (await http.delete(study_path(doomed))).status_code == 204
            del files[instance_path(doomed)]
            health = (await http.get(f"{server.address}/health/check")).json()
            assert health["overallStatus"] == "Healthy"
    assert not any((data / kind).exists() for kind in _KINDS)
    with azurite(data / "azurite") as emulator:
        monkeypatch.setenv("DATA_STORAGE", emulator.connection_string)
        command = [sys.executable, "-m", "shared.rebuild_index", "--data", str(data)]
        # What was deleted is left out.
        said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        assert said.stdout.startswith(f"{len(files)} instances are in the new index, 1 were")
    monkeypatch.delenv("DATA_STORAGE")
    with _serving(data) as server:
        async with client(server.v2) as http:
            await _are_whole(http, files)
            assert (await http.get(study_path(doomed))).status_code in (404, 410)
