from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest

from functions.orchestrations import DurableOrchestrations
from shared.ports import OperationType, OrchestrationState
from shared.wiring import Services
from tests.archive import HOST, Client, code_of
from tests.engine import running_engine


def waiting(context: Any, _: str) -> Iterator[Any]:
    yield context.wait_for_external_event("never")


@pytest.fixture
async def engine() -> AsyncIterator[DurableOrchestrations]:
    named = {kind.workflow: waiting for kind in OperationType}
    async with running_engine(named, {}) as orchestrations:
        yield orchestrations


async def test_an_operation_can_be_followed_to_its_end(
    services: Services, client: Client, engine: DurableOrchestrations
) -> None:
    started = await services.operations.start(engine, OperationType.UPDATE, {})
    path = f"/v2/operations/{started.id}"
    await services.operations.report(started.id, 25)

    under_way = await client.get(path)

    assert under_way.status_code == 202
    assert under_way.headers["location"] == HOST + path
    document = under_way.json()
    assert document["operationId"] == started.id
    assert document["type"] == "update"
    assert document["status"] == "running"
    assert document["percentComplete"] == 25
    assert document["createdTime"] == started.created.isoformat()
    assert document["lastUpdatedTime"] > document["createdTime"]
    assert "results" not in document
    assert "resources" not in document

    await services.operations.finish(started.id, {"studyUpdated": 1})
    ended = await client.get(path)

    assert ended.status_code == 200
    assert "location" not in ended.headers
    assert ended.json()["status"] == "succeeded"
    assert ended.json()["percentComplete"] == 100
    assert ended.json()["results"] == {"studyUpdated": 1}


async def test_v1_names_success_as_the_reference_does(
    services: Services, client: Client, engine: DurableOrchestrations
) -> None:
    started = await services.operations.start(engine, OperationType.UPDATE, {})
    await services.operations.finish(started.id)

    assert (await client.get(f"/v1/operations/{started.id}")).json()["status"] == "completed"


async def test_the_tags_of_a_reindexing_are_its_resources(
    services: Services, client: Client, engine: DurableOrchestrations
) -> None:
    asked = {"tags": ["00101010", "00100040"]}
    started = await services.operations.start(engine, OperationType.REINDEX, asked)

    document = (await client.get(f"/v2/operations/{started.id}")).json()

    assert document["resources"] == [
        f"{HOST}/v2/extendedquerytags/00101010",
        f"{HOST}/v2/extendedquerytags/00100040",
    ]


async def test_progress_of_an_export_is_told_in_v2_only(
    services: Services, client: Client, engine: DurableOrchestrations
) -> None:
    started = await services.operations.start(engine, OperationType.EXPORT, {})

    assert "percentComplete" not in (await client.get(f"/v1/operations/{started.id}")).json()
    assert (await client.get(f"/v2/operations/{started.id}")).json()["percentComplete"] == 0


async def test_the_id_may_have_dashes(
    services: Services, client: Client, engine: DurableOrchestrations
) -> None:
    started = await services.operations.start(engine, OperationType.UPDATE, {})
    found = await client.get(f"/v2/operations/{UUID(started.id)}")
    assert found.json()["operationId"] == started.id


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_or_malformed_id_is_told_apart(
    client: Client, method: str, engine: DurableOrchestrations
) -> None:
    del engine
    unknown = await client.send(method, f"/v2/operations/{'0' * 32}")
    assert unknown.status_code == 404
    assert code_of(unknown.content) == "NotFound"
    malformed = await client.send(method, "/v2/operations/1.2.3")
    assert malformed.status_code == 400


async def test_operations_are_listed_in_pages(
    services: Services, client: Client, engine: DurableOrchestrations
) -> None:
    ids = [(await services.operations.start(engine, OperationType.UPDATE, {})).id for _ in range(3)]

    listed = (await client.get("/v2/operations")).json()
    assert [one["operationId"] for one in listed] == ids[::-1]
    second = (await client.get("/v2/operations?limit=1&offset=1")).json()
    assert [one["operationId"] for one in second] == [ids[1]]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "offset=-1", "offset=1e3"])
async def test_a_page_out_of_bounds_is_refused(client: Client, query: str) -> None:
    assert (await client.get(f"/v2/operations?{query}")).status_code == 400


async def test_an_operation_can_be_ended(
    services: Services, client: Client, engine: DurableOrchestrations
) -> None:
    started = await services.operations.start(engine, OperationType.UPDATE, {})
    path = f"/v2/operations/{started.id}"

    ended = await client.send("DELETE", path)

    assert ended.status_code == 200
    assert ended.json()["status"] == "canceled"
    assert (await client.get(path)).json()["status"] == "canceled"
    again = await client.send("DELETE", path)
    assert again.status_code == 409
    while await engine.state(started.id) is not OrchestrationState.TERMINATED:
        pass


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", "/" + "1" * 32)])
async def test_lists_and_ends_are_not_of_v1(
    client: Client, engine: DurableOrchestrations, method: str, path: str
) -> None:
    del engine
    assert (await client.send(method, f"/v1/operations{path}")).status_code == 404
