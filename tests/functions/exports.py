"""What the tests of exports ask for, and what they find."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from pydicom import Dataset

from shared.wiring import Services
from tests.archive import HOST, Client, open_archive
from tests.builders import part10

JSON = {"Content-Type": "application/json"}
UNKNOWN = "1.2.3.4"


@asynccontextmanager
async def open_exporting(folder: Path) -> AsyncIterator[Services]:
    """An archive in a folder, and beside it where exports may go to."""
    data = folder / "data"
    data.mkdir()
    async with open_archive(data, EXPORT_FOLDER=str(folder / "out")) as services:
        yield services


def out(services: Services) -> Path:
    """Where exports may go to."""
    assert services.settings.export_folder is not None
    return services.settings.export_folder


def of(source: Dataset, depth: int = 3) -> str:
    uids = (source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    return "/".join(uids[:depth])


def asked(*identifiers: str, **members: Any) -> dict[str, Any]:
    return {
        "source": {"type": "identifiers", "settings": {"values": identifiers}},
        "destination": {"type": "folder", "settings": {"path": "a/b"}},
        **members,
    }


async def start(client: Client, body: object, root: str = "/v2") -> httpx.Response:
    return await client.send("POST", f"{root}/export", headers=JSON, content=orjson.dumps(body))


async def ended(client: Client, response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    assert response.json()["href"] == response.headers["location"]
    path = response.headers["location"].removeprefix(HOST)
    async with asyncio.timeout(30):
        while (answer := await client.get(path)).status_code == 202:
            await asyncio.sleep(0.05)
    document: dict[str, Any] = answer.json()
    return document


def files(folder: Path) -> dict[str, bytes]:
    found = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def lines(log: bytes) -> list[dict[str, str]]:
    return [orjson.loads(line) for line in log.splitlines()]


async def store_of(client: Client, sources: Sequence[Dataset], root: str = "/v2") -> None:
    answer = await client.store(root, [part10(source) for source in sources])
    assert answer.status_code == 200, answer.text
