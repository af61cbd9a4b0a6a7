"""Containers that fail in the middle of an export: a real emulator, with faults before it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

from localhost.azurite import Azurite, azurite
from shared.adapters import export_blob_destination
from shared.adapters.azure_account import RETRIES
from shared.services import export_round
from shared.wiring import Services
from tests.archive import HOST, Client, open_archive
from tests.blob_proxy import BlobProxy, running_blob_proxy
from tests.builders import dataset, part10
from tests.engine import running_engine
from tests.functions.exports import UNKNOWN, asked, ended, lines, of, start, store_of

pytestmark = pytest.mark.host

_COUNT = 12
_FIRST = 4
"""So many instances are let pass before something happens."""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def proxy(emulator: Azurite) -> Iterator[BlobProxy]:
    with running_blob_proxy(emulator.endpoints["blob"].rpartition("/")[2]) as running:
        yield running


@pytest.fixture
def container(emulator: Azurite) -> Iterator[ContainerClient]:
    name = f"exports-{uuid4().hex}"
    with ContainerClient.from_connection_string(emulator.connection_string, name) as client:
        client.create_container()
        yield client


@pytest.fixture
async def services(
    tmp_path: Path, proxy: BlobProxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    monkeypatch.setattr(export_round, "BATCH", 3)
    monkeypatch.setattr(export_round, "PARALLEL", 2)
    monkeypatch.setattr(export_round, "PAUSE_SECONDS", (1,))
    # Pacing alone: what is tried again, and that it has an end, stays.
    retries = {**RETRIES, "retry_timeout": timedelta(seconds=1)}
    monkeypatch.setattr(export_blob_destination, "RETRIES", retries)
    async with open_archive(tmp_path, EXPORT_ALLOWED_HOSTS=proxy.authority) as opened:
        yield opened


@dataclass
class Exporting:
    """An export through the proxy, of instances that are stored already."""

    client: Client
    services: Services
    proxy: BlobProxy
    container: ContainerClient

    async def run(self, lasts: timedelta = timedelta(hours=1)) -> tuple[str, dict[str, Any]]:
        """Export all, with a signature that lasts so long; give id and document at the end."""
        sources = [dataset() for _ in range(_COUNT)]
        await store_of(self.client, sources)
        self.expiry = datetime.now(UTC) + lasts
        self.files = {f"results/{of(source)}.dcm": part10(source) for source in sources}
        sas = generate_container_sas(
            str(self.container.account_name),
            self.container.container_name,
            account_key=self.container.credential.account_key,
            permission=ContainerSasPermissions(write=True, create=True, add=True),
            expiry=self.expiry,
        )
        path = f"{self.container.account_name}/{self.container.container_name}"
        uri = f"http://{self.proxy.authority}/{path}?{sas}"
        place = {"type": "azureBlob", "settings": {"blobContainerUri": uri}}
        async with running_engine():
            answer = await start(self.client, asked(UNKNOWN, *map(of, sources), destination=place))
            document = await ended(self.client, answer)
        return answer.headers["location"].removeprefix(f"{HOST}/v2/operations/"), document

    def there(self, operation: str) -> dict[str, bytes]:
        """What is in the container."""
        return {
            name.removeprefix(f"{operation}/"): self.container.download_blob(name).readall()
            for name in self.container.list_blob_names(name_starts_with=f"{operation}/")
        }


@pytest.fixture
def exporting(
    client: Client, services: Services, proxy: BlobProxy, container: ContainerClient
) -> Exporting:
    return Exporting(client, services, proxy, container)


class Gate:
    """Lets some instances pass, and then does something with each that comes."""

    def __init__(self, status: int | None = None) -> None:
        self.status = status
        self.stopped = threading.Event()
        self._passed = 0
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str) -> int | None:
        if method != "PUT" or not path.endswith(".dcm"):
            return None
        with self._lock:
            self._passed += 1
            if self._passed <= _FIRST:
                return None
            self.stopped.set()
            return self.act()

    def act(self) -> int | None:
        """What happens to those that come late."""
        return self.status


async def _has_failed(exporting: Exporting, operation: str, document: dict[str, Any]) -> None:
    results = document["results"]
    assert document["status"] == "failed"
    assert results.keys() == {"errorHref", "exported", "skipped", "error"}
    assert await exporting.services.secrets.get(operation) is None
    found = exporting.there(operation)
    log = lines(found.pop("errors.log"))
    assert {line["identifier"] for line in log} == {UNKNOWN}
    # Of what cannot be told, nothing is claimed.
    assert len(found) == results["exported"] == _FIRST
    assert results["skipped"] == 1
    assert found.items() <= exporting.files.items()


@pytest.mark.parametrize("status", [403, 404, 503])
async def test_a_container_that_lets_nobody_write_any_more_ends_the_export(
    exporting: Exporting, status: int
) -> None:
    exporting.proxy.gate = Gate(status)
    operation, document = await exporting.run()
    await _has_failed(exporting, operation, document)


async def test_a_signature_that_expires_ends_the_export(
    exporting: Exporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is skipped is noted with the last of its batch, which must not be a late one.
    monkeypatch.setattr(export_round, "BATCH", 1)

    class Late(Gate):
        def act(self) -> None:
            left = exporting.expiry + timedelta(seconds=1) - datetime.now(UTC)
            time.sleep(max(0.0, left.total_seconds()))

    exporting.proxy.gate = Late()
    operation, document = await exporting.run(timedelta(seconds=6))
    await _has_failed(exporting, operation, document)


async def test_a_container_that_is_deleted_ends_the_export(exporting: Exporting) -> None:
    class Deleting(Gate):
        def act(self) -> None:
            if exporting.container.exists():
                exporting.container.delete_container()

    exporting.proxy.gate = Deleting()
    operation, document = await exporting.run()
    assert document["status"] == "failed"
    # Those that were let pass may have come too late.
    assert document["results"]["exported"] <= _FIRST
    assert await exporting.services.secrets.get(operation) is None


async def test_an_export_goes_on_when_the_container_answers_again(
    exporting: Exporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_round, "PAUSE_SECONDS", (1, 1, 1, 1))
    gate = Gate(503)
    exporting.proxy.gate = gate

    async def mend() -> None:
        await asyncio.to_thread(gate.stopped.wait)
        await asyncio.sleep(2)
        gate.status = None

    mending = asyncio.create_task(mend())
    operation, document = await exporting.run()
    await mending
    assert document["status"] == "succeeded"
    assert (document["results"]["exported"], document["results"]["skipped"]) == (_COUNT, 1)
    found = exporting.there(operation)
    assert {line["identifier"] for line in lines(found.pop("errors.log"))} == {UNKNOWN}
    assert found == exporting.files
