"""Exports of a running server: one that is killed in the middle, and one to Azurite."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas
from pydicom import Dataset

from localhost.azurite import azurite
from tests.builders import image, part10
from tests.e2e.server import running
from tests.e2e.wire import client, store_parts

pytestmark = pytest.mark.host

_SECONDS = 60
_UNKNOWN = "1.2.3.4"


def _name(source: Dataset) -> str:
    return f"{source.StudyInstanceUID}/{source.SeriesInstanceUID}/{source.SOPInstanceUID}.dcm"


def _study(count: int, **keywords: Any) -> list[Dataset]:
    sources = [image(**keywords) for _ in range(count)]
    for source in sources:
        source.StudyInstanceUID = sources[0].StudyInstanceUID
    return sources


def _asked(destination: dict[str, Any], *studies: str) -> dict[str, Any]:
    source = {"type": "identifiers", "settings": {"values": studies}}
    return {"source": source, "destination": destination}


async def _ended(http: httpx.AsyncClient, operation: str) -> dict[str, Any]:
    async with asyncio.timeout(_SECONDS):
        while True:
            answer = await http.get(f"operations/{operation}")
            if answer.status_code == 200:
                document: dict[str, Any] = answer.json()
                return document
            await asyncio.sleep(0.1)


async def test_an_export_whose_server_is_killed_ends_with_exact_counts(tmp_path: Path) -> None:
    sources = _study(400)
    files = {_name(source): part10(source) for source in sources}
    out = tmp_path / "out"
    settings = {"EXPORT_FOLDER": str(out), "EMBEDDED_SYNC": "off"}
    asked = _asked({"type": "folder", "settings": {}}, sources[0].StudyInstanceUID, _UNKNOWN)
    with running(tmp_path / "data", settings) as server:
        async with client(server.v2) as http:
            assert (await store_parts(http, list(files.values()))).status_code == 200
            started = await http.post("export", json=asked)
            assert started.status_code == 202, started.text
            operation = started.json()["id"]
            async with asyncio.timeout(_SECONDS):
                while len(list(out.rglob("*.dcm"))) < 30:
                    await asyncio.sleep(0.01)
        server.kill()
    assert len(list(out.rglob("*.dcm"))) < len(files)
    with running(tmp_path / "data", settings) as server:
        async with client(server.v2) as http:
            document = await _ended(http, operation)
    assert document["status"] == "succeeded"
    assert document["percentComplete"] == 100
    assert (document["results"]["exported"], document["results"]["skipped"]) == (400, 1)
    results = out / operation / "results"
    found = {str(file.relative_to(results)): file.read_bytes() for file in results.rglob("*.dcm")}
    assert found == files
    assert _UNKNOWN in (out / operation / "errors.log").read_text()


async def test_an_export_to_a_container_leaves_its_signature_nowhere(tmp_path: Path) -> None:
    # One of several blocks among them.
    sources = [*_study(5), image(rows=2048, columns=2500)]
    files = {_name(source): part10(source) for source in sources}
    with azurite(tmp_path / "azurite") as emulator:
        container = ContainerClient.from_connection_string(emulator.connection_string, "exports")
        with container:
            container.create_container()
            sas = generate_container_sas(
                str(container.account_name),
                "exports",
                account_key=container.credential.account_key,
                permission=ContainerSasPermissions(read=True, write=True, create=True, add=True),
                expiry=datetime.now(UTC) + timedelta(hours=1),
            )
            signature = sas.partition("sig=")[2].partition("&")[0]
            host = container.url.split("/")[2]
            uri = {"blobContainerUri": f"{container.url}?{sas}"}
            settings = {"EXPORT_ALLOWED_HOSTS": host, "EMBEDDED_SYNC": "off"}
            asked = _asked(
                {"type": "azureBlob", "settings": uri},
                sources[0].StudyInstanceUID,
                sources[-1].StudyInstanceUID,
                _UNKNOWN,
            )
            data = tmp_path / "data"
            with running(data, settings) as server:
                async with client(server.v2) as http:
                    assert (await store_parts(http, list(files.values()))).status_code == 200
                    started = await http.post("export", json=asked)
                    assert started.status_code == 202, started.text
                    operation = started.json()["id"]
                    document = await _ended(http, operation)
                    # What it may not write to, and what is not there.
                    other = uri["blobContainerUri"].replace("/exports?", "/nowhere?")
                    asked["destination"]["settings"] = {"blobContainerUri": other}
                    assert (await http.post("export", json=asked)).status_code == 400
                    asked["destination"]["settings"] = {"blobContainerUri": container.url}
                    assert (await http.post("export", json=asked)).status_code == 400
                log = server.log()
            results = document["results"]
            assert (results["exported"], results["skipped"]) == (6, 1)
            assert results["errorHref"] == f"{container.url}/{operation}/errors.log"
            prefix = f"{operation}/results/"
            found = {
                name.removeprefix(prefix): container.download_blob(name).readall()
                for name in container.list_blob_names(name_starts_with=prefix)
            }
            assert found == files
            errors = container.download_blob(f"{operation}/errors.log").readall()
            assert _UNKNOWN.encode() in errors
    told = [started.text, str(document), log]
    assert not any(signature in text for text in told)
    for file in filter(Path.is_file, data.rglob("*")):
        assert signature.encode() not in file.read_bytes(), file
