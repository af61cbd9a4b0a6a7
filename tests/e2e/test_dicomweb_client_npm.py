"""The client library of the web viewers, under Node, with the headers that it sends by default."""

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.builders import image, part10
from tests.e2e.server import ROOT, Server
from tests.e2e.wire import SOP_INSTANCE_UID

pytestmark = pytest.mark.host

_PACKAGE = Path(__file__).with_name("npm")
_DOCUMENT = bytes(range(256)) * 64


class Client:
    """The client in a process of its own, its methods called by name."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, method: str, **options: Any) -> Any:
        """Call a method; bytes go and come as they are."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        call = {"method": method, "options": options}
        self._process.stdin.write(json.dumps(call, default=_base64) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline(), object_hook=_bytes)
        assert "error" not in answer, answer
        return answer["given"]


def _base64(content: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(content).decode()}


def _bytes(item: dict[str, Any]) -> Any:
    return base64.b64decode(item["base64"]) if item.keys() == {"base64"} else item


@pytest.fixture(scope="module")
def package() -> Path:
    """The script with the packages it needs, which are fetched once."""
    folder = ROOT / ".cache" / "npm"
    shutil.copytree(_PACKAGE, folder, dirs_exist_ok=True)
    installed = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def call(package: Path, server: Server) -> Iterator[Client]:
    command = ["node", str(package / "call.mjs"), server.v2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Client(process)


@pytest.fixture(scope="module")
def stored(call: Client) -> list[Dataset]:
    """Three instances of one series, stored by the client."""
    study, series = generate_uid(), generate_uid()
    datasets = [
        image(
            frames=3,
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            InstanceNumber=number,
            EncapsulatedDocument=_DOCUMENT,
        )
        for number in (1, 2, 3)
    ]
    call("storeInstances", datasets=[part10(dataset) for dataset in datasets])
    return datasets


def uids(dataset: Dataset) -> dict[str, str]:
    return {
        "studyInstanceUID": dataset.StudyInstanceUID,
        "seriesInstanceUID": dataset.SeriesInstanceUID,
        "sopInstanceUID": dataset.SOPInstanceUID,
    }


def study_uid(dataset: Dataset) -> dict[str, str]:
    return {"studyInstanceUID": dataset.StudyInstanceUID}


def series_uids(dataset: Dataset) -> dict[str, str]:
    return {**study_uid(dataset), "seriesInstanceUID": dataset.SeriesInstanceUID}


def sop_instance_uids(documents: list[dict[str, Any]]) -> set[str]:
    return {document[SOP_INSTANCE_UID]["Value"][0] for document in documents}


def test_it_stores_instances(call: Client) -> None:
    dataset = image()
    call("storeInstances", datasets=[part10(dataset)])
    assert call("retrieveInstance", **uids(dataset)) == part10(dataset)


def test_it_stores_instances_of_a_study(call: Client) -> None:
    dataset = image()
    call("storeInstances", datasets=[part10(dataset)], **study_uid(dataset))
    assert call("retrieveInstance", **uids(dataset)) == part10(dataset)


def test_it_finds_studies(call: Client, stored: list[Dataset]) -> None:
    [found] = call("searchForStudies", queryParams={"StudyInstanceUID": stored[0].StudyInstanceUID})
    assert Dataset.from_json(found).PatientID == stored[0].PatientID


def test_it_finds_nothing(call: Client) -> None:
    assert call("searchForStudies", queryParams={"StudyInstanceUID": generate_uid()}) == []


def test_it_finds_the_series_of_a_study(call: Client, stored: list[Dataset]) -> None:
    [found] = call("searchForSeries", **study_uid(stored[0]))
    assert Dataset.from_json(found).SeriesInstanceUID == stored[0].SeriesInstanceUID


def test_it_finds_series_of_all_studies(call: Client, stored: list[Dataset]) -> None:
    query = {"SeriesInstanceUID": stored[0].SeriesInstanceUID}
    [found] = call("searchForSeries", queryParams=query)
    assert Dataset.from_json(found).StudyInstanceUID == stored[0].StudyInstanceUID


def test_it_finds_the_instances_of_a_study(call: Client, stored: list[Dataset]) -> None:
    found = call("searchForInstances", **study_uid(stored[0]))
    assert sop_instance_uids(found) == {dataset.SOPInstanceUID for dataset in stored}


def test_it_finds_the_instances_of_a_series(call: Client, stored: list[Dataset]) -> None:
    found = call("searchForInstances", **series_uids(stored[0]))
    assert sop_instance_uids(found) == {dataset.SOPInstanceUID for dataset in stored}


def test_it_finds_instances_of_all_series(call: Client, stored: list[Dataset]) -> None:
    query = {"SOPInstanceUID": stored[1].SOPInstanceUID}
    found = call("searchForInstances", queryParams=query)
    assert sop_instance_uids(found) == {stored[1].SOPInstanceUID}


def test_it_retrieves_the_metadata_of_a_study(call: Client, stored: list[Dataset]) -> None:
    found = call("retrieveStudyMetadata", **study_uid(stored[0]))
    assert sop_instance_uids(found) == {dataset.SOPInstanceUID for dataset in stored}


def test_it_retrieves_the_metadata_of_a_series(call: Client, stored: list[Dataset]) -> None:
    found = call("retrieveSeriesMetadata", **series_uids(stored[0]))
    assert sop_instance_uids(found) == {dataset.SOPInstanceUID for dataset in stored}


def test_it_retrieves_the_metadata_of_an_instance(call: Client, stored: list[Dataset]) -> None:
    [found] = call("retrieveInstanceMetadata", **uids(stored[0]))
    assert found["00280008"]["Value"] == [3]


def test_it_retrieves_an_instance(call: Client, stored: list[Dataset]) -> None:
    assert call("retrieveInstance", **uids(stored[0])) == part10(stored[0])


def test_it_retrieves_a_series(call: Client, stored: list[Dataset]) -> None:
    received = call("retrieveSeries", **series_uids(stored[0]))
    assert sorted(received) == sorted(part10(dataset) for dataset in stored)


def test_it_retrieves_a_study(call: Client, stored: list[Dataset]) -> None:
    received = call("retrieveStudy", **study_uid(stored[0]))
    assert sorted(received) == sorted(part10(dataset) for dataset in stored)


def test_it_retrieves_frames(call: Client, stored: list[Dataset]) -> None:
    pixels = stored[0].PixelData
    size = len(pixels) // 3
    received = call("retrieveInstanceFrames", **uids(stored[0]), frameNumbers=[3, 1])
    assert received == [pixels[2 * size :], pixels[:size]]


def test_it_retrieves_bulk_data(call: Client, stored: list[Dataset]) -> None:
    [document] = call("retrieveInstanceMetadata", **uids(stored[0]))
    uri = document["00420011"]["BulkDataURI"]
    assert call("retrieveBulkData", BulkDataURI=uri) == [_DOCUMENT]


def test_it_retrieves_pixel_data_as_bulk_data(call: Client, stored: list[Dataset]) -> None:
    [document] = call("retrieveInstanceMetadata", **uids(stored[0]))
    received = call("retrieveBulkData", BulkDataURI=document["7FE00010"]["BulkDataURI"])
    assert b"".join(received) == stored[0].PixelData


@pytest.mark.parametrize(
    ("method", "frames"),
    [
        ("retrieveInstanceRendered", {}),
        ("retrieveInstanceThumbnail", {}),
        ("retrieveInstanceFramesRendered", {"frameNumbers": [2], "queryParams": {"quality": 90}}),
        ("retrieveInstanceFramesThumbnail", {"frameNumbers": [2], "queryParams": {"quality": 90}}),
    ],
)
def test_it_retrieves_a_picture(
    call: Client, stored: list[Dataset], method: str, frames: dict[str, Any]
) -> None:
    [picture] = call(method, **uids(stored[0]), **frames)
    opened = Image.open(io.BytesIO(picture))
    assert opened.width == opened.height


def test_it_retrieves_a_picture_of_a_media_type(call: Client, stored: list[Dataset]) -> None:
    asked = [{"mediaType": "image/png"}]
    [picture] = call("retrieveInstanceRendered", **uids(stored[0]), mediaTypes=asked)
    assert Image.open(io.BytesIO(picture)).format == "PNG"
