"""Instances that are stored as metadata and bulk data."""

import io
from typing import Any

import numpy as np
import orjson
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from shared.dicom import xml_model
from shared.dicom.json_model import Document
from shared.dicom.part10 import scan
from shared.dicom.resource import parse_path
from tests.archive import Client, code_of
from tests.builders import dataset, image, part10, related

JSON = "application/dicom+json"
XML = "application/dicom+xml"
BYTES = "application/octet-stream"

type Parts = list[tuple[dict[str, str], bytes]]


def _document(source: Dataset, pixels: str | None = None) -> Document:
    """The metadata of a data set, its pixel data under another name."""
    document = scan(part10(source)).document
    if pixels is not None:
        document["7FE00010"]["BulkDataURI"] = pixels
    return document


def _metadata(*documents: Document, media_type: str = JSON) -> Parts:
    if media_type == XML:
        return [({"Content-Type": XML}, xml_model.dumps(document)) for document in documents]
    return [({"Content-Type": JSON}, orjson.dumps(documents))]


def _bulk(location: str, content: bytes, media_type: str = BYTES) -> Parts:
    return [({"Content-Type": media_type, "Content-Location": location}, content)]


async def _store(
    client: Client, parts: Parts, media_type: str = JSON, version: str = "v2", study: str = ""
) -> Any:
    body, headers = related(parts, media_type)
    path = f"/{version}/studies/{study}".rstrip("/")
    return await client.send("POST", path, headers=headers, content=body)


async def _stored(client: Client, source: Dataset) -> Dataset:
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    answer = await client.get(f"/v2/{path}", "application/dicom; transfer-syntax=*")
    assert answer.status_code == 200
    return pydicom.dcmread(io.BytesIO(answer.content))


@pytest.mark.parametrize("media_type", [JSON, XML])
async def test_metadata_and_bulk_data_make_a_file(client: Client, media_type: str) -> None:
    source = image(PatientName="Müller^Jürgen")
    document = _document(source, "http://client/bulk/1")
    parts = _metadata(document, media_type=media_type)

    answer = await _store(
        client, parts + _bulk("http://client/bulk/1", source.PixelData), media_type
    )

    assert answer.status_code == 200
    stored = await _stored(client, source)
    assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert stored == source


@pytest.mark.parametrize("media_type", [JSON, XML])
async def test_a_request_may_hold_several_instances(client: Client, media_type: str) -> None:
    sources = [image(rows=8 + number) for number in range(3)]
    documents = [_document(source, f"pixels/{n}") for n, source in enumerate(sources)]
    parts = _metadata(*documents, media_type=media_type)
    for number in (2, 0, 1):
        parts += _bulk(f"pixels/{number}", sources[number].PixelData)

    answer = await _store(client, parts, media_type)

    assert answer.status_code == 200
    reported = [item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"]]
    assert reported == [source.SOPInstanceUID for source in sources]
    for source in sources:
        assert await _stored(client, source) == source


async def test_json_metadata_may_lie_in_several_parts_or_be_one_object(client: Client) -> None:
    sources = [dataset(), dataset()]
    parts: Parts = [({"Content-Type": JSON}, orjson.dumps(_document(s))) for s in sources]
    assert (await _store(client, parts)).status_code == 200
    for source in sources:
        assert await _stored(client, source) == source


async def test_the_metadata_may_leave_its_type_to_the_whole(client: Client) -> None:
    parts: Parts = [({"Content-ID": "<1>"}, orjson.dumps([_document(dataset())]))]
    assert (await _store(client, parts)).status_code == 200


async def test_a_large_image_is_stored_in_chunks(client: Client) -> None:
    source = image(rows=1024, columns=1024, frames=2)
    parts = _metadata(_document(source, "1")) + _bulk("1", source.PixelData)
    assert (await _store(client, parts)).status_code == 200
    assert (await _stored(client, source)).PixelData == source.PixelData


async def test_a_compressed_image_keeps_its_syntax_and_tells_what_it_is(client: Client) -> None:
    pixels = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    source = image()
    document = _document(source, "1")
    for tag in ("00280010", "00280011", "00280100", "00280101", "00280102", "00280004"):
        del document[tag]

    answer = await _store(client, _metadata(document) + _bulk("1", buffer.getvalue(), "image/jpeg"))

    assert answer.status_code == 200
    stored = await _stored(client, source)
    assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert (stored.Rows, stored.Columns, stored.BitsAllocated) == (32, 48, 8)


async def test_frames_come_in_parts_of_the_same_location(client: Client) -> None:
    frames = []
    for shade in (10, 200):
        buffer = io.BytesIO()
        Image.new("L", (16, 16), shade).save(buffer, "JPEG")
        frames.append(buffer.getvalue())
    source = image()
    parts = _metadata(_document(source, "1"))
    for frame in frames:
        parts += _bulk("1", frame, "image/jpeg")
    assert (await _store(client, parts)).status_code == 200
    assert (await _stored(client, source)).NumberOfFrames == 2


async def test_missing_bulk_data_is_a_failure_of_its_instance_alone(client: Client) -> None:
    whole, torn = image(), image()
    parts = _metadata(_document(torn, "missing"), _document(whole, "there"))

    answer = await _store(client, parts + _bulk("there", whole.PixelData))

    assert answer.status_code == 202
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed == {
        "00000902": {
            "vr": "LO",
            "Value": ["Attribute (7FE0,0010) refers to bulk data that the request does not hold."],
        },
        "00081150": {"vr": "UI", "Value": [torn.SOPClassUID]},
        "00081155": {"vr": "UI", "Value": [torn.SOPInstanceUID]},
        "00081197": {"vr": "US", "Value": [0xA900]},
    }
    assert await _stored(client, whole) == whole


@pytest.mark.parametrize("media_type", [JSON, XML])
async def test_a_document_that_is_no_data_set_is_a_failed_instance(
    client: Client, media_type: str
) -> None:
    if media_type == JSON:
        content = orjson.dumps([{"00280010": {"vr": "US", "Value": ["many"]}}])
    else:
        content = xml_model.dumps({"00280010": {"vr": "US", "Value": ["many"]}})
    answer = await _store(client, [({"Content-Type": media_type}, content)], media_type)
    assert answer.status_code == 409
    (failed,) = answer.json()["00081198"]["Value"]
    assert "(0028,0010)" in failed["00000902"]["Value"][0]


@pytest.mark.parametrize(
    "document",
    [
        {"00080018": 5, "0020000D": {"Value": [None]}},
        {"00080018": {"vr": "UI", "Value": 7}, "00080016": {"vr": "UI", "Value": {}}},
        {"00080016": 5},
        {"x": {}},
    ],
)
async def test_nonsense_for_identity_is_a_failed_instance(
    client: Client, document: dict[str, Any]
) -> None:
    answer = await _store(client, [({"Content-Type": JSON}, orjson.dumps(document))])
    assert answer.status_code == 409


async def test_metadata_is_validated_as_a_file_is(client: Client) -> None:
    document = _document(dataset())
    document["00080060"]["Value"] = ["far too long for a modality"]
    answer = await _store(client, _metadata(document))
    assert answer.status_code == 202
    (stored,) = answer.json()["00081199"]["Value"]
    (problem,) = stored["00741048"]["Value"]
    assert " does not validate VR CS: " in problem["00000902"]["Value"][0]


async def test_only_the_study_asked_for_is_taken(client: Client) -> None:
    answer = await _store(client, _metadata(_document(dataset())), study="1.2.3")
    assert answer.status_code == 409


@pytest.mark.parametrize("media_type", [JSON, XML])
async def test_v1_takes_files_alone(client: Client, media_type: str) -> None:
    parts = _metadata(_document(dataset()), media_type=media_type)
    answer = await _store(client, parts, media_type, version="v1")
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([({"Content-Type": JSON}, b"[{")], 400),
        ([({"Content-Type": JSON}, b"5")], 400),
        ([({"Content-Type": JSON}, b"[5]")], 400),
        ([({"Content-Type": JSON}, b"[" * 100_000)], 400),
        ([({"Content-Type": XML}, b"<NativeDicomModel>")], 400),
        ([({"Content-Type": XML}, b'<!DOCTYPE x [<!ENTITY a "b">]><x/>')], 400),
        ([({"Content-Type": JSON}, b"[]"), ({"Content-Type": BYTES}, b"no location")], 400),
        (
            [
                ({"Content-Type": JSON}, b"[]"),
                ({"Content-Type": BYTES, "Content-Location": "1"}, b""),
                ({"Content-Type": JSON}, b"[]"),
            ],
            400,
        ),
        ([({"Content-Type": JSON}, b"[]"), ({"Content-Type": "application/dicom"}, b"")], 415),
        ([({"Content-Type": "application/dicom"}, b""), ({"Content-Type": JSON}, b"[]")], 415),
        ([({"Content-Type": JSON}, b"[]"), ({"Content-Type": "nonsense"}, b"")], 415),
    ],
)
async def test_a_request_that_breaks_the_rules_is_refused_whole(
    client: Client, parts: Parts, status: int
) -> None:
    answer = await _store(client, parts)
    assert answer.status_code == status
    code_of(answer.content)


async def test_metadata_of_no_instance_has_no_content(client: Client) -> None:
    assert (await _store(client, [({"Content-Type": JSON}, b"[]")])).status_code == 204


async def test_put_takes_metadata_too(client: Client) -> None:
    source = dataset()
    await client.store("/v2", [part10(source)])
    source.StudyDescription = "Corrected"
    body, headers = related(_metadata(_document(source)), JSON)
    answer = await client.send("PUT", "/v2/studies", headers=headers, content=body)
    assert answer.status_code == 200
    assert (await _stored(client, source)).StudyDescription == "Corrected"
