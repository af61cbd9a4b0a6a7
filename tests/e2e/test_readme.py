"""What the README's first screen tells a new user to type."""

import os
import re
import signal
import subprocess
import sys
from json import JSONDecoder
from pathlib import Path

import httpx
import pytest

from tests.e2e.server import ROOT, Server, started
from tests.e2e.wire import FAILED_SOP_SEQUENCE, REFERENCED_SOP_SEQUENCE, client, search

pytestmark = pytest.mark.host

_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _curl_lines() -> str:
    blocks: list[str] = _SHELL.findall((ROOT / "README.md").read_text())
    [found] = [block for block in blocks if "curl" in block]
    return found


def test_its_curl_lines_store_find_and_fetch_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    lines = _curl_lines().replace("127.0.0.1:7071", f"127.0.0.1:{server.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    stored, end = JSONDecoder().raw_decode(done.stdout)
    found, end = JSONDecoder().raw_decode(done.stdout, end)
    assert REFERENCED_SOP_SEQUENCE in stored
    assert FAILED_SOP_SEQUENCE not in stored
    assert found[0]["00100010"]["Value"] == [{"Alphabetic": "CompressedSamples^CT1"}]
    assert done.stdout[end:] == "identical\n"
    # So that others can store the same file.
    [study] = found[0]["0020000D"]["Value"]
    assert httpx.delete(f"{server.v2}/studies/{study}").status_code == 204


async def test_make_serve_serves_where_it_is_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = ["make", "--no-print-directory", "serve", "PORT=0", f"DATA={data}", "WORKERS=1"]
    with started(command, data) as server:
        assert server.data == data
        assert server.workers == 1
        async with client(server.v2) as http:
            assert await search(http, "/studies") == []
        # What make was told to run is stopped, and make ends with it.
        [serving] = server.pids()[1:]
        os.kill(serving, signal.SIGTERM)
        assert server.process.wait(40) == 0, server.log()
