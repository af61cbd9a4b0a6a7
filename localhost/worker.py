"""A worker process: serves HTTP on the shared port, and runs what the parent hands it."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from localhost.app import App, AppError
from localhost.channel import Channel
from localhost.front import Front
from localhost.messages import Done, Invocation, Loaded, Serve, Serving, Start
from localhost.ports import shared_port
from localhost.protocol import BoundedProtocol

_GRACE_SECONDS = 25


class _Server(uvicorn.Server):
    """A server that leaves signals to this module: uvicorn raises them again when it ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(end: socket.socket) -> None:
    """Work until told to stop, or until the parent is gone."""
    channel = await Channel.over(end)
    start: Start = await channel.receive()
    # An app's modules stay; to look among them for garbage takes long, now and ever after.
    gc.disable()
    try:
        app = await App.load(start.app)
    except AppError as error:
        await channel.send(Loaded(error=str(error)))
        return
    gc.freeze()
    gc.enable()
    await channel.send(Loaded(app.functions))
    serve: Serve | None = await channel.receive()
    if serve is None:
        return
    app.client_config = serve.client_config
    server = _Server(_config(app, start))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, server)
    serving = asyncio.create_task(server.serve(sockets=[shared_port(start.host, start.port)]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    await channel.send(Serving())
    invoking = asyncio.create_task(_invoke_all(app, channel, server))
    await serving
    invoking.cancel()


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True


def _config(app: App, start: Start) -> uvicorn.Config:
    return uvicorn.Config(
        Front(app, start.route_prefix, start.body_limit_bytes),
        loop="none",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=2048,
    )


async def _invoke_all(app: App, channel: Channel, server: uvicorn.Server) -> None:
    running: set[asyncio.Task[None]] = set()
    while (invocation := await channel.receive()) is not None:
        task = asyncio.create_task(_invoke(app, channel, invocation))
        running.add(task)
        task.add_done_callback(running.discard)
    # The parent is gone, or wants an end: what is under way may finish.
    server.should_exit = True


async def _invoke(app: App, channel: Channel, invocation: Invocation) -> None:
    outcome = await app.invoke(invocation.function, invocation.inputs, invocation.metadata)
    await channel.send(Done(invocation.number, outcome))


def main() -> None:
    """Run on the socket whose descriptor is the only argument."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in ("azure", "httpx", "uvicorn.error", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    end = socket.socket(fileno=int(sys.argv[1]))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run(end))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
