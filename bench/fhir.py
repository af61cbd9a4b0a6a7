"""Command: how fast a FHIR server is told of a whole archive, and with how many requests.

The archive is made without images: rows of the index, and the metadata that is read. The FHIR
server is the one of the tests, on the same cores.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from itertools import batched
from pathlib import Path

import httpx

from bench.large_index import document
from shared.adapters.obstore_blobs import ObstoreBlobs
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.migrate import migrate
from shared.dicom.blob_names import metadata_blob, new_blob_id
from shared.dicom.json_model import Document
from shared.dicom.resource import ResourcePath
from shared.dicom.searchable import indexed_attributes
from shared.dicom.uid import Uid
from shared.ports import DEFAULT_PARTITION_NAME, InstanceFile, NewInstance
from shared.services.metadata_file import MetadataFile
from shared.wiring import index_url
from tests.e2e.server import Server, running
from tests.fhir_server import FhirTestServer, running_fhir_server

_AT_ONCE = 4000
_SERIES = 4
_CT = "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_DEADLINE_SECONDS = 1800


def _data_set(study: int, series: int, number: int, uid: str) -> Document:
    return document(
        SOPClassUID=_CT,
        SOPInstanceUID=f"{uid}.{series}.{number}",
        StudyDate="20240102",
        StudyTime="030405",
        AccessionNumber=f"A{study}",
        Modality="CT",
        Manufacturer="Maker",
        ManufacturerModelName="Model",
        DeviceSerialNumber=f"{study % 10}",
        ReferringPhysicianName={"Alphabetic": "Roe^Jane"},
        StudyDescription="CT Thorax",
        SeriesDescription=f"Series {series}",
        BodyPartExamined="CHEST",
        PatientName={"Alphabetic": f"Family{study}^Given"},
        PatientID=f"P{study // 2}",
        PatientSex="F",
        TimezoneOffsetFromUTC="+0100",
        StudyInstanceUID=uid,
        SeriesInstanceUID=f"{uid}.{series}",
        SeriesNumber=series,
        InstanceNumber=number,
    )


def _instances(studies: int, instances: int) -> Iterator[tuple[NewInstance, Document, bool]]:
    """Instances, their data sets, and whether these are read: of each series the newest is."""
    for study in range(studies):
        uid = f"2.25.{10**12 + study}"
        of_series = instances // _SERIES
        for series in range(1, _SERIES + 1):
            for number in range(1, of_series + 1):
                data_set = _data_set(study, series, number, uid)
                path = ResourcePath(
                    Uid(uid), Uid(f"{uid}.{series}"), Uid(f"{uid}.{series}.{number}")
                )
                blob_id = new_blob_id()
                file = InstanceFile(blob_id, 526_000, blob_id * 2, _EXPLICIT, 1500)
                new = NewInstance(path, file, indexed_attributes(data_set))
                yield new, data_set, number == of_series


async def _fill(folder: Path, studies: int, instances: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    migrate(index_url(folder))
    index, blobs = (
        SqlIndex(index_url(folder), sync=False),
        ObstoreBlobs.in_folder(folder, sync=False),
    )
    partition = await index.find_partition(DEFAULT_PARTITION_NAME)
    assert partition is not None
    for batch in batched(_instances(studies, instances), _AT_ONCE, strict=False):
        for new, data_set, is_read in batch:
            if is_read:
                name = metadata_blob(new.file.blob_id)
                kept = MetadataFile(partition.name, new.path, new.file, {}, data_set)
                await blobs.put(name, kept.pack())
        await index.commit(partition, [new for new, _, _ in batch])
    await index.close()


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
        asyncio.run(_fill(folder, options.studies, options.instances))
        print(f"{options.studies * options.instances} instances are there")
        _run(folder, fhir, options)


if __name__ == "__main__":
    main()
