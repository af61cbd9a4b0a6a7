"""Command: run the function app of a folder on this machine."""

import argparse
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localhost.blob_triggers import run_blob_trigger
from localhost.front import DEFAULT_BODY_LIMIT_BYTES
from localhost.messages import Function, Start
from localhost.pool import Pool, StartError
from localhost.timers import run_timer
from localhost.worker import shared_port

if TYPE_CHECKING:
    from localhost.durable import Durable

DURABLE_BINDINGS = ("orchestrationTrigger", "activityTrigger", "entityTrigger", "durableClient")

_log = logging.getLogger("localhost")


def main() -> None:
    """Parse the command line and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="localhost", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path(), help="folder of function_app.py")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7071, help="0 takes a free one")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="the app's data folder")
    parser.add_argument("--workers", type=int, default=2, help="processes that serve")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in ("azure", "durabletask"):
        logging.getLogger(name).setLevel(logging.WARNING)
    app = options.app.resolve()
    data = options.data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    host_json = json.loads((app / "host.json").read_text())
    project = _project(app)
    _set_environment(app, data, options.host, project.get("settings", {}))
    try:
        asyncio.run(_serve(options, app, data, host_json, project.get("prepare")))
    except StartError as error:
        sys.exit(str(error))


def _project(app: Path) -> dict[str, Any]:
    """What the app's pyproject.toml says under [tool.localhost]."""
    file = app / "pyproject.toml"
    found: dict[str, Any] = (
        tomllib.loads(file.read_text()).get("tool", {}).get("localhost", {})
        if file.exists()
        else {}
    )
    return found


def _set_environment(app: Path, data: Path, host: str, defaults: dict[str, str]) -> None:
    """Settings as the app will see them: those of the shell, of local.settings.json, defaults."""
    file = app / "local.settings.json"
    values = json.loads(file.read_text()).get("Values", {}) if file.exists() else {}
    os.environ["DATA_DIRECTORY"] = str(data)
    os.environ["LISTEN_ADDRESS"] = host
    for name, value in (*values.items(), *defaults.items()):
        os.environ.setdefault(name, str(value))


async def _serve(
    options: argparse.Namespace,
    app: Path,
    data: Path,
    host_json: dict[str, Any],
    prepare: str | None,
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        # Held, never listened on: so the port stays ours while workers come and go.
        reserved = shared_port(options.host, options.port)
    except OSError as error:
        raise StartError(f"cannot listen on {options.host}:{options.port}: {error}") from error
    port: int = reserved.getsockname()[1]
    if prepare is not None:
        await asyncio.to_thread(_prepare, app, prepare)
    prefix = host_json.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    limit = int(os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") or DEFAULT_BODY_LIMIT_BYTES)
    pool = Pool(Start(app, options.host, port, prefix, limit), options.workers)
    try:
        functions = await pool.load()
        base_url = f"http://{_printed(options.host)}:{port}"
        durable = _durable(functions, pool)
        await pool.serve(durable.client_config(base_url, _hub(host_json)) if durable else None)
        jobs = [run_timer(pool, f) for f in _triggered(functions, "timerTrigger")]
        jobs += [run_blob_trigger(pool, f, data) for f in _triggered(functions, "blobTrigger")]
        jobs += [durable.run()] if durable else []
        _say(f"listening on {base_url} ({options.workers} workers), data in {data}")
        await _until(stopping, jobs)
    finally:
        await pool.stop()


def _prepare(app: Path, function: str) -> None:
    """Let the app make itself ready, in a process that ends before any worker starts."""
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


def _hub(host_json: dict[str, Any]) -> str:
    settings: dict[str, str] = host_json.get("extensions", {}).get("durableTask", {})
    return settings.get("hubName", "TestHub")


async def _until(stopping: asyncio.Event, jobs: list[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job) for job in jobs]
        await stopping.wait()
        for task in tasks:
            task.cancel()


def _printed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
