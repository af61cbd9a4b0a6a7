"""What is there already is told as an operation: all of it, or what is asked for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from functions.orchestrations import DurableOrchestrations
from shared.ports import OperationStatus, OperationType
from shared.services.fhir_delivery import Delivered, Halt
from shared.services.fhir_export import PAUSE_SECONDS
from tests.builders import dataset
from tests.engine import running_engine
from tests.fhir.told_archive import ToldArchive
from tests.shared.services.test_reindex import Nobody

pytestmark = pytest.mark.host

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def engine(archive: ToldArchive) -> AsyncIterator[DurableOrchestrations]:
    del archive  # Its services are those of the activities.
    async with running_engine() as running:
        yield running


async def export(archive: ToldArchive, source: dict[str, Any], root: str = "/v2") -> dict[str, Any]:
    """Ask for an export, and wait for its end."""
    body = orjson.dumps({"source": source})
    answer = await archive.client.send("POST", f"{root}/fhir/$export", headers=JSON, content=body)
    assert answer.status_code == 202, answer.text
    address = answer.headers["Location"].removeprefix("http://archive.test")
    for _ in range(300):
        operation: dict[str, Any] = (await archive.client.get(address)).json()
        if operation["status"] not in ("notStarted", "running"):
            return operation
        await asyncio.sleep(0.05)
    raise AssertionError(operation)


def told(archive: ToldArchive) -> set[str]:
    """The studies at the FHIR server."""
    studies = archive.fhir.all("ImagingStudy")
    return {one["identifier"][0]["value"].removeprefix("urn:oid:") for one in studies}


async def fill(archive: ToldArchive) -> None:
    await archive.store(*(dataset(StudyInstanceUID=f"1.2.{n}", PatientID=f"P{n}") for n in "123"))
    await archive.store(dataset(StudyInstanceUID="1.3.1", PatientID="P1"), partition="clinic")


@pytest.mark.usefixtures("engine")
async def test_the_whole_archive_is_told_with_all_its_partitions(archive: ToldArchive) -> None:
    await fill(archive)
    operation = await export(archive, {"type": "archive"})
    assert (operation["type"], operation["status"]) == ("fhirExport", "succeeded")
    assert operation["percentComplete"] == 100
    assert operation["results"] == {"written": 4, "unchanged": 0, "refused": 0}
    assert told(archive) == {"1.2.1", "1.2.2", "1.2.3", "1.3.1"}
    again = await export(archive, {"type": "archive"})
    assert again["results"] == {"written": 0, "unchanged": 4, "refused": 0}


@pytest.mark.usefixtures("engine")
async def test_a_partition_is_told_alone(archive: ToldArchive) -> None:
    await fill(archive)
    await export(archive, {"type": "partition"}, "/v2/partitions/clinic")
    assert told(archive) == {"1.3.1"}
    body = orjson.dumps({"source": {"type": "archive"}})
    refused = await archive.client.send(
        "POST", "/v2/partitions/clinic/fhir/$export", headers=JSON, content=body
    )
    assert refused.status_code == 400


@pytest.mark.usefixtures("engine")
async def test_studies_are_told_that_are_named_or_found(archive: ToldArchive) -> None:
    await fill(archive)
    named = {"type": "identifiers", "settings": {"values": ["1.2.3", "1.3.1"]}}
    operation = await export(archive, named)
    # A study of another partition is none of this one.
    assert operation["results"] == {"written": 1, "unchanged": 1, "refused": 0}
    assert told(archive) == {"1.2.3"}
    found = {"type": "query", "settings": {"path": "studies", "parameters": {"PatientID": "P1"}}}
    await export(archive, found)
    assert told(archive) == {"1.2.3", "1.2.1"}


async def test_an_export_waits_for_a_server_that_is_away_and_ends_where_it_is_not_let_in(
    archive: ToldArchive,
) -> None:
    await fill(archive)
    service = archive.told.export
    asked = {"partition": None, "count": 4, "upTo": 100}
    operation = await service.operations.start(Nobody(), OperationType.FHIR_EXPORT, asked)
    planned = await service.plan(operation.id)
    assert planned is not None
    away = [Delivered(written=1, halt=Halt.OUTAGE)]
    assert await service.note(operation.id, planned, away) == PAUSE_SECONDS
    assert await service.plan(operation.id) == planned
    assert await service.note(operation.id, planned, [Delivered(halt=Halt.ACCESS)]) is None
    ended = await service.operations.get(operation.id)
    assert ended.status is OperationStatus.FAILED
    assert ended.results is not None
    assert "error" in ended.results
    assert await service.plan(operation.id) is None


async def test_a_round_that_is_noted_twice_is_counted_once(archive: ToldArchive) -> None:
    await fill(archive)
    service = archive.told.export
    asked = {"partition": None, "count": 4, "upTo": 100}
    operation = await service.operations.start(Nobody(), OperationType.FHIR_EXPORT, asked)
    planned = await service.plan(operation.id)
    assert planned is not None
    for _ in range(2):
        assert await service.note(operation.id, planned, [Delivered(written=4)]) == 0
    found = await service.operations.get(operation.id)
    assert found.results is not None
    assert found.results["written"] == 4
