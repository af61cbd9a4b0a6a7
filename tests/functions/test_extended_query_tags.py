"""Extended query tags over HTTP: added, re-indexed, searched by, and deleted."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import orjson
import pytest
from httpx import Response
from pydicom.dataset import Dataset

from functions.orchestrations import DurableOrchestrations
from shared.dicom.searchable import tag_of
from shared.wiring import Services
from tests.archive import Client
from tests.builders import dataset, part10
from tests.engine import running_engine

JSON = "application/dicom+json"
TAGS = "/v2/extendedquerytags"


@pytest.fixture
async def engine(services: Services) -> AsyncIterator[DurableOrchestrations]:  # noqa: ARG001
    async with running_engine() as orchestrations:
        yield orchestrations


async def add(client: Client, *tags: dict[str, Any], root: str = "/v2") -> Response:
    headers = {"Content-Type": "application/json"}
    content = orjson.dumps(tags)
    return await client.send("POST", f"{root}/extendedquerytags", headers=headers, content=content)


async def patch(client: Client, path: str, status: str) -> Response:
    headers = {"Content-Type": "application/json"}
    content = orjson.dumps({"queryStatus": status})
    return await client.send("PATCH", f"{TAGS}/{path}", headers=headers, content=content)


async def ended(client: Client, started: Response) -> Any:
    """The operation that a request has started, once it has ended."""
    assert started.status_code == 202, started.text
    body = started.json()
    assert started.headers["location"] == body["href"]
    for _ in range(600):
        answer = await client.get(body["href"].removeprefix("http://archive.test"))
        if answer.status_code == 200:
            return answer.json()
        await asyncio.sleep(0.05)
    raise AssertionError("the operation does not end")


async def store(client: Client, *sources: Dataset, root: str = "/v2") -> None:
    answer = await client.store(root, [part10(source) for source in sources])
    assert answer.status_code == 200, answer.text


async def found(client: Client, resource: str, root: str = "/v2") -> list[str]:
    """The SOP instances, or else studies, that a search finds, oldest first."""
    answer = await client.get(f"{root}/{resource}", JSON)
    assert answer.status_code in (200, 204), answer.text
    tag = "00080018" if "instances" in resource else "0020000D"
    results = answer.json() if answer.status_code == 200 else []
    return [result[tag]["Value"][0] for result in reversed(results)]


@pytest.mark.usefixtures("engine")
async def test_what_is_there_is_found_by_new_tags(client: Client) -> None:
    first = dataset(PatientSex="F", NumberOfFilms="12")
    second = dataset(PatientSex="M", NumberOfFilms="03")
    await store(client, first, second)

    started = await add(
        client,
        {"path": "PatientSex", "vr": "CS", "level": "Study"},
        {"path": "NumberOfFilms", "level": "study"},
    )
    operation = await ended(client, started)

    assert (operation["status"], operation["percentComplete"]) == ("succeeded", 100)
    assert operation["type"] == "reindex"
    paths = [tag_of(keyword) for keyword in ("PatientSex", "NumberOfFilms")]
    assert [url.rpartition("/")[2] for url in operation["resources"]] == paths
    for path in ("PatientSex", "NumberOfFilms"):
        tag = (await client.get(f"{TAGS}/{path}")).json()
        assert (tag["status"], tag["queryStatus"]) == ("ready", "enabled")
        assert not tag.keys() & {"errors", "operation", "privateCreator"}
    assert await found(client, "instances?NumberOfFilms=0003") == [second.SOPInstanceUID]
    assert await found(client, "studies?PatientSex=f", "/v1") == [first.StudyInstanceUID]
