"""Command: how fast an archive is indexed by tags that come after it, and what that takes."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import httpx

from bench.archive import fill
from tests.e2e.server import Server, running

_INSTANCES_OF_STUDY = 100
_DEADLINE_SECONDS = 1800
_TAGS = [
    {"path": "DeviceSerialNumber", "level": "Series"},
    {"path": "BodyPartExamined", "level": "Series"},
    {"path": "PatientAge", "level": "Study"},
]
_MEGABYTE = 1_048_576


def _reindex(server: Server, instances: int) -> None:
    begun, cpu = time.perf_counter(), _cpu_seconds(server)
    answer = httpx.post(f"{server.v2}/extendedquerytags", json=_TAGS, timeout=60)
    address = answer.raise_for_status().json()["href"]
    told = -10
    while time.perf_counter() - begun < _DEADLINE_SECONDS:
        operation = httpx.get(address, timeout=60).json()
        percent = operation["percentComplete"]
        if percent >= told + 10:
            told = percent
            print(f"{percent:3} %, {_memory(server)} MiB now, by process", flush=True)
        if operation["status"] not in ("notStarted", "running"):
            break
        time.sleep(0.2)
    seconds = time.perf_counter() - begun
    print(operation["status"], f"{seconds:.1f} s, {instances / seconds:.0f} instances/s")
    used = _cpu_seconds(server) - cpu
    print(f"{used:.1f} s of processor time, {used / seconds:.2f} processors")
    print(f"most memory of all processes together: {server.peak_memory_bytes() // _MEGABYTE} MiB")
    found = httpx.get(f"{server.v2}/series", params={"DeviceSerialNumber": "7", "limit": "5000"})
    print(f"{len(found.json())} series are found by a new tag")


def _cpu_seconds(server: Server) -> float:
    ticks = 0
    for pid in server.pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def _memory(server: Server) -> list[int]:
    found = []
    for pid in server.pids():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        [size] = [line.split()[1] for line in lines if line.startswith("VmRSS")]
        found.append(int(size) // 1024)
    return found


def main() -> None:
    """Parse the command line, fill, index anew, and print what it took."""
    parser = argparse.ArgumentParser(prog="bench.reindex", description=__doc__)
    parser.add_argument("--instances", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data"
        studies = options.instances // _INSTANCES_OF_STUDY
        asyncio.run(fill(folder, studies, _INSTANCES_OF_STUDY, has_all_metadata=True))
        print(f"{options.instances} instances are there")
        with running(folder) as server:
            _reindex(server, options.instances)


if __name__ == "__main__":
    main()
