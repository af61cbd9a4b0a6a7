"""Bulk update as a client sees it, driven by the real engine in this process."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import orjson
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from shared.dicomweb.media_type import DICOM_JSON
from shared.dicomweb.update_request import UPDATABLE
from shared.ports import OperationType
from shared.wiring import Services
from tests.archive import Client, code_of, open_archive
from tests.builders import dataset, image, multipart, part10, with_values
from tests.engine import running_engine

JSON = "application/json"
DICOM = "application/dicom; transfer-syntax=*"
ORIGINAL = {"msdicom_request_original": "true"}
NEW_NAME = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "New^Name"}]}}


@pytest.fixture
async def engine(services: Services) -> AsyncIterator[Services]:
    async with running_engine():
        yield services


async def ask(
    client: Client, body: object, path: str = "/v2", content_type: str = JSON
) -> httpx.Response:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {"Content-Type": content_type}
    return await client.send(
        "POST", f"{path}/studies/$bulkUpdate", headers=headers, content=content
    )


async def update(
    client: Client, studies: list[str], changes: dict[str, Any], path: str = "/v2"
) -> dict[str, Any]:
    """Ask for an update, and follow it to its end."""
    body = {"studyInstanceUids": studies, "changeDataset": changes}
    started = await ask(client, body, path)
    assert started.status_code == 202, started.text
    assert "location" not in started.headers
    address = started.json()["href"]
    assert address.endswith(f"/v2/operations/{started.json()['id']}")
    return await ended(client, address)


async def ended(client: Client, address: str) -> dict[str, Any]:
    """Follow an operation to its end."""
    async with asyncio.timeout(30):
        while (answer := await client.get(address)).status_code == 202:
            await asyncio.sleep(0.02)
    document: dict[str, Any] = answer.json()
    return document


def path_of(source: pydicom.Dataset) -> str:
    return (
        f"/studies/{source.StudyInstanceUID}/series/{source.SeriesInstanceUID}"
        f"/instances/{source.SOPInstanceUID}"
    )


async def file_of(client: Client, source: pydicom.Dataset, **headers: str) -> pydicom.Dataset:
    answer = await client.get(f"/v2{path_of(source)}", DICOM, **headers)
    assert answer.status_code == 200
    return pydicom.dcmread(io.BytesIO(answer.content))


async def names(client: Client, study: str, **headers: str) -> list[str]:
    """The patient's names in the metadata of a study."""
    answer = await client.get(f"/v2/studies/{study}/metadata", **headers)
    return [item["00100010"]["Value"][0]["Alphabetic"] for item in answer.json()]


async def test_there_is_none_in_v1(client: Client) -> None:
    body = {"studyInstanceUids": ["1.2"], "changeDataset": NEW_NAME}
    for path in ("/v1", "/v1.0-prerelease", "/v1/partitions/Microsoft.Default"):
        assert (await ask(client, body, path)).status_code == 404


@pytest.mark.usefixtures("engine")
async def test_a_name_is_changed_on_all_instances_of_a_study(client: Client) -> None:
    study = generate_uid()
    sources = [image(StudyInstanceUID=study) for _ in range(3)]
    other = image(PatientName="Other^One")
    await client.store("/v2", [part10(source) for source in (*sources, other)])

    done = await update(client, [study], NEW_NAME)

    assert done["status"] == "succeeded"
    assert done["type"] == "update"
    assert done["percentComplete"] == 100
    assert done["results"] == {
        "studyProcessed": 1,
        "studyUpdated": 1,
        "studyFailed": 0,
        "instanceUpdated": 3,
    }
    assert await names(client, study) == ["New^Name"] * 3
    assert await names(client, study, **ORIGINAL) == ["Doe^Jane"] * 3
    assert await names(client, other.StudyInstanceUID) == ["Other^One"]


@pytest.mark.usefixtures("engine")
async def test_a_study_that_is_not_there_is_no_error(client: Client) -> None:
    done = await update(client, ["1.2.3.404"], NEW_NAME)
    assert done["status"] == "succeeded"
    assert done["results"] == {
        "studyProcessed": 1,
        "studyUpdated": 0,
        "studyFailed": 0,
        "instanceUpdated": 0,
    }


@pytest.mark.parametrize("columns", [16, 1200])
@pytest.mark.usefixtures("engine")
async def test_only_the_first_and_the_newest_version_can_be_had(
    client: Client, columns: int
) -> None:
    study = generate_uid()
    framed = image(StudyInstanceUID=study, frames=10, rows=columns // 8, columns=columns)
    plain = image(StudyInstanceUID=study)
    await client.store("/v2", [part10(framed), part10(plain)])
    await update(client, [study], NEW_NAME)
    last = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Last^Name"}]}}
    await update(client, [study], last)

    for source in (framed, plain):
        newest = await file_of(client, source)
        assert newest.PatientName == "Last^Name"
        assert newest.PixelData == source.PixelData
        old = [
            note.ModifiedAttributesSequence[0].PatientName
            for note in newest.OriginalAttributesSequence
        ]
        assert old == ["Doe^Jane", "New^Name"]
        first = await client.get(f"/v2{path_of(source)}", DICOM, **ORIGINAL)
        assert first.content == part10(source)
    assert await names(client, study) == ["Last^Name"] * 2
    assert await names(client, study, **ORIGINAL) == ["Doe^Jane"] * 2
    frames = [
        (
            await client.get(f"/v2{path_of(framed)}/frames/{number}", "application/octet-stream")
        ).content
        for number in range(1, 11)
    ]
    assert b"".join(frames) == framed.PixelData
    for headers, name in (({}, "Last^Name"), (ORIGINAL, "Doe^Jane")):
        accept = f"application/dicom; transfer-syntax={JPEG2000Lossless}"
        transcoded = await client.get(f"/v2{path_of(plain)}", accept, **headers)
        assert transcoded.status_code == 200
        read = pydicom.dcmread(io.BytesIO(transcoded.content))
        assert read.file_meta.TransferSyntaxUID == JPEG2000Lossless
        assert read.PatientName == name
        assert read.pixel_array.tobytes() == plain.PixelData


@pytest.mark.usefixtures("engine")
async def test_versions_of_an_instance_without_pixels_are_transcoded_too(client: Client) -> None:
    source = dataset()
    await client.store("/v2", [part10(source, "1.2.840.10008.1.2")])
    await update(client, [source.StudyInstanceUID], NEW_NAME)
    accept = f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    for headers, name in (({}, "New^Name"), (ORIGINAL, "Doe^Jane")):
        answer = await client.get(f"/v2{path_of(source)}", accept, **headers)
        read = pydicom.dcmread(io.BytesIO(answer.content))
        assert (read.PatientName, read.file_meta.TransferSyntaxUID) == (
            name,
            ExplicitVRLittleEndian,
        )


@pytest.mark.usefixtures("engine")
async def test_search_finds_the_new_values_and_no_longer_the_old(client: Client) -> None:
    source = image(PatientName="Old^Name", PatientID="OLD")
    await client.store("/v2", [part10(source)])
    study = source.StudyInstanceUID
    changes = NEW_NAME | {
        "00100020": {"vr": "LO", "Value": ["NEW"]},
        "00101010": {"vr": "AS", "Value": ["054Y"]},
        "00081030": {"vr": "LO"},
    }
    await update(client, [study], changes)
    for query, count in (
        ("PatientName=New^Name", 1),
        ("PatientName=Old^Name", 0),
        ("PatientName=old&fuzzymatching=true", 0),
        ("PatientName=name&fuzzymatching=true", 1),
        ("PatientID=NEW", 1),
        ("PatientID=OLD", 0),
        ("StudyDescription=Chest", 0),
    ):
        for level in ("studies", "instances"):
            answer = await client.get(f"/v2/{level}?{query}&StudyInstanceUID={study}")
            found = answer.json() if answer.status_code == 200 else []
            assert len(found) == count, (level, query)
    [found] = (
        await client.get(
            f"/v2/studies?StudyInstanceUID={study}&includefield=PatientComments,00101010"
        )
    ).json()
    assert found["00101010"]["Value"] == ["054Y"]


@pytest.mark.usefixtures("engine")
async def test_extended_query_tags_follow_an_update(client: Client) -> None:
    tags = [{"path": keyword, "level": "Study"} for keyword in ("PatientAge", "PatientWeight")]
    headers = {"Content-Type": JSON}
    added = await client.send(
        "POST", "/v2/extendedquerytags", headers=headers, content=orjson.dumps(tags)
    )
    assert added.status_code == 202, added.text
    await ended(client, added.json()["href"])
    study = generate_uid()
    sources = [image(StudyInstanceUID=study, PatientAge="040Y", PatientWeight=50) for _ in range(3)]
    await client.store("/v2", [part10(source) for source in sources])
    changes = {
        **NEW_NAME,
        "00101010": {"vr": "AS", "Value": ["054Y"]},
        "00101030": {"vr": "DS", "Value": [71.5]},
    }
    await update(client, [study], changes)
    for query, count in (
        ("PatientAge=054Y", 3),
        ("PatientAge=040Y", 0),
        ("PatientWeight=71.5&PatientName=New^Name", 3),
        ("PatientWeight=50", 0),
    ):
        answer = await client.get(f"/v2/instances?{query}&StudyInstanceUID={study}")
        assert (len(answer.json()) if answer.status_code == 200 else 0) == count, query


@pytest.mark.usefixtures("engine")
async def test_errors_of_extended_query_tags_go_with_their_instances(client: Client) -> None:
    study = generate_uid()
    sources = [dataset(StudyInstanceUID=study, PatientAge="045Y") for _ in range(2)]
    files = [part10(source) for source in sources]
    await client.store("/v1", [with_values(files[0], PatientAge=b"old "), files[1]])
    headers = {"Content-Type": JSON}
    tag = orjson.dumps([{"path": "PatientAge", "level": "Instance"}])
    added = await client.send("POST", "/v2/extendedquerytags", headers=headers, content=tag)
    await ended(client, added.json()["href"])
    url = "/v2/extendedquerytags/PatientAge"
    enabled = orjson.dumps({"queryStatus": "Enabled"})
    await client.send("PATCH", url, headers=headers, content=enabled)

    async def told() -> list[tuple[str, str]]:
        errors = (await client.get(f"{url}/errors")).json()
        return [(error["sopInstanceUid"], error["errorMessage"]) for error in errors]

    before = await told()
    assert [uid for uid, _ in before] == [sources[0].SOPInstanceUID]

    await update(client, [study], NEW_NAME)

    assert await told() == before
    assert (await client.get(url)).json()["queryStatus"] == "enabled"

    await update(client, [study], {"00101010": {"vr": "AS", "Value": ["046Y"]}})

    assert await told() == []
    assert len((await client.get("/v2/instances?PatientAge=046Y")).json()) == 2


@pytest.mark.usefixtures("engine")
async def test_bulk_values_before_and_behind_the_end_of_a_head_can_still_be_had(
    client: Client,
) -> None:
    source = image()
    source.add_new(0x60003000, "OW", b"\1\2" * 5000)
    source.add_new(0x00091001, "OB", bytes(range(256)) * 30)
    source.add_new(0x00090010, "LO", "CREATOR")
    await client.store("/v2", [part10(source)])
    await update(client, [source.StudyInstanceUID], NEW_NAME)
    [document] = (await client.get(f"/v2{path_of(source)}/metadata")).json()
    for tag, expected in (
        ("00091001", source[0x00091001].value),
        ("60003000", source[0x60003000].value),
        ("7FE00010", source.PixelData),
    ):
        if "InlineBinary" in document[tag]:
            continue
        answer = await client.get(document[tag]["BulkDataURI"], "application/octet-stream")
        assert answer.content == expected, tag
    assert "BulkDataURI" in document["00091001"]
    assert "BulkDataURI" in document["60003000"]
    shown = await client.get(f"/v2{path_of(source)}/rendered", "image/png")
    assert shown.status_code == 200


@pytest.mark.usefixtures("engine")
async def test_the_document_of_a_series_and_archives_of_it_have_the_newest_versions(
    client: Client,
) -> None:
    study, series = generate_uid(), generate_uid()
    sources = [
        dataset(StudyInstanceUID=study, SeriesInstanceUID=series)
        for _ in range(64)  # So many that the series gets a document at once.
    ]
    await client.store("/v2", [part10(source) for source in sources])
    assert await names(client, study) == ["Doe^Jane"] * 64
    await update(client, [study], NEW_NAME)
    assert await names(client, study) == ["New^Name"] * 64
    assert await names(client, study) == ["New^Name"] * 64
    assert await names(client, study, **ORIGINAL) == ["Doe^Jane"] * 64
    archived = await client.get(f"/v2/studies/{study}/series/{series}", "application/zip")
    with ZipFile(io.BytesIO(archived.content)) as archive:
        read = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    assert {str(one.PatientName) for one in read} == {"New^Name"}
    assert {one.SOPInstanceUID for one in read} == {one.SOPInstanceUID for one in sources}


@pytest.mark.usefixtures("engine")
async def test_an_update_is_a_change_and_moves_the_etag(client: Client) -> None:
    source = image()
    await client.store("/v2", [part10(source)])
    url = f"/v2{path_of(source)}/metadata"
    before = (await client.get(url)).headers["etag"]
    await update(client, [source.StudyInstanceUID], NEW_NAME)
    now = await client.get(url, if_none_match=before)
    assert now.status_code == 200
    original = await client.get(url, if_none_match=now.headers["etag"], **ORIGINAL)
    assert original.status_code == 200
    feed = (await client.get("/v2/changefeed")).json()
    assert [(entry["action"], entry["state"]) for entry in feed] == [
        ("Create", "Replaced"),
        ("Update", "Current"),
    ]
    told = feed[-1]["metadata"]["00100010"]["Value"]
    assert told == [{"Alphabetic": "New^Name"}]


@pytest.mark.usefixtures("engine")
async def test_both_versions_go_when_a_study_is_deleted(client: Client) -> None:
    source = image()
    await client.store("/v2", [part10(source)])
    await update(client, [source.StudyInstanceUID], NEW_NAME)
    await client.send("DELETE", f"/v1/studies/{source.StudyInstanceUID}")
    for headers in ({}, ORIGINAL):
        for path, accept in ((path_of(source), DICOM), (f"{path_of(source)}/metadata", DICOM_JSON)):
            assert (await client.get(f"/v1{path}", accept, **headers)).status_code == 404


@pytest.mark.usefixtures("engine")
async def test_the_first_file_sent_again_is_no_conflict_and_undoes_nothing(client: Client) -> None:
    source = image()
    await client.store("/v2", [part10(source)])
    await update(client, [source.StudyInstanceUID], NEW_NAME)
    assert (await client.store("/v2", [part10(source)])).status_code == 200
    assert (await client.store("/v1", [part10(source)])).status_code == 409
    assert await names(client, source.StudyInstanceUID) == ["New^Name"]


@pytest.mark.usefixtures("engine")
async def test_put_of_the_first_file_undoes_an_update(client: Client) -> None:
    source = image()
    await client.store("/v2", [part10(source)])
    await update(client, [source.StudyInstanceUID], NEW_NAME)
    body, headers = multipart([part10(source)])
    answer = await client.send("PUT", "/v2/studies", headers=headers, content=body)
    assert answer.status_code == 200
    assert await names(client, source.StudyInstanceUID) == ["Doe^Jane"]
    assert (await client.get(f"/v2{path_of(source)}", DICOM)).content == part10(source)


@pytest.mark.usefixtures("engine")
async def test_an_empty_data_set_changes_nothing(client: Client) -> None:
    source = image()
    await client.store("/v2", [part10(source)])
    done = await update(client, [source.StudyInstanceUID], {})
    assert done["status"] == "succeeded"
    assert done["results"]["studyUpdated"] == 0
    assert (await client.get(f"/v2{path_of(source)}", DICOM)).content == part10(source)


@pytest.mark.usefixtures("engine")
async def test_the_studies_of_another_partition_are_not_touched(client: Client) -> None:
    source = image()
    await client.store("/v2/partitions/here", [part10(source)])
    await client.store("/v2/partitions/there", [part10(source)])
    done = await update(client, [source.StudyInstanceUID], NEW_NAME, "/v2/partitions/here")
    assert done["results"]["instanceUpdated"] == 1
    for partition, name in (("here", "New^Name"), ("there", "Doe^Jane")):
        url = f"/v2/partitions/{partition}/studies/{source.StudyInstanceUID}/metadata"
        [document] = (await client.get(url)).json()
        assert document["00100010"]["Value"] == [{"Alphabetic": name}]


async def test_studies_are_updated_where_no_partitions_are_served(tmp_path: Path) -> None:
    source = image()
    async with open_archive(tmp_path, DATA_PARTITIONS="off"), running_engine():
        client = Client()
        await client.store("/v2", [part10(source)])
        done = await update(client, [source.StudyInstanceUID], NEW_NAME)
        assert done["status"] == "succeeded"
        assert await names(client, source.StudyInstanceUID) == ["New^Name"]


async def test_there_is_one_update_at_a_time(services: Services, client: Client) -> None:
    nothing = {"partition": "Microsoft.Default", "studies": [], "changes": {}}
    async with running_engine({OperationType.UPDATE.workflow: waiting}, {}) as stuck:
        running = await services.operations.start(stuck, OperationType.UPDATE, nothing)
        body = {"studyInstanceUids": ["1.2"], "changeDataset": NEW_NAME}
        refused = await ask(client, body)
        assert refused.status_code == 409
        assert "location" not in refused.headers
        assert code_of(refused.content) == "OperationRunning"
        await services.operations.cancel(stuck, running.id)


def waiting(context: Any, _: str) -> Any:
    yield context.wait_for_external_event("never")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        {"changeDataset": NEW_NAME},
        {"studyInstanceUids": [], "changeDataset": NEW_NAME},
        {"studyInstanceUids": "1.2", "changeDataset": NEW_NAME},
        {"studyInstanceUids": [7], "changeDataset": NEW_NAME},
        {"studyInstanceUids": ["1.2", "x"], "changeDataset": NEW_NAME},
        {"studyInstanceUids": ["1.2"] * 51, "changeDataset": NEW_NAME},
        {"studyInstanceUids": ["1.2"]},
        {"studyInstanceUids": ["1.2"], "changeDataset": []},
    ],
)
async def test_a_request_that_is_none_is_refused(client: Client, body: object) -> None:
    refused = await ask(client, body)
    assert refused.status_code == 400
    code_of(refused.content)


async def test_only_json_of_bounded_size_is_taken(client: Client) -> None:
    body = {"studyInstanceUids": ["1.2"], "changeDataset": NEW_NAME}
    assert (await ask(client, body, content_type="text/plain")).status_code == 415
    assert (await ask(client, body, content_type="application/dicom+json")).status_code == 415
    assert (await ask(client, b" " * 2_000_000)).status_code == 413


async def test_everything_that_is_wrong_with_the_values_is_told(client: Client) -> None:
    changes = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "x" * 65}]},
        "00100030": {"vr": "DA", "Value": ["tomorrow"]},
        "00100040": {"vr": "LO", "Value": ["M"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "00080020": {"vr": "DA", "Value": ["20260101"]},
        "00100020": {"vr": "LO", "Value": ["fine"]},
        "00101020": {"vr": "DS", "Value": [{}]},
        "nonsense": {"vr": "LO", "Value": ["x"]},
    }
    refused = await ask(client, {"studyInstanceUids": ["1.2"], "changeDataset": changes})
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/dicom+json"
    comments = [item["00000902"]["Value"][0] for item in refused.json()["00741048"]["Value"]]
    told = [comment[:21] for comment in comments[:-1]]
    assert told == [
        f"DICOM100: ({tag[:4]},{tag[4:]})" for tag in changes if tag not in ("00100020", "nonsense")
    ]
    assert comments[-1] == "The attribute cannot be updated."


@pytest.mark.parametrize(
    "element",
    [
        {"vr": "PN", "Value": [{"alphabetic": "New^Name"}]},
        {"vr": "PN", "Value": [{"Alphabetic": "New^Name", "phonetic": "new"}]},
        {"vr": "PN", "Value": [{"Alphabetic": None}]},
        {"vr": "PN", "Value": [{}]},
        {"vr": "PN", "value": [{"Alphabetic": "New^Name"}]},
        {"vr": "PN", "BulkDataURI": "http://elsewhere.test"},
        {"vr": "PN", "Value": 0},
        {"vr": "PN", "Value": {}},
        {"vr": "PN", "Value": ""},
        {"vr": "PN", "Value": None},
        {"vr": "PN", "Value": "New^Name"},
        [],
        "",
        None,
    ],
)
async def test_a_value_that_is_misspelt_is_refused_and_does_not_empty_the_attribute(
    client: Client, element: object
) -> None:
    changes = {"00100010": element}
    refused = await ask(client, {"studyInstanceUids": ["1.2"], "changeDataset": changes})
    assert refused.status_code == 400
    [problem] = refused.json()["00741048"]["Value"]
    assert problem["00000902"]["Value"][0].startswith("DICOM100: (0010,0010) - ")


@pytest.mark.parametrize("value", [{}, {"Value": []}, {"Value": [None]}, {"Value": [""]}])
@pytest.mark.usefixtures("engine")
async def test_an_attribute_without_a_value_is_emptied(
    client: Client, value: dict[str, Any]
) -> None:
    source = dataset()
    await client.store("/v2", [part10(source)])
    await update(client, [source.StudyInstanceUID], {"00081030": {"vr": "LO", **value}})
    assert (await file_of(client, source)).StudyDescription == ""


def test_the_attributes_of_the_reference_can_be_updated() -> None:
    assert len(UPDATABLE) == 36
    assert "SQ" not in UPDATABLE.values()
