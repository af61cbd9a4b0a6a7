"""The server as users start it: a process that is waited for, looked into, stopped and killed."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKERS = 2
_START_SECONDS = 60
_STOP_SECONDS = 40
_LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:(\d+)) \((\d+) workers\), data in (.+)")


class Server:
    """A running server; `address` has no version and no final slash."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        # It is killed at the latest by this timer, so that a server that hangs fails the test.
        timer = threading.Timer(_START_SECONDS, process.kill)
        timer.start()
        try:
            self.line = "" if process.stdout is None else process.stdout.readline().rstrip("\n")
        finally:
            timer.cancel()
        found = _LISTENING.fullmatch(self.line)
        assert found is not None, f"{self.line!r}\n{self.log()}"
        self.address = found[1]
        self.port = int(found[2])
        self.workers = int(found[3])
        self.data = Path(found[4])

    @property
    def v1(self) -> str:
        return f"{self.address}/v1"

    @property
    def v2(self) -> str:
        return f"{self.address}/v2"

    def log(self) -> str:
        """What it wrote to its standard error."""
        return self._log.read_text()

    def worker_pids(self) -> list[int]:
        """The processes that serve."""
        return [pid for pid in _children(self.process.pid) if _is_worker(pid)]

    def serves(self, pid: int) -> bool:
        """Whether a process listens on the port."""
        return bool(_sockets(self.port, 0) & _sockets_of(pid))

    def worker_of(self, client_port: int) -> int:
        """The worker at the other end of a client's connection."""
        [inode] = _sockets(self.port, client_port)
        return next(pid for pid in self.worker_pids() if inode in _sockets_of(pid))

    def pids(self) -> list[int]:
        """All its processes, the parent first."""
        return [self.process.pid, *_children(self.process.pid)]

    def peak_memory_bytes(self) -> int:
        """The most memory that its processes ever held, added up."""
        return sum(_status(pid, "VmHWM") for pid in self.pids())

    def io(self, count: str) -> int:
        """A count of /proc/<pid>/io, added up over its processes."""
        return sum(_io(pid, count) for pid in self.pids())

    def stop(self) -> None:
        """Ask it to end, and see that it ends well."""
        self.process.terminate()
        assert self.process.wait(_STOP_SECONDS) == 0, self.log()

    def kill(self) -> None:
        """Take all its processes away at once, as a power cut would."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def blob_names(self) -> set[str]:
        """The blobs of instances that lie in the data folder, staged ones too."""
        kinds = ("dicom", "metadata", "frames", "staging")
        return {
            str(file.relative_to(self.data))
            for kind in kinds
            for file in (self.data / kind).rglob("*")
            if file.is_file()
        }


@contextmanager
def running(
    data: Path, settings: Mapping[str, str] | None = None, *, workers: int = WORKERS
) -> Iterator[Server]:
    """A server with its data in a folder, stopped in the end unless it is dead already.

    Each worker takes seconds to start; one will do where it is no matter which of them answers.
    """
    command = [sys.executable, "-m", "localhost", "--port", "0", "--data", str(data)]
    with started([*command, "--workers", str(workers)], data, settings) as server:
        yield server


@contextmanager
def started(
    command: list[str], data: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """The server that a command starts in the project's folder."""
    data.mkdir(parents=True, exist_ok=True)
    log = data.with_name(data.name + ".log")
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(settings or {})},
        )
    try:
        server = Server(process, log)
        yield server
        if process.poll() is None:
            server.stop()
    finally:
        for pid in (*_children(process.pid), process.pid):
            if process.poll() is None:
                os.kill(pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _sockets(port: int, remote_port: int) -> set[str]:
    """The inodes of sockets by their ports; one that listens has no remote port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return {
        field[9]
        for field in fields
        if int(field[1][-4:], 16) == port and int(field[2][-4:], 16) == remote_port
    }


def _sockets_of(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def _is_worker(pid: int) -> bool:
    return b"localhost.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _status(pid: int, name: str) -> int:
    """A number of kB of a process' status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def _io(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
