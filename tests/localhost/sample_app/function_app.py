"""A small app with a function of each trigger kind, for the tests of the local host."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import azure.durable_functions as df
import azure.functions as func
from azurefunctions.extensions.bindings.blob import BlobClient
from azurefunctions.extensions.http.fastapi import (
    JSONResponse,
    Request,
    Response,
    StreamingResponse,
)
from durabletask.task import OrchestrationContext, RetryPolicy, Task, when_all
from fastapi import HTTPException
from starlette.requests import ClientDisconnect

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

DATA = Path(os.environ["DATA_DIRECTORY"])


def note(name: str, text: str) -> None:
    """Leave a line that a test can wait for."""
    with (DATA / f"{name}.log").open("a") as file:
        file.write(text + "\n")


@app.route(route="hello/{name}", methods=["GET", "HEAD"])
async def hello(req: Request) -> JSONResponse:
    return JSONResponse({"name": req.path_params["name"], "query": dict(req.query_params)})


@app.route(route="sync/{number:int}", methods=["GET"])
def sync(req: Request) -> JSONResponse:
    return JSONResponse({"number": req.path_params["number"]})


@app.route(route="upload", methods=["POST"])
async def upload(req: Request) -> JSONResponse:
    digest, length = hashlib.sha256(), 0
    try:
        async for chunk in req.stream():
            digest.update(chunk)
            length += len(chunk)
    except ClientDisconnect:
        note("upload", "cut")
        raise
    return JSONResponse({"sha256": digest.hexdigest(), "length": length})


@app.route(route="download/{mebibytes:int}", methods=["GET"])
async def download(req: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(int(req.path_params["mebibytes"])):
            yield b"x" * 1_048_576

    return StreamingResponse(chunks(), media_type="application/octet-stream")


@app.route(route="endless", methods=["GET"])
async def endless(req: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
                await asyncio.sleep(0.01)
        finally:
            note("endless", "ended")

    return StreamingResponse(chunks(), media_type="application/octet-stream")


@app.route(route="fails", methods=["GET"])
async def fails(req: Request) -> Response:
    raise ValueError("a secret of the app")


@app.route(route="conflict", methods=["GET"])
async def conflict(req: Request) -> Response:
    raise HTTPException(409, "taken", {"x-by": "sample"})


@app.route(route="plain", methods=["GET"])
async def plain(req: Request) -> Response:
    return cast(Response, {"plain": True})  # The worker refuses the annotation dict.


@app.route(route="nothing", methods=["GET"])
async def nothing(req: Request) -> Response:
    return cast(Response, None)


@app.route(route="headers", methods=["POST"])
async def headers(req: Request) -> JSONResponse:
    return JSONResponse(dict(req.headers))


@app.route(route="process", methods=["GET"])
async def process(req: Request) -> JSONResponse:
    from azure_functions_runtime import http_v2

    entries = len(http_v2.http_coordinator._context_references)
    return JSONResponse({"pid": os.getpid(), "entries": entries})


@app.timer_trigger(arg_name="timer", schedule="*/1 * * * * *")
async def every_second(timer: func.TimerRequest) -> None:
    note("timer", json.dumps({"past_due": timer.past_due}))


@app.timer_trigger(arg_name="timer", schedule="0 0 5 1 1 *", run_on_startup=True)
def at_start(timer: func.TimerRequest) -> None:
    note("start", "fired")


@app.blob_trigger(arg_name="blob", path="inbox/{name}", connection="InboxStorage")
async def on_file(blob: func.InputStream) -> None:
    content = blob.read()
    note("blob", json.dumps({"name": blob.name, "length": blob.length, "read": len(content)}))
    if content == b"poison":
        raise ValueError("cannot be read")
    if content == b"fail twice" and (DATA / "blob.log").read_text().count(str(blob.name)) < 3:
        raise ValueError("not yet")


@app.blob_trigger(arg_name="client", path="clients/{name}", connection="InboxStorage")
async def on_client(client: BlobClient) -> None:
    with client:
        note("client", f"{client.container_name}/{client.blob_name}")


durable = df.Blueprint()


@durable.orchestration_trigger(context_name="context")
def fan_out(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, list[int]]:
    numbers = yield when_all([context.call_activity("double", input=n) for n in range(20)])
    return sorted(numbers)


@durable.activity_trigger(input_name="number")
def double(number: int) -> int:
    return number * 2


@durable.activity_trigger(input_name="seconds")
async def where(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


@durable.activity_trigger(input_name="text")
def quiet(text: str) -> None:
    """Gives nothing back."""


@durable.activity_trigger(input_name="text")
async def flaky(text: str) -> str:
    note("flaky", text)
    if (DATA / "flaky.log").read_text().count(text) < 3:
        raise ValueError("not yet")
    return text


@durable.activity_trigger(input_name="text")
async def slow_once(text: str) -> str:
    """The first time it is called, it takes long enough for its worker to be killed."""
    note("slow_once", f"{text} {os.getpid()}")
    if (DATA / "slow_once.log").read_text().count(text) < 2:
        await asyncio.sleep(60)
    return text


@durable.orchestration_trigger(context_name="context")
def retried(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, Any]:
    policy = RetryPolicy(first_retry_interval=timedelta(milliseconds=50), max_number_of_attempts=5)
    return (yield context.call_activity("flaky", input=context.instance_id, retry_policy=policy))


@durable.orchestration_trigger(context_name="context")
def failing(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any]:
    yield context.call_activity("flaky", input="fails " + context.instance_id)


@durable.orchestration_trigger(context_name="context")
def parent(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, Any]:
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=1))
    return (yield context.call_sub_orchestrator("fan_out"))


@durable.orchestration_trigger(context_name="context")
def spread(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, Any]:
    return (yield when_all([context.call_activity("where", input=0.05) for _ in range(20)]))


@durable.orchestration_trigger(context_name="context")
def silent(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, Any]:
    return (yield context.call_activity("quiet", input=""))


@durable.orchestration_trigger(context_name="context")
def sleeper(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, str]:
    """Longer than the 30 seconds after which the engine by itself forgets who waits."""
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=32))
    return "slept"


@durable.orchestration_trigger(context_name="context")
def patient(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, Any]:
    return (yield context.call_sub_orchestrator("sleeper"))


@durable.orchestration_trigger(context_name="context")
def waiting(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, Any]:
    return (yield context.wait_for_external_event("go"))


@durable.orchestration_trigger(context_name="context")
def redelivered(context: OrchestrationContext, _: Any) -> Generator[Task[Any], Any, Any]:
    return (yield context.call_activity("slow_once", input=context.instance_id))


@durable.route(route="start/{name}", methods=["POST"])
@durable.durable_client_input(client_name="client")
async def start(req: Request, client: df.DurableOrchestrationClient) -> JSONResponse:
    return JSONResponse({"id": await client.start_new(req.path_params["name"])})


@durable.route(route="slow", methods=["POST"])
@durable.durable_client_input(client_name="client")
async def slow(req: Request, client: df.DurableOrchestrationClient) -> JSONResponse:
    note("slow", "began")
    await asyncio.sleep(1)
    return JSONResponse({"id": await client.start_new("fan_out")})


@durable.route(route="status/{id}", methods=["GET"])
@durable.durable_client_input(client_name="client")
async def status(req: Request, client: df.DurableOrchestrationClient) -> JSONResponse:
    found = await client.get_status(req.path_params["id"])
    name = None if found.runtime_status is None else found.runtime_status.name
    return JSONResponse({"status": name, "output": found.output, "pid": os.getpid()})


@durable.route(route="raise/{id}", methods=["POST"])
@durable.durable_client_input(client_name="client")
async def raise_event(req: Request, client: df.DurableOrchestrationClient) -> Response:
    await client.raise_event(req.path_params["id"], "go", {"answer": 42})
    return Response(status_code=202)


app.register_functions(durable)
