import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.server import ROOT, Server, started
from tests.localhost.sample import APP, ended, eventually, notes, sample, start

pytestmark = pytest.mark.host


def _refused(app: Path, data: Path, *options: str) -> str:
    """What the host says when it does not start."""
    command = [sys.executable, "-m", "localhost", "--app", str(app), "--data", str(data), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_the_start_line_says_where_it_listens_and_where_the_data_is(host: Server) -> None:
    assert re.fullmatch(
        r"listening on http://127\.0\.0\.1:\d+ \(2 workers\), data in /.+/data", host.line
    )
    assert httpx.get(f"{host.address}/hello/x", timeout=30).status_code == 200
    assert host.data.is_dir()


def test_what_it_and_the_app_make_is_open_to_nobody_else(tmp_path: Path) -> None:
    data = tmp_path / "a" / "data"
    command = [sys.executable, "-m", "localhost", "--app", str(APP), "--port", "0", "--workers"]
    with (
        started([*command, "1", "--data", str(data)], tmp_path / "log") as server,
        httpx.Client(base_url=server.address, timeout=30) as http,
    ):
        http.post("/upload", content=b"x" * 10)
        assert http.get("/hello/x").status_code == 200
    made = [data, *data.rglob("*")]
    assert len(made) > 1
    assert [path for path in made if path.stat().st_mode & 0o077] == []


@pytest.fixture
def foreign_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_another_program_has_gives_one_clear_line(
    foreign_port: int, tmp_path: Path
) -> None:
    said = _refused(APP, tmp_path, "--port", str(foreign_port))
    assert said == f"cannot listen on 127.0.0.1:{foreign_port}: Address already in use\n"


def test_a_port_that_another_host_has_is_not_shared_with_it(host: Server, tmp_path: Path) -> None:
    said = _refused(APP, tmp_path, "--port", str(host.port))
    assert said == f"cannot listen on 127.0.0.1:{host.port}: Address already in use\n"


def test_an_app_that_cannot_be_imported_says_why(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{}")
    (tmp_path / "function_app.py").write_text("import no_such_module\n")
    said = _refused(tmp_path, tmp_path / "data", "--port", "0", "--workers", "1")
    assert "No module named 'no_such_module'" in said


def test_an_app_that_cannot_be_made_ready_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{}")
    (tmp_path / "app.py").write_text("def ready(): raise SystemExit('not today')\n")
    (tmp_path / "pyproject.toml").write_text('[tool.localhost]\nprepare = "app:ready"\n')
    said = _refused(tmp_path, tmp_path / "data", "--port", "0")
    assert said == "not today\napp:ready failed\n"


def test_a_schedule_that_cannot_be_read_gives_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{}")
    (tmp_path / "function_app.py").write_text(
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "@app.timer_trigger(arg_name='timer', schedule='%EVERY%')\n"
        "def tick(timer: func.TimerRequest) -> None: ...\n"
    )
    command = [sys.executable, "-m", "localhost", "--app", str(tmp_path), "--port", "0"]
    command += ["--data", str(tmp_path / "data"), "--workers", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("\nthe setting EVERY is not there, which %EVERY% names\n")
    assert "Traceback" not in done.stderr


def test_a_killed_worker_is_replaced_and_its_activities_are_handed_out_again(
    host: Server, http: httpx.Client
) -> None:
    workers = set(host.worker_pids())
    instance_id = start(http, "redelivered")
    victim = int(eventually(lambda: _lines(host, "slow_once", instance_id))[0].split()[1])
    os.kill(victim, signal.SIGKILL)
    with httpx.Client(base_url=host.address, timeout=30) as fresh:
        assert ended(fresh, instance_id)["output"] == instance_id
    first, second = (int(line.split()[1]) for line in _lines(host, "slow_once", instance_id))
    assert (first, second != victim) == (victim, True)
    replaced = eventually(lambda: now if len(now := set(host.worker_pids())) == 2 else None)
    assert len(replaced & workers) == 1
    eventually(lambda: all(host.serves(pid) for pid in replaced))


def test_work_waits_for_the_successor_of_the_only_worker(tmp_path: Path) -> None:
    with sample(tmp_path / "data", workers=1) as server:
        with httpx.Client(base_url=server.address, timeout=30) as http:
            instance_id = start(http, "redelivered")
        [victim] = server.worker_pids()
        eventually(lambda: _lines(server, "slow_once", instance_id))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: server.worker_pids() not in ([], [victim]))
        eventually(lambda: all(server.serves(pid) for pid in server.worker_pids()))
        with httpx.Client(base_url=server.address, timeout=30) as http:
            assert ended(http, instance_id)["output"] == instance_id


def _lines(server: Server, name: str, text: str) -> list[str]:
    return [line for line in notes(server, name) if line.startswith(text)]


def test_sigterm_lets_requests_under_way_end_with_all_they_need(tmp_path: Path) -> None:
    with (
        sample(tmp_path / "data", workers=1) as server,
        httpx.Client(base_url=server.address, timeout=30) as http,
        ThreadPoolExecutor(1) as requests,
    ):
        start(http, "patient")  # An orchestration that waits does not hold up the end.
        request = requests.submit(http.post, "/slow")
        eventually(lambda: notes(server, "slow"))
        server.process.terminate()
        answer = request.result(timeout=30)
        assert (answer.status_code, bool(answer.json()["id"])) == (200, True)
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log()
        assert "died" not in server.log()
