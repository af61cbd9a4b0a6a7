"""A small app with a function of each trigger kind, for the tests of the local host."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response, StreamingResponse

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
    async for chunk in req.stream():
        digest.update(chunk)
        length += len(chunk)
    return JSONResponse({"sha256": digest.hexdigest(), "length": length})


@app.route(route="download/{mebibytes:int}", methods=["GET"])
async def download(req: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(int(req.path_params["mebibytes"])):
            yield b"x" * 1_048_576

    return StreamingResponse(chunks(), media_type="application/octet-stream")


@app.route(route="slow", methods=["GET"])
async def slow(req: Request) -> Response:
    note("slow", "began")
    await asyncio.sleep(1)
    return Response("done")


@app.route(route="fails", methods=["GET"])
async def fails(req: Request) -> Response:
    raise ValueError("a secret of the app")


@app.route(route="headers", methods=["GET"])
async def headers(req: Request) -> JSONResponse:
    return JSONResponse(dict(req.headers))


@app.route(route="process", methods=["GET"])
async def process(req: Request) -> JSONResponse:
    from azure_functions_runtime import http_v2

    entries = len(http_v2.http_coordinator._context_references)
    return JSONResponse({"pid": os.getpid(), "entries": entries})


@app.route(route="exit", methods=["POST"])
async def leave(req: Request) -> Response:
    os._exit(3)


@app.timer_trigger(arg_name="timer", schedule="*/1 * * * * *")
async def every_second(timer: func.TimerRequest) -> None:
    note("timer", json.dumps({"past_due": timer.past_due}))


@app.timer_trigger(arg_name="timer", schedule="0 0 5 1 1 *", run_on_startup=True)
def at_start(timer: func.TimerRequest) -> None:
    note("start", "fired")
