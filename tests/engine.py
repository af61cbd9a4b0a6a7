"""The engine of durable functions as the local host has it, in the process of a test."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import grpc
import orjson
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.worker import TaskHubGrpcWorker

from functions.orchestrations import DurableOrchestrations
from localhost.engine import Engine

_NOBODY = "127.0.0.1:1"
_addresses: list[str] = []


def client_config() -> str:
    """What the durable client binding is given, to reach the engine that was started last."""
    address = _addresses[-1] if _addresses else _NOBODY
    return orjson.dumps({"taskHubName": "test", "rpcBaseUrl": f"http://{address}"}).decode()


@asynccontextmanager
async def running_engine(
    orchestrators: Mapping[str, Callable[..., Any]] | None = None,
    activities: Mapping[str, Callable[..., Any]] | None = None,
) -> AsyncIterator[DurableOrchestrations]:
    """Run orchestrators and activities by name, those of the app by default; give the port."""
    engine = Engine(max_history_size=1_000_000)
    server = grpc.server(ThreadPoolExecutor(max_workers=16))
    stubs.add_TaskHubSidecarServiceServicer_to_server(engine, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    worker = TaskHubGrpcWorker(host_address=address)
    named = _of_app("orchestrationTrigger") if orchestrators is None else orchestrators
    for name, orchestrator in named.items():
        worker._registry.add_named_orchestrator(
            name, getattr(orchestrator, "orchestrator_function", orchestrator)
        )
    loop = asyncio.get_running_loop()
    named = _of_app("activityTrigger") if activities is None else activities
    for name, activity in named.items():
        worker._registry.add_named_activity(name, _in_loop(activity, loop))
    worker.start()
    client = AsyncTaskHubGrpcClient(host_address=address)
    _addresses.append(address)
    try:
        yield DurableOrchestrations(client)
    finally:
        _addresses.remove(address)
        await client.close()
        engine.stop()
        # It waits for activities, and these for the event loop of the test.
        await asyncio.to_thread(worker.stop)
        server.stop(None)


@cache
def app_functions() -> list[Any]:
    """All functions of the app, which can be asked for them only once."""
    from function_app import app

    return list(app.get_functions())


def _of_app(kind: str) -> dict[str, Callable[..., Any]]:
    return {
        str(function.get_function_name()): function.get_user_function()
        for function in app_functions()
        if (trigger := function.get_trigger()) and trigger.get_binding_name() == kind
    }


def _in_loop(activity: Callable[..., Any], loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
    [parameter] = inspect.signature(activity).parameters

    def call(_context: object, argument: object) -> object:
        async def called() -> object:
            return await activity(**{parameter: argument})

        return asyncio.run_coroutine_threadsafe(called(), loop).result()

    return call
