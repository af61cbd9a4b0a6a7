"""One server that is told of one patient in every way there is; then everything it told others."""

import gzip
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from tests.builders import image, multipart, part10
from tests.e2e.server import Server, running
from tests.fhir_server import FhirTestServer, running_fhir_server
from tests.telemetry_receiver import Received, receiving

pytestmark = pytest.mark.host

NAME, ID, BIRTH_DATE = "Zanahary^Ketsia", "ZANAHARY-77", "19010203"
CANARIES = (b"zanahary", b"ketsia", BIRTH_DATE.encode())
TEXT = "Zanahary-Ketsia"
PATIENT = {
    "PatientName": NAME,
    "PatientID": ID,
    "PatientBirthDate": BIRTH_DATE,
    "StudyDescription": TEXT,
    "SeriesDescription": TEXT,
    "AccessionNumber": "ZANAHARY",
    "ReferringPhysicianName": NAME,
}
ARCHIVE = ("dicom", "metadata", "frames", "series-metadata", "inbox", "inbox-failed")
JSON = {"Accept": "application/dicom+json"}


def _patient(**more: Any) -> Dataset:
    source = image(**more)
    for keyword, value in PATIENT.items():
        setattr(source, keyword, value)
    return source


def _path(source: Dataset) -> str:
    return (
        f"studies/{source.StudyInstanceUID}/series/{source.SeriesInstanceUID}"
        f"/instances/{source.SOPInstanceUID}"
    )


def _malformed() -> Iterator[bytes]:
    """Files whose errors are about values of the patient."""
    for tag, vr in ((0x00100010, "PN"), (0x00080020, "DA"), (0x00081150, "UI"), (0x00101010, "AS")):
        source = _patient()
        source.add(DataElement(tag, vr, TEXT * 9, validation_mode=IGNORE))
        yield part10(source)
    for tag, vr in ((0x00201208, "IS"), (0x00101030, "DS")):
        source = _patient()
        source.add(DataElement(tag, vr, "11223344"))
        yield part10(source).replace(b"11223344", TEXT[:8].encode())
    whole = part10(_patient())
    yield whole[:-40]
    yield whole[: len(whole) // 2]
    yield whole.replace(b"ISO_IR", b"ZANAHA")
    yield whole.replace(b"PN", b"SQ").replace(b"LO", b"US")
    yield whole.replace(b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2")
    yield b"\0" * 128 + b"DICM" + NAME.encode() * 50
    yield NAME.encode() * 50


_CUT_OFF = (6, 7, 10)
"""Which of them end before their last value does, or seem to."""


def _requests(http: httpx.Client, source: Dataset) -> None:
    """Searches by the patient, and requests that are wrong with the patient's name in them."""
    for root in ("v1", "v2/partitions/" + TEXT):
        for query in (
            f"PatientName={NAME}", f"PatientID={ID}", f"PatientBirthDate={BIRTH_DATE}",
            f"PatientName=*{TEXT}*&fuzzymatching=true", f"limit={TEXT}", f"{TEXT}={TEXT}",
            f"includefield={TEXT}", f"StudyDate={TEXT}", f"00100010={NAME}&<{TEXT}",
            f"PatientName={NAME}%00%FF", f"00101010={TEXT}",
        ):  # fmt: skip
            http.get(f"{root}/studies?{query}", headers=JSON)
            http.get(f"{root}/studies/{source.StudyInstanceUID}/series?{query}", headers=JSON)
        for path in (
            f"studies/{TEXT}", f"studies/1.2/series/{TEXT}", f"studies/1.2/metadata/{TEXT}",
            f"{_path(source)}/frames/{TEXT}", f"{_path(source)}/bulkdata/{TEXT}", TEXT,
            f"{_path(source)}/rendered?window={TEXT}", f"{_path(source)}/rendered?viewport={TEXT}",
            f"operations/{TEXT}", f"changefeed?startTime={TEXT}",
        ):  # fmt: skip
            http.get(f"{root}/{path}", headers={"Accept": f"{TEXT}/{TEXT}"})
            http.get(f"{root}/{path}", headers={"Range": TEXT, "If-None-Match": TEXT})
            http.delete(f"{root}/{path}")
            http.request(TEXT.replace("-", ""), f"{root}/{path}")
    http.get(f"{TEXT}?{TEXT}")
    http.get("v2/studies", headers={"traceparent": TEXT, "x-request-id": TEXT, "Origin": TEXT})
    http.get("v2/studies", headers={"Authorization": f"Bearer {TEXT}", "User-Agent": TEXT})


def _stores(http: httpx.Client, source: Dataset) -> None:
    body, headers = multipart([part10(source)])
    assert http.post("v2/studies", content=body, headers=headers).status_code == 200
    for content in _malformed():
        body, headers = multipart([content])
        for root in ("v1", "v2"):
            http.post(f"{root}/studies", content=body, headers=headers)
            http.put(f"{root}/studies/{TEXT}", content=body, headers=headers)
    for kind in ("multipart/related", f"multipart/related; boundary={TEXT}", TEXT, f"{TEXT}/json"):
        http.post("v2/studies", content=body, headers={"Content-Type": kind})
    http.post("v2/studies", content=f"--{TEXT}\r\n{TEXT}: {TEXT}\r\n\r\n".encode() * 9,
              headers={"Content-Type": f"multipart/related; boundary={TEXT}"})  # fmt: skip
    metadata = orjson.dumps([{"00100010": {"vr": "PN", "Value": [{"Alphabetic": NAME}]}}, NAME])
    body = b"--x\r\nContent-Type: application/dicom+json\r\n\r\n" + metadata + b"\r\n--x--"
    kind = 'multipart/related; type="application/dicom+json"; boundary=x'
    http.post("v2/studies", content=body, headers={"Content-Type": kind})


def _retrieves(http: httpx.Client, source: Dataset) -> None:
    for suffix in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata"):
        http.get(f"v2/{_path(source)}{suffix}")
        http.get(f"v2/{_path(source)}{suffix}?annotation=patient")


def _ingests(server: Server, source: Dataset) -> None:
    inbox = server.data / "inbox" / "p1"
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / f"{TEXT}.dcm").write_bytes(part10(source))
    for number, content in enumerate(_malformed()):
        (inbox / f"{TEXT}-{number}.dcm").write_bytes(content)
    # More of those that end too early may be on its way.
    waiting = {f"{TEXT}-{number}.dcm" for number in _CUT_OFF}
    _wait(lambda: {file.name for file in inbox.iterdir()} <= waiting)


def _breaks(server: Server, http: httpx.Client, source: Dataset) -> None:
    """Unexpected errors, for real: what is on disk is not what was written there."""
    for kind, content in (
        ("metadata", gzip.compress(b'{"00100010": Zanahary')),
        ("metadata", gzip.compress(orjson.dumps({"metadata": [NAME], NAME: {NAME: NAME}}))),
        ("metadata", NAME.encode()),
        ("dicom", b"\0" * 128 + b"DICM" + NAME.encode() * 20),
    ):
        for file in (server.data / kind).rglob("*"):
            if file.is_file():
                file.write_bytes(content)
        _retrieves(http, source)
        http.get(f"v2/studies?includefield=00104000&PatientID={ID}", headers=JSON)
        http.get(f"v2/studies/{source.StudyInstanceUID}/metadata", headers=JSON)
    with closing(sqlite3.connect(server.data / "index.sqlite")) as index, index:
        index.execute("UPDATE change SET timestamp = ?", (NAME,))
    # These meet an exception that quotes the name.
    for path in ("v1/changefeed", "v2/changefeed/latest"):
        assert http.get(path, headers=JSON).status_code == 500


def _tells(http: httpx.Client, fhir: FhirTestServer, source: Dataset) -> bytes:
    """A FHIR server is told of the patient, and then refuses; what became of it."""
    resync = f"v2/fhir/studies/{source.StudyInstanceUID}/$resync"
    assert http.post(resync).json()["refused"] == 0
    assert NAME.partition("^")[0] in str(fhir.all("Patient"))
    # Of two patients of one id it cannot be told which is meant.
    [patient] = [one for one in fhir.all("Patient") if one["identifier"][0]["value"] == ID]
    fhir.create({name: patient[name] for name in ("resourceType", "identifier", "name")})
    assert http.post(resync).json()["refused"] == 1
    letters = http.get("v2/fhir/deadletters")
    assert letters.json()
    return letters.content


def _wait(until: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


@dataclass
class Told:
    """What was told to whom, until the server had ended."""

    log: str
    collector: Received
    insights: Received
    data: Path
    source: Dataset
    letters: bytes
    addresses: list[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    data = tmp_path_factory.mktemp("privacy") / "data"
    source = _patient()
    with receiving() as collector, receiving() as insights, running_fhir_server() as fhir:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": insights.connection_string,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "FHIR_URL": fhir.url,
            "FHIR_DICOMWEB_URL": "http://127.0.0.1:7071/v2",
            "FHIR_PATIENT_SYSTEM": "urn:x-hospital:patient",
        }
        with running(data, settings, workers=1) as server:
            with httpx.Client(base_url=server.address, timeout=30) as http:
                _stores(http, source)
                _ingests(server, _patient())
                _retrieves(http, source)
                _requests(http, source)
                letters = _tells(http, fhir, source)
                _breaks(server, http, source)
                http.post(f"v2/fhir/studies/{source.StudyInstanceUID}/$resync")
                http.delete(f"v2/studies/{source.StudyInstanceUID}")
            server.stop()
            assert server.process.stdout is not None
            log = server.line + server.process.stdout.read() + server.log()
        addresses = [request["url"] for request in fhir.log()]
        yield Told(log, collector, insights, data, source, letters, addresses)


def _leaks(content: bytes) -> list[bytes]:
    found = content.lower()
    return [
        found[max(0, at - 200) : at + 60] for canary in CANARIES if (at := found.find(canary)) >= 0
    ]


def _audits(told: Told) -> list[dict[str, Any]]:
    start = "INFO audit: "
    return [
        orjson.loads(line.removeprefix(start))
        for line in told.log.splitlines()
        if line.startswith(start)
    ]


def test_everything_was_told(told: Told) -> None:
    by_transaction = {record["transaction"]: record for record in _audits(told)}
    assert by_transaction["delete_study"]["study"] == told.source.StudyInstanceUID
    assert {"store", "search_studies", "retrieve_metadata_of_instance", "ingest"} <= set(
        by_transaction
    )
    assert "a request failed" in told.log
    assert "Traceback" in told.log
    spans = {span.name for span in told.collector.spans()}
    assert {"store", "search_studies", "delete_study", "ingest", "Index.commit"} <= spans
    assert told.collector.points("dicom.requests")
    assert told.collector.points("dicom.stored.instances")
    kinds = {envelope["data"]["baseType"] for envelope in told.insights.envelopes()}
    assert kinds == {"RequestData", "RemoteDependencyData", "MetricData"}


def test_no_log_tells_of_the_patient(told: Told) -> None:
    assert _leaks(told.log.encode()) == []


def test_no_telemetry_tells_of_the_patient(told: Told) -> None:
    for received in (told.collector, told.insights):
        sent = b"".join(body for _, body in received.bodies)
        assert _leaks(sent) == []
        assert told.source.StudyInstanceUID.encode() not in sent


def test_no_file_beside_the_archive_tells_of_the_patient(told: Told) -> None:
    beside = [
        file
        for file in told.data.rglob("*")
        if file.is_file()
        and file.relative_to(told.data).parts[0] not in ARCHIVE
        and not file.name.startswith("index.sqlite")
    ]
    assert beside
    for file in beside:
        assert _leaks(str(file.relative_to(told.data)).encode()) == []
        assert _leaks(file.read_bytes()) == [], file


def test_nobody_else_on_the_machine_may_look_into_the_data(told: Told) -> None:
    assert {path.name for path in told.data.iterdir()} >= {"dicom", "inbox", "index.sqlite"}
    assert [path.name for path in told.data.iterdir() if path.stat().st_mode & 0o077] == []


def test_neither_dead_letters_nor_addresses_at_a_fhir_server_tell_of_the_patient(
    told: Told,
) -> None:
    assert told.addresses
    assert _leaks(told.letters) == []
    assert _leaks(" ".join(told.addresses).encode()) == []


def test_reasons_of_refused_files_do_not_quote_them(told: Told) -> None:
    reasons = list((told.data / "inbox-failed").rglob("*.json"))
    assert len(reasons) >= 3
    assert [_leaks(reason.read_bytes()) for reason in reasons] == [[]] * len(reasons)
