"""The sample app under the local host, and waiting for what it does."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.server import Server, started

APP = Path(__file__).parent / "sample_app"
_PATIENCE_SECONDS = 30


@contextmanager
def sample(
    data: Path, settings: Mapping[str, str] | None = None, workers: int = 2
) -> Iterator[Server]:
    """The host with the sample app, stopped in the end."""
    command = [sys.executable, "-m", "localhost", "--app", str(APP), "--port", "0"]
    command += ["--data", str(data), "--workers", str(workers)]
    with started(command, data, settings) as server:
        yield server


def notes(server: Server, name: str) -> list[str]:
    """The lines that functions of the app have left so far."""
    file = server.data / f"{name}.log"
    return file.read_text().splitlines() if file.exists() else []


def eventually[T](read: Callable[[], T | None], seconds: float = _PATIENCE_SECONDS) -> T:
    """The first value that is true, looked for again and again."""
    end = time.monotonic() + seconds
    while not (found := read()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.02)
    return found


def start(http: httpx.Client, name: str) -> str:
    """Start an orchestration, and give its id."""
    answer = http.post(f"/start/{name}")
    assert answer.status_code == 200
    return str(answer.json()["id"])


def ended(http: httpx.Client, instance_id: str, seconds: float = _PATIENCE_SECONDS) -> Any:
    """The status of an orchestration as soon as it has ended."""

    def look() -> Any:
        status = http.get(f"/status/{instance_id}").json()
        return status if status["status"] not in (None, "Pending", "Running") else None

    return eventually(look, seconds)


def run(http: httpx.Client, name: str) -> Any:
    """Start an orchestration and wait for its end."""
    return ended(http, start(http, name))


def fired(server: Server, name: str) -> list[dict[str, Any]]:
    """What the blob trigger was given for a blob, one for each time it fired."""
    found: list[dict[str, Any]] = [json.loads(line) for line in notes(server, "blob")]
    return [blob for blob in found if blob["name"] == f"inbox/{name}"]
