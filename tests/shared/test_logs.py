import asyncio
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from shared.logs import told

ROOT = Path(__file__).parents[2]
CANARY = "Canary^Tweety"


def _fail_twice() -> None:
    try:
        int(CANARY)
    except ValueError as error:
        raise LookupError(f"no {CANARY}") from error


def test_an_exception_is_told_by_its_places_and_types() -> None:
    try:
        _fail_twice()
    except LookupError as error:
        text = told(error)

    assert CANARY not in text
    assert text.index("builtins.ValueError") < text.index("builtins.LookupError")
    assert text.count("in _fail_twice") == 2
    assert "test_logs.py" in text


def test_the_parts_of_a_group_are_told_likewise() -> None:
    error = ExceptionGroup(CANARY, [OSError(CANARY), ExceptionGroup(CANARY, [KeyError(CANARY)])])

    text = told(error)

    assert CANARY not in text
    assert [kind in text for kind in ("OSError", "KeyError", "ExceptionGroup")] == [True] * 3


def test_a_chain_that_leads_back_to_its_start_ends() -> None:
    first, second = ValueError(CANARY), KeyError(CANARY)
    first.__context__, second.__context__ = second, first

    assert told(first).count("Traceback") == 2


@pytest.mark.parametrize("logger", ["functions.endpoint", "uvicorn.error", "any.library", "root"])
def test_no_logger_says_what_an_exception_says(
    caplog: pytest.LogCaptureFixture, logger: str
) -> None:
    try:
        _fail_twice()
    except LookupError as error:
        logging.getLogger(logger).exception("it failed")
        logging.getLogger(logger).warning("it failed: %s", error)
        logging.getLogger(logger).warning(error)

    lines = [logging.Formatter().format(record) for record in caplog.records]
    assert CANARY not in "".join(lines)
    assert "in _fail_twice" in lines[0]
    assert lines[1:] == ["it failed: LookupError", "LookupError"]


async def test_the_event_loop_does_not_quote_an_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def failing() -> None:
        raise ValueError(CANARY)

    loop = asyncio.get_running_loop()
    task = loop.create_task(failing())
    await asyncio.wait([task])
    error = task.exception()
    loop.call_exception_handler({"message": "never seen", "exception": error, "task": task})

    line = logging.Formatter().format(caplog.records[-1])
    assert line.startswith("never seen\nTraceback")
    assert CANARY not in line


def test_pydicom_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("pydicom").error("Invalid value: %s", CANARY)
    assert caplog.text == ""


_AS_ON_AZURE = """
import asyncio, logging, socket, sys, urllib.request
logging.basicConfig(level=logging.DEBUG)
import function_app
from azurefunctions.extensions.http.fastapi import WebServer
from azurefunctions.extensions.http.fastapi.web import WebApp
from starlette.responses import PlainTextResponse

async def main():
    app = WebApp()
    async def answer(request):
        if "fail" in request.url.path:
            raise ValueError(str(request.url))
        return PlainTextResponse("found")
    app.web_app.router.add_route("/{path:path}", answer)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = asyncio.create_task(WebServer("127.0.0.1", port, app).serve())
    def ask(path):
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}?PatientName=Canary").read()
    while True:
        await asyncio.sleep(0.05)
        try:
            assert await asyncio.to_thread(ask, "studies") == b"found"
            break
        except OSError:
            continue
    try:
        await asyncio.to_thread(ask, "fail")
    except OSError as error:
        sys.stderr.write(f"answered {error.code}")
    serving.cancel()
    await asyncio.wait([serving])

asyncio.run(main())
"""


@pytest.mark.host
def test_the_web_server_that_runs_on_azure_logs_no_query_string() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AS_ON_AZURE], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "Uvicorn running" in done.stderr
    assert "answered 500" in done.stderr
    assert "ValueError" in done.stderr
    assert "Canary" not in done.stdout + done.stderr
