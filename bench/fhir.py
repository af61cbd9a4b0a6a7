"""Command: how fast a FHIR server is told of a whole archive, and with how many requests.

The archive is made without images: rows of the index, and the metadata that is read. The FHIR
server is the one of the tests, on the same cores.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import httpx

from bench.archive import fill
from tests.e2e.server import Server, running
from tests.fhir_server import FhirTestServer, running_fhir_server

_DEADLINE_SECONDS = 1800


def _export(server: Server, *, kill_at: int | None) -> tuple[str, float]:
    """Begin an export, and follow it to its end, or until the server is killed."""
    begun = time.perf_counter()
    answer = httpx.post(f"{server.v2}/fhir/$export", json={"source": {"type": "archive"}})
    address = answer.raise_for_status().json()["href"]
    _follow(address, kill_at)
    if kill_at is not None:
        server.kill()
    return address, time.perf_counter() - begun


def _follow(address: str, percent: int | None = None) -> dict[str, object]:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        operation: dict[str, object] = httpx.get(address, timeout=60).json()
        done = operation["percentComplete"]
        assert isinstance(done, int)
        print(f"\r{done} %", end="", flush=True)
        if operation["status"] in ("succeeded", "failed") or (
            percent is not None and done >= percent
        ):
            print()
            return operation
        time.sleep(0.5)
    raise TimeoutError(address)


def _run(folder: Path, fhir: FhirTestServer, options: argparse.Namespace) -> None:
    settings = {
        "FHIR_URL": fhir.url,
        "FHIR_DICOMWEB_URL": "http://127.0.0.1:7071/v2",
        "FHIR_PATIENT_SYSTEM": "urn:x-hospital:patient",
        "FHIR_ACCESSION_SYSTEM": "urn:x-hospital:accession",
        "FHIR_SYNC": "off",
    }
    seconds = 0.0
    with running(folder, settings) as server:
        address, seconds = _export(server, kill_at=options.kill_at)
    if options.kill_at is not None:
        with running(folder, settings) as server:
            begun = time.perf_counter()
            address = server.v2 + address[address.index("/operations") :]
            _report(_follow(address), fhir, seconds + time.perf_counter() - begun, options.studies)
        return
    with running(folder, settings) as server:
        address = server.v2 + address[address.index("/operations") :]
        _report(_follow(address), fhir, seconds, options.studies)


def _report(
    operation: dict[str, object], fhir: FhirTestServer, seconds: float, studies: int
) -> None:
    log = fhir.log()
    posts = [entry for entry in log if entry["method"] == "POST"]
    made = [
        one
        for entry in log
        for one in entry["entries"]
        if one["url"] == "ImagingStudy"
        and one["method"] == "POST"
        and entry["status"] == httpx.codes.OK
    ]
    print(operation["status"], operation["results"])
    print(f"{seconds:.1f} s, {studies / seconds:.1f} studies/s")
    print(f"{len(posts) / studies:.2f} requests a study, {len(made)} ImagingStudy created")
    for kind in ("ImagingStudy", "Patient", "Device", "Endpoint"):
        print(f"{kind}: {fhir.count(kind)}")


def main() -> None:
    """Parse the command line, fill, export, and print what it took."""
    parser = argparse.ArgumentParser(prog="bench.fhir", description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--instances", type=int, default=100, help="of each study")
    parser.add_argument("--kill-at", type=int, help="percentage at which the server is killed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, running_fhir_server() as fhir:
        folder = Path(temporary) / "data"
        asyncio.run(fill(folder, options.studies, options.instances, has_all_metadata=False))
        print(f"{options.studies * options.instances} instances are there")
        _run(folder, fhir, options)


if __name__ == "__main__":
    main()
