"""The server, as users start it, tells a FHIR server of what is stored, by the clock."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset

from tests.builders import dataset, multipart, part10
from tests.e2e.server import Server, running
from tests.fhir_server import FhirTestServer, running_fhir_server

pytestmark = pytest.mark.host

_WITHIN_SECONDS = 40
"""More than one period of the timer, also where much else is going on."""
_STUDIES = 60


@pytest.fixture(scope="module")
def fhir() -> Iterator[FhirTestServer]:
    with running_fhir_server() as server:
        yield server


def settings(fhir: FhirTestServer, **others: str) -> dict[str, str]:
    return {
        "FHIR_URL": fhir.url,
        "FHIR_DICOMWEB_URL": "http://127.0.0.1:7071/v2",
        "FHIR_PATIENT_SYSTEM": "urn:x-hospital:patient",
        **others,
    }


def store(server: Server, *sources: Dataset) -> None:
    body, headers = multipart(part10(source) for source in sources)
    answer = httpx.post(f"{server.v2}/studies", content=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text


def until(found: Callable[[], Any], seconds: float = _WITHIN_SECONDS) -> Any:
    """Look again and again until there is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError("nothing came of it")


def versions_made(fhir: FhirTestServer, kind: str) -> list[str]:
    """The methods by which resources of a kind were written."""
    return [
        one["method"]
        for request in fhir.log()
        for one in request["entries"]
        if one["url"].split("/")[0] == kind and one["method"] != "GET"
        if request["status"] == 200
    ]


def test_a_study_is_told_updated_and_taken_away_by_the_clock(
    tmp_path: Path, fhir: FhirTestServer
) -> None:
    fhir.reset()
    with running(tmp_path / "data", settings(fhir)) as server:
        store(server, *(dataset(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1") for _ in "ab"))
        [study] = until(lambda: fhir.all("ImagingStudy"))
        assert study["numberOfInstances"] == 2
        assert study["subject"]["reference"] == f"Patient/{fhir.one('Patient')['id']}"
        changes = {"studyInstanceUids": ["1.2"], "changeDataset": _new_patient()}
        answer = httpx.post(f"{server.v2}/studies/$bulkUpdate", json=changes)
        assert answer.status_code == 202, answer.text

        def is_of_another() -> bool:
            return bool(fhir.one("ImagingStudy")["subject"] != study["subject"])

        until(is_of_another)
        assert httpx.delete(f"{server.v2}/studies/1.2").status_code == 204
        until(lambda: not fhir.all("ImagingStudy"))
        until(lambda: httpx.get(f"{server.v2}/fhir").json()["behind"] == 0)
        assert len(fhir.all("Patient")) == 2
    assert "Doe" not in server.log()


def _new_patient() -> dict[str, Any]:
    return {"00100020": {"vr": "LO", "Value": ["P2"]}}


def test_an_export_that_is_killed_goes_on_and_tells_every_study_once(
    tmp_path: Path, fhir: FhirTestServer
) -> None:
    fhir.reset()
    data = tmp_path / "data"
    sources = [dataset(StudyInstanceUID=f"1.3.{n}", PatientID=f"P{n}") for n in range(_STUDIES)]
    site = settings(fhir, FHIR_SYNC="off", FHIR_CONCURRENCY="2")
    with running(data, site) as server:
        store(server, *sources)
        answer = httpx.post(f"{server.v2}/fhir/$export", json={"source": {"type": "archive"}})
        assert answer.status_code == 202, answer.text
        operation = answer.json()["id"]
        until(lambda: fhir.count("ImagingStudy") > 5)
        server.kill()
    told = fhir.count("ImagingStudy")
    assert told < _STUDIES
    with running(data, site) as server:
        address = f"{server.v2}/operations/{operation}"

        def ended() -> Any:
            found = httpx.get(address).json()
            return found if found["status"] in ("succeeded", "failed") else None

        done = until(ended, 90)
    assert done["status"] == "succeeded"
    results = done["results"]
    assert results["written"] + results["unchanged"] == _STUDIES
    assert results["refused"] == 0
    assert fhir.count("ImagingStudy") == fhir.count("Patient") == _STUDIES
    assert set(versions_made(fhir, "ImagingStudy")) == {"POST"}
    uids = {one["identifier"][0]["value"] for one in fhir.all("ImagingStudy")}
    assert len(uids) == _STUDIES
