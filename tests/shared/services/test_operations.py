import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from durabletask.client import AsyncTaskHubGrpcClient

from functions.orchestrations import DurableOrchestrations
from shared.errors import ConflictError, NotFoundError, StoreUnavailableError
from shared.ports import OperationStatus, OperationType, OrchestrationState
from shared.services.operations import OperationRunningError
from shared.wiring import Services
from tests.engine import running_engine

EARLIER = timedelta(minutes=1)


def waiting(context: Any, _: str) -> Iterator[Any]:
    yield context.wait_for_external_event("never")


def broken(context: Any, _: str) -> Iterator[Any]:
    yield context.create_timer(context.current_utc_datetime)
    raise ValueError("it fails")


def silent(context: Any, _: str) -> Iterator[Any]:
    """Ends without a word of how."""
    yield context.create_timer(context.current_utc_datetime)


@pytest.fixture
async def engine() -> AsyncIterator[DurableOrchestrations]:
    workflows: dict[OperationType, Callable[..., Any]] = {
        OperationType.UPDATE: waiting,
        OperationType.EXPORT: broken,
        OperationType.REINDEX: silent,
    }
    named = {kind.workflow: workflow for kind, workflow in workflows.items()}
    async with running_engine(named, {}) as orchestrations:
        yield orchestrations


async def until(
    engine: DurableOrchestrations, operation_id: str, state: OrchestrationState
) -> None:
    async with asyncio.timeout(10):
        while await engine.state(operation_id) is not state:
            await asyncio.sleep(0.02)


async def make_older(services: Services, operation_id: str) -> None:
    """As if nothing had been heard of it for a while."""
    old = datetime.now(UTC) - EARLIER
    assert await services.operations.table.update(operation_id, old, status=OperationStatus.RUNNING)


async def test_an_operation_is_noted_and_driven(
    services: Services, engine: DurableOrchestrations
) -> None:
    started = await services.operations.start(engine, OperationType.UPDATE, {"studies": ["1.2"]})

    found = await services.operations.get(started.id)
    assert found == started
    assert found.status is OperationStatus.NOT_STARTED
    assert found.input == {"studies": ["1.2"]}
    assert await engine.state(started.id) is OrchestrationState.UNFINISHED


async def test_only_one_of_a_kind_that_stands_alone_is_under_way(
    services: Services, engine: DurableOrchestrations
) -> None:
    operations = services.operations
    first = await operations.start(engine, OperationType.UPDATE, {}, alone=True)

    with pytest.raises(OperationRunningError) as refused:
        await operations.start(engine, OperationType.UPDATE, {}, alone=True)
    assert refused.value.operation_id == first.id

    await operations.start(engine, OperationType.EXPORT, {}, alone=True)
    await operations.finish(first.id)
    await operations.start(engine, OperationType.UPDATE, {}, alone=True)


async def test_progress_and_results_are_told_until_the_end(
    services: Services, engine: DurableOrchestrations
) -> None:
    operations = services.operations
    started = await operations.start(engine, OperationType.UPDATE, {})

    assert await operations.report(started.id, 40)
    halfway = await operations.get(started.id)
    assert (halfway.status, halfway.percent_complete) == (OperationStatus.RUNNING, 40)
    assert await operations.report(started.id, results={"exported": 3})
    await operations.finish(started.id)

    ended = await operations.get(started.id)
    assert (ended.status, ended.percent_complete) == (OperationStatus.SUCCEEDED, 100)
    assert ended.results == {"exported": 3}
    assert ended.last_updated > started.last_updated
    assert not await operations.report(started.id, 50)
    await operations.finish(started.id, has_failed=True)
    assert await operations.get(started.id) == ended


async def test_a_failed_operation_keeps_how_far_it_came(
    services: Services, engine: DurableOrchestrations
) -> None:
    started = await services.operations.start(engine, OperationType.UPDATE, {})
    await services.operations.report(started.id, 40)
    await services.operations.finish(started.id, {"errors": ["one"]}, has_failed=True)

    ended = await services.operations.get(started.id)
    assert (ended.status, ended.percent_complete) == (OperationStatus.FAILED, 40)
    assert ended.results == {"errors": ["one"]}


async def test_a_cancelled_operation_ends_and_stays_cancelled(
    services: Services, engine: DurableOrchestrations
) -> None:
    operations = services.operations
    started = await operations.start(engine, OperationType.UPDATE, {})

    cancelled = await operations.cancel(engine, started.id)

    assert cancelled.status is OperationStatus.CANCELED
    await until(engine, started.id, OrchestrationState.TERMINATED)
    assert not await operations.report(started.id, 90)
    assert await operations.watch(engine) == 0
    with pytest.raises(ConflictError):
        await operations.cancel(engine, started.id)


async def test_what_was_never_asked_for_is_not_found(
    services: Services, engine: DurableOrchestrations
) -> None:
    with pytest.raises(NotFoundError):
        await services.operations.get("0" * 32)
    with pytest.raises(NotFoundError):
        await services.operations.cancel(engine, "0" * 32)


async def test_what_the_engine_has_forgotten_is_started_again(
    services: Services, engine: DurableOrchestrations
) -> None:
    await services.operations.watch(engine)
    async with running_engine({}, {}) as another:
        started = await services.operations.start(another, OperationType.UPDATE, {})
    assert await engine.state(started.id) is OrchestrationState.UNKNOWN
    assert await services.operations.watch(engine) == 0, "it may be on its way"

    await make_older(services, started.id)
    assert await services.operations.watch(engine) == 1

    assert await engine.state(started.id) is OrchestrationState.UNFINISHED
    assert await services.operations.watch(engine) == 0


async def test_the_first_look_after_a_start_waits_for_nothing(
    services: Services, engine: DurableOrchestrations
) -> None:
    async with AsyncTaskHubGrpcClient(host_address="127.0.0.1:1") as client:
        away = DurableOrchestrations(client)
        started = await services.operations.start(away, OperationType.UPDATE, {})
        with pytest.raises(StoreUnavailableError):
            await services.operations.watch(away)
    await services.operations.report(started.id, 40)

    assert await services.operations.watch(engine) == 1

    assert await engine.state(started.id) is OrchestrationState.UNFINISHED
    assert (await services.operations.get(started.id)).percent_complete == 40


async def test_what_two_start_at_once_runs_once(
    services: Services, engine: DurableOrchestrations
) -> None:
    """As when an instance has its first look while another one starts the operation."""
    started = await services.operations.start(engine, OperationType.UPDATE, {})
    await engine.start(started)
    assert await services.operations.watch(engine) == 0
    assert await engine.state(started.id) is OrchestrationState.UNFINISHED


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (OperationType.EXPORT, OrchestrationState.FAILED),
        (OperationType.REINDEX, OrchestrationState.COMPLETED),
    ],
)
async def test_what_ended_without_a_word_is_told_as_failed(
    services: Services,
    engine: DurableOrchestrations,
    kind: OperationType,
    state: OrchestrationState,
) -> None:
    started = await services.operations.start(engine, kind, {})
    await until(engine, started.id, state)
    await make_older(services, started.id)

    assert await services.operations.watch(engine) == 1
    assert (await services.operations.get(started.id)).status is OperationStatus.FAILED


async def test_an_operation_is_started_though_the_engine_is_away(services: Services) -> None:
    async with AsyncTaskHubGrpcClient(host_address="127.0.0.1:1") as client:
        engine = DurableOrchestrations(client)
        started = await services.operations.start(engine, OperationType.UPDATE, {})
    assert await services.operations.get(started.id) == started


async def test_the_newest_operations_are_listed_first(
    services: Services, engine: DurableOrchestrations
) -> None:
    kinds = (OperationType.UPDATE, OperationType.EXPORT, OperationType.UPDATE)
    started = [await services.operations.start(engine, kind, {}) for kind in kinds]

    assert await services.operations.list(10, 0) == started[::-1]
    assert await services.operations.list(1, 1) == [started[1]]


async def test_finished_operations_are_forgotten_in_time(
    services: Services, engine: DurableOrchestrations
) -> None:
    operations = services.operations
    started = [await operations.start(engine, OperationType.UPDATE, {}) for _ in range(3)]
    await operations.cancel(engine, started[0].id)
    await until(engine, started[0].id, OrchestrationState.TERMINATED)
    await operations.finish(started[1].id)
    assert await operations.forget(engine) == 0

    at_once = replace(operations, history=timedelta(0))
    assert await at_once.forget(engine) == 2

    assert [one.id for one in await operations.list(10, 0)] == [started[2].id]
    await until(engine, started[0].id, OrchestrationState.UNKNOWN)


class _Stubborn:
    """An engine that does not forget some of what it knows."""

    def __init__(self, engine: DurableOrchestrations, kept: Collection[str]) -> None:
        self._engine = engine
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def forget(self, operation_id: str) -> None:
        if operation_id in self._kept:
            raise StoreUnavailableError("The engine does not answer.")
        await self._engine.forget(operation_id)


async def _ended(services: Services, engine: DurableOrchestrations, count: int) -> list[str]:
    ids = []
    for _ in range(count):
        started = await services.operations.start(engine, OperationType.UPDATE, {})
        await services.operations.cancel(engine, started.id)
        await until(engine, started.id, OrchestrationState.TERMINATED)
        ids.append(started.id)
    return ids


async def test_one_operation_that_cannot_be_forgotten_keeps_no_other(
    services: Services, engine: DurableOrchestrations
) -> None:
    oldest, *_ = await _ended(services, engine, 3)
    stubborn: Any = _Stubborn(engine, {oldest})
    at_once = replace(services.operations, history=timedelta(0))

    assert await at_once.forget(stubborn) == 2
    assert [one.id for one in await services.operations.list(10, 0)] == [oldest]
    assert await at_once.forget(engine) == 1


async def test_an_engine_that_is_away_is_not_asked_for_all_that_is_to_be_forgotten(
    services: Services, engine: DurableOrchestrations
) -> None:
    ids = await _ended(services, engine, 22)
    stubborn: Any = _Stubborn(engine, ids[:21])
    at_once = replace(services.operations, history=timedelta(0))

    with pytest.raises(StoreUnavailableError):
        await at_once.forget(stubborn)
    assert len(await services.operations.list(30, 0)) == 22
