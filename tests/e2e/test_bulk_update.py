"""An update of studies while the server is killed in the middle of it."""

import time
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom.uid import generate_uid

from tests.builders import image, multipart, part10
from tests.e2e.server import Server, running

pytestmark = [pytest.mark.host, pytest.mark.slow]

STUDIES = 2
INSTANCES = 60
NEW_NAME = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "New^Name"}]}}
_SECONDS = 60


def store(server: Server, study: str) -> None:
    files = (part10(image(StudyInstanceUID=study)) for _ in range(INSTANCES))
    body, headers = multipart(files)
    answer = requests.post(f"{server.v2}/studies", body, headers=headers, timeout=60)
    assert answer.status_code == 200


def operation(server: Server, operation_id: str) -> dict[str, Any]:
    document: dict[str, Any] = requests.get(
        f"{server.v2}/operations/{operation_id}", timeout=10
    ).json()
    return document


def instances(server: Server, study: str) -> list[bytes]:
    """The stored files of a study as they are now, sorted."""
    answer = requests.get(
        f"{server.v2}/studies/{study}",
        headers={
            "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',
            "msdicom-request-original": "true",
        },
        timeout=60,
    )
    boundary = answer.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    parts = answer.content.split(b"--" + boundary)[1:-1]
    return sorted(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts)


def test_an_update_goes_on_after_a_kill_and_what_it_tells_is_exact(tmp_path: Path) -> None:
    data = tmp_path / "data"
    studies = [generate_uid() for _ in range(STUDIES)]
    with running(data) as server:
        for study in studies:
            store(server, study)
        originals = {study: instances(server, study) for study in studies}
        started = requests.post(
            f"{server.v2}/studies/$bulkUpdate",
            json={"studyInstanceUids": studies, "changeDataset": NEW_NAME},
            timeout=10,
        )
        assert started.status_code == 202
        operation_id = started.json()["id"]
        until = time.monotonic() + _SECONDS
        while (seen := operation(server, operation_id))["percentComplete"] < 50:
            assert time.monotonic() < until, seen
        server.kill()
    assert seen["status"] == "running"

    with running(data) as server:
        until = time.monotonic() + _SECONDS
        while (ended := operation(server, operation_id))["status"] == "running":
            assert time.monotonic() < until, ended
            time.sleep(0.1)
        assert ended["status"] == "succeeded"
        assert ended["results"] == {
            "studyProcessed": STUDIES,
            "studyUpdated": STUDIES,
            "studyFailed": 0,
            "instanceUpdated": STUDIES * INSTANCES,
        }
        for study in studies:
            documents = requests.get(f"{server.v2}/studies/{study}/metadata", timeout=30).json()
            assert len(documents) == INSTANCES
            for document in documents:
                assert document["00100010"]["Value"] == [{"Alphabetic": "New^Name"}]
                assert len(document["04000561"]["Value"]) == 1
            assert instances(server, study) == originals[study]
        feed = requests.get(f"{server.v2}/changefeed/latest", timeout=10).json()
        assert feed["sequence"] == 2 * STUDIES * INSTANCES
        assert feed["action"] == "Update"
