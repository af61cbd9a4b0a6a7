"""Command: run the function app of a folder on this machine."""

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localhost.azurite import azurite
from localhost.blob_triggers import run_blob_trigger
from localhost.errors import StartError
from localhost.messages import Function, Start
from localhost.pool import Pool
from localhost.ports import reserved_port
from localhost.routes import Router, http_routes
from localhost.settings import Settings
from localhost.timers import run_timer

if TYPE_CHECKING:
    from localhost.durable import Durable

DURABLE_BINDINGS = ("orchestrationTrigger", "activityTrigger", "entityTrigger", "durableClient")


def main() -> None:
    """Parse the command line and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="localhost", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path(), help="folder of function_app.py")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7071, help="0 takes a free one")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="the app's data folder")
    parser.add_argument("--azurite", action="store_true", help="run it, its data below --data")
    parser.add_argument("--workers", type=int, default=2, help="processes that serve")
    options = parser.parse_args()
    options.app, options.data = options.app.resolve(), options.data.resolve()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in ("azure", "durabletask"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What the app keeps is open to nobody else; its processes inherit this.
    os.umask(0o077)
    problems: list[str] = []
    try:
        settings = Settings.read(options.app, options.data, os.environ)
        options.data.mkdir(parents=True, exist_ok=True)
        os.environ.update(settings.environment)
        with _storage(options, settings):
            asyncio.run(_serve(options, settings))
    except* StartError as errors:
        # To leave from within would be one more error of the group.
        problems = [str(error) for error in errors.exceptions]
    if problems:
        sys.exit("\n".join(problems))


@contextmanager
def _storage(options: argparse.Namespace, settings: Settings) -> Iterator[None]:
    """The emulator in the place of the storage account, where it is wanted."""
    if not options.azurite:
        yield
        return
    with azurite(options.data / "azurite") as emulator:
        os.environ.update(dict.fromkeys(settings.storage, emulator.connection_string))
        yield


async def _serve(options: argparse.Namespace, settings: Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with reserved_port(options.host, options.port) as port:
        address = f"{_printed(options.host)}:{port}"
        # As Azure and Core Tools say it.
        os.environ["WEBSITE_HOSTNAME"] = address
        start = Start(
            options.app, options.host, port, settings.route_prefix, settings.body_limit_bytes
        )
        pool = Pool(start, options.workers)
        try:
            functions = await _load(pool, options.app, settings.prepare)
            # What is wrong with a route is said here once, and not by every worker.
            Router(http_routes(functions), settings.route_prefix)
            url = f"http://{address}"
            durable = _durable(functions, pool)
            await pool.serve(durable.client_config(url, settings.task_hub) if durable else None)
            jobs = [run_timer(pool, f) for f in _triggered(functions, "timerTrigger")]
            jobs += [
                run_blob_trigger(pool, f, options.data)
                for f in _triggered(functions, "blobTrigger")
            ]
            _say(f"listening on {url} ({options.workers} workers), data in {options.data}")
            await _run(pool, jobs, durable, stopping)
        finally:
            await pool.stop()


async def _load(pool: Pool, app: Path, prepare: str | None) -> tuple[Function, ...]:
    """Let the app make itself ready while the workers import it, which takes them longer."""
    ready, functions = await asyncio.gather(
        asyncio.to_thread(_prepare, app, prepare), pool.load(), return_exceptions=True
    )
    if isinstance(ready, BaseException):
        raise ready
    if isinstance(functions, BaseException):
        raise functions
    return functions


def _prepare(app: Path, function: str | None) -> None:
    """Call it in a process that ends before any worker serves."""
    if function is None:
        return
    module, _, name = function.partition(":")
    code = f"import {module}; {module}.{name}()"
    done = subprocess.run([sys.executable, "-c", code], cwd=app, check=False)
    if done.returncode != 0:
        raise StartError(f"{function} failed")


def _triggered(functions: tuple[Function, ...], *triggers: str) -> list[Function]:
    return [function for function in functions if function.binding(*triggers) is not None]


def _durable(functions: tuple[Function, ...], pool: Pool) -> "Durable | None":
    if not _triggered(functions, *DURABLE_BINDINGS):
        return None
    from localhost.durable import Durable  # noqa: PLC0415 - gRPC is slow to import

    return Durable(functions, pool)


async def _run(
    pool: Pool,
    triggers: list[Coroutine[Any, Any, None]],
    durable: "Durable | None",
    stopping: asyncio.Event,
) -> None:
    async with asyncio.TaskGroup() as group:
        engine = None if durable is None else group.create_task(durable.run())
        tasks = [group.create_task(trigger) for trigger in triggers]
        await stopping.wait()
        for task in tasks:
            task.cancel()
        # The engine is last: requests under way may call it.
        await pool.stop()
        if engine is not None:
            engine.cancel()


def _printed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
