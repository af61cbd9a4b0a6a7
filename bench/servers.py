"""The servers that are measured: each on a free port of loopback, its data in a folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

PROJECT = Path(__file__).parent.parent
_START_SECONDS = 60
_STOP_SECONDS = 40
_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")


class StartError(Exception):
    """A server did not come up; the text says where its log is."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        base_url: Root of its DICOMweb service.
        syncs: What it brings to the disk before it acknowledges a Store.
        process_id: Of the process whose children, if any, are its workers.
    """

    name: str
    base_url: str
    syncs: str
    process_id: int


@contextmanager
def ours(folder: Path, *, workers: int = 2) -> Iterator[Server]:
    """This project's app under its local host, as `make serve` runs it."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "localhost", "--port", "0", "--workers", str(workers)]
    with _running([*command, "--data", str(folder / "data")], log) as process:
        root = _listening_on(process, log)
        yield Server(
            "ours",
            f"{root}/v2",
            "files, their folders, metadata files; every commit of the index (WAL, FULL)",
            process.pid,
        )


@contextmanager
def orthanc(folder: Path) -> Iterator[Server]:
    """Orthanc with its DICOMweb plugin, set to sync what it can."""
    program, plugin = _orthanc_files()
    port = _free_port()
    configuration = {
        "Name": "bench",
        "StorageDirectory": str(folder / "data"),
        "IndexDirectory": str(folder / "data"),
        "StorageCompression": False,
        "SyncStorageArea": True,
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "KeepAlive": True,
        "DicomServerEnabled": False,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    log = folder / "server.log"
    with _running([str(program), str(file)], log) as process:
        _wait_until_answered(process, port, log)
        yield Server(
            "orthanc",
            f"http://127.0.0.1:{port}/dicom-web",
            "files; its index at checkpoints only (WAL, NORMAL: built in)",
            process.pid,
        )


def is_orthanc_installed() -> bool:
    """Whether both Orthanc and its DICOMweb plugin are there."""
    return all(_orthanc_files())


def _orthanc_files() -> tuple[Path | None, Path | None]:
    program = shutil.which("Orthanc", path=os.environ.get("PATH", "") + ":/usr/sbin")
    plugins = (
        plugin
        for folder in _PLUGIN_FOLDERS
        for plugin in sorted(Path(folder).glob("libOrthancDicomWeb.so*"))
    )
    return Path(program) if program else None, next(plugins, None)


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, "EMBEDDED_SYNC": "on"},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _listening_on(process: subprocess.Popen[bytes], log: Path) -> str:
    mark = "listening on "
    for _ in _attempts(process, log):
        line = next((line for line in log.read_text().splitlines() if mark in line), None)
        if line is not None:
            return line.partition(mark)[2].split()[0]
    raise StartError(_did_not_start(log))


def _wait_until_answered(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in _attempts(process, log):
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/dicom-web/studies")
            if connection.getresponse().status == 200:
                return
        except OSError:
            continue
        finally:
            connection.close()
    raise StartError(_did_not_start(log))


def _attempts(process: subprocess.Popen[bytes], log: Path) -> Iterator[None]:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise StartError(_did_not_start(log))
        yield
        time.sleep(0.1)


def _did_not_start(log: Path) -> str:
    return "the server did not start:\n" + log.read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
