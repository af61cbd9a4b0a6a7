"""Command: measure the server, and Orthanc beside it where that is installed."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import uvloop

from bench import memory
from bench.client import Client, RequestFailedError
from bench.results import Results
from bench.servers import Server, StartError, is_orthanc_installed, orthanc, ours
from bench.workload import STEPS, Size, Step, Study, Visit

type Start = Callable[[Path], AbstractContextManager[Server]]

_CORES = 2
_WARM_UP = Size(slices=20, frames=8, repeats=20)


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=100, help="in the series of a round")
    parser.add_argument("--frames", type=int, default=200, help="of the multi-frame instance")
    parser.add_argument("--clients", type=int, default=8, help="that ask at the same time")
    parser.add_argument("--quick", action="store_true", help="leave out the 2 GB instance")
    parser.add_argument("--only", default="", help="steps whose name has this, and all stores")
    parser.add_argument("--alone", action="store_true", help="leave out Orthanc")
    parser.add_argument("--folder", type=Path, help="where the data lies, instead of $TMPDIR")
    parser.add_argument("--json", type=Path, help="also write the values of all rounds here")
    options = parser.parse_args()
    _share_cores()
    try:
        uvloop.run(_run(options))
    except StartError as error:
        sys.exit(str(error))


async def _run(options: argparse.Namespace) -> None:
    size = Size(options.slices, options.frames, options.clients)
    steps = [step for step in STEPS if _is_wanted(step, options.only)]
    with _servers(options) as servers:
        _print_setting(servers)
        results = await _measure(servers, steps, size, options.rounds)
        _print_results(results)
        if not options.quick:
            await _print_memory(servers[0], size)
    if options.json is not None:
        options.json.write_text(json.dumps(results.as_dict(), indent=1))


def _is_wanted(step: Step, only: str) -> bool:
    return only in step.__name__ or step.__name__.startswith("store")


def _share_cores() -> None:
    """Keep this process and the servers it starts to as many cores as the aims are meant for."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])


@contextmanager
def _servers(options: argparse.Namespace) -> Iterator[Sequence[Server]]:
    starts: list[Start] = [ours]
    if is_orthanc_installed() and not options.alone:
        starts.append(orthanc)
    with ExitStack() as stack:
        folders = [
            Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
            for _ in starts
        ]
        yield [
            stack.enter_context(start(folder))
            for start, folder in zip(starts, folders, strict=True)
        ]


async def _measure(
    servers: Sequence[Server], steps: Sequence[Step], size: Size, rounds: int
) -> Results:
    """Let the servers take turns in every step, so that a drift of the machine hits all alike."""
    results = Results([server.name for server in servers])
    clients = {server.name: Client(server.base_url) for server in servers}
    for number in range(-1, rounds):
        size_now = replace(_WARM_UP, clients=size.clients) if number < 0 else size
        study = Study.new(size_now)
        for step in steps:
            for name in results.servers if number % 2 else reversed(results.servers):
                visit = Visit(clients[name], study, size_now)
                try:
                    async for metric, value in step(visit):
                        if number >= 0:
                            results.add(metric, name, value)
                except* RequestFailedError as failed:
                    results.fail(f"{step.__name__} on {name}: {failed.exceptions[0]}")
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    for client in clients.values():
        client.close()
    return results


def _print_setting(servers: Sequence[Server]) -> None:
    print(f"{_CORES} cores for the servers and the load alike. Synced before a Store is answered:")
    for server in servers:
        print(f"  {server.name}: {server.syncs}")
    if len(servers) == 1:
        print("  (Orthanc is not measured: left out, or not installed with its DICOMweb plugin)")
    print(flush=True)


def _print_results(results: Results) -> None:
    print(results.table())
    for failure in results.failures:
        print(f"not measured: {failure}")


async def _print_memory(server: Server, size: Size) -> None:
    if not memory.can_be_measured():
        print("peak memory: not measured, as this system does not tell it")
        return
    visit = Visit(Client(server.base_url), Study.new(_WARM_UP), size)
    stored, retrieved = await memory.peak_growth_bytes(visit, server.process_id, size=2 * 10**9)
    visit.client.close()
    print(
        f"\npeak memory of all processes of our server, above rest, for an instance of 2 GB: "
        f"Store +{stored / 1e6:.0f} MB, Retrieve +{retrieved / 1e6:.0f} MB (aim: below 100 MB)"
    )


if __name__ == "__main__":
    main()
