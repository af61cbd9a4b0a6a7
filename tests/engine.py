"""The engine of durable functions as the local host has it, with orchestrators of a test."""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.worker import TaskHubGrpcWorker

from functions.orchestrations import DurableOrchestrations
from localhost.engine import Engine


@asynccontextmanager
async def running_engine(
    orchestrators: dict[str, Callable[..., Any]], activities: dict[str, Callable[..., Any]]
) -> AsyncIterator[DurableOrchestrations]:
    """Run orchestrators and activities by their names, and give the port to them."""
    engine = Engine()
    server = grpc.server(ThreadPoolExecutor(max_workers=16))
    stubs.add_TaskHubSidecarServiceServicer_to_server(engine, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    worker = TaskHubGrpcWorker(host_address=address)
    registry = worker._registry
    for name, orchestrator in orchestrators.items():
        registry.add_named_orchestrator(name, orchestrator)
    for name, activity in activities.items():
        registry.add_named_activity(name, activity)
    worker.start()
    client = AsyncTaskHubGrpcClient(host_address=address)
    try:
        yield DurableOrchestrations(client)
    finally:
        await client.close()
        engine.stop()
        worker.stop()
        server.stop(None)
