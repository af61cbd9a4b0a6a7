"""A real FHIR server, of another maker, which the tests install and start."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from localhost.installing import installed_once

_SOURCE = Path(__file__).with_name("fhir") / "npm"
_CACHE = Path(__file__).parents[1] / ".cache"


@dataclass(frozen=True)
class FhirTestServer:
    """A server that forgets all when it is reset."""

    address: str
    http: httpx.Client

    @property
    def url(self) -> str:
        """Its base address."""
        return f"{self.address}/fhir/R4"

    def reset(self) -> None:
        """Forget everything."""
        self.http.post(f"{self.address}/_test/reset").raise_for_status()

    def log(self) -> list[dict[str, Any]]:
        """The requests it has had: method, URL, status, and the entries of bundles."""
        found: list[dict[str, Any]] = self.http.get(f"{self.address}/_test/log").json()
        return found

    def all(self, resource_type: str) -> list[dict[str, Any]]:
        """All resources of a type."""
        bundle = self.http.get(f"{self.url}/{resource_type}", params={"_count": "1000"}).json()
        return [entry["resource"] for entry in bundle.get("entry", ())]

    def count(self, resource_type: str) -> int:
        """How many resources of a type there are."""
        found: int = self.http.get(f"{self.url}/{resource_type}", params={"_count": "1"}).json()[
            "total"
        ]
        return found

    def one(self, resource_type: str) -> dict[str, Any]:
        """The only resource of a type."""
        [found] = self.all(resource_type)
        return found

    def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Make a resource, as somebody else would."""
        answer = self.http.post(f"{self.url}/{resource['resourceType']}", json=resource)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def update(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Write a resource, as somebody else would."""
        url = f"{self.url}/{resource['resourceType']}/{resource['id']}"
        answer = self.http.put(url, json=resource)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def running_fhir_server(*arguments: str) -> Iterator[FhirTestServer]:
    """Run a server of its own; for its arguments, see there."""
    command = ["node", "server.mjs", *arguments]
    with subprocess.Popen(command, cwd=modules(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), "the FHIR server has not started"
            # The server ends connections that are idle for five seconds.
            limits = httpx.Limits(keepalive_expiry=2)
            with httpx.Client(limits=limits, timeout=30) as http:
                yield FhirTestServer(address, http)
        finally:
            process.kill()


def modules() -> Path:
    """Where the server is installed."""
    parts = [file.read_bytes() for file in _files()]
    digest = hashlib.sha256(b"|".join(parts)).hexdigest()[:16]
    return installed_once(_CACHE / f"fhir-{digest}", _install)


def _files() -> Sequence[Path]:
    return [_SOURCE / name for name in ("package.json", "package-lock.json", "server.mjs")]


def _install(folder: Path) -> None:
    for file in _files():
        shutil.copy(file, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
