from dataclasses import replace
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from shared.services.metadata_file import unpack
from tests.archive import Client, blobs_in, code_of, open_archive
from tests.builders import dataset, image, part10

LARGE = bytes(range(256)) * 32
WAVES = np.arange(8192, dtype="<u2").tobytes()


def located(answer: httpx.Response) -> list[tuple[str, str, bytes]]:
    """Content-Location, Content-Type and content of each part."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    found = []
    for part in BytesParser().parsebytes(head + answer.content).get_payload():
        assert isinstance(part, Message)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((part["Content-Location"], part["Content-Type"], content))
    return found


def references(document: dict[str, dict[str, object]]) -> list[str]:
    """Every BulkDataURI in a data set."""
    found = []
    for element in document.values():
        if "BulkDataURI" in element:
            found.append(str(element["BulkDataURI"]))
        if element["vr"] == "SQ":
            for item in element.get("Value", ()):  # type: ignore[attr-defined]
                found += references(item)
    return found


def with_bulk(**uids: str) -> Dataset:
    """Native pixels, a nested waveform, and an encapsulated document."""
    source = image(rows=64, columns=64)
    for keyword, uid in uids.items():
        setattr(source, keyword, uid)
    source.EncapsulatedDocument = LARGE
    channel = Dataset()
    channel.WaveformData = WAVES
    channel["WaveformData"].VR = "OW"
    source.WaveformSequence = [Dataset(), channel]
    return source


def turned(content: bytes) -> bytes:
    return np.frombuffer(content, "<u2").byteswap().tobytes()


def file_in(source: Dataset, syntax: str) -> bytes:
    if syntax != ExplicitVRBigEndian:
        return part10(source, syntax)
    pixels, waves = source.PixelData, WAVES
    source.PixelData = turned(pixels)
    source.WaveformSequence[1].WaveformData = turned(waves)
    content = part10(source, syntax)
    source.PixelData = pixels
    return content


def instance_url(source: Dataset) -> str:
    return (
        f"/v2/studies/{source.StudyInstanceUID}/series/{source.SeriesInstanceUID}"
        f"/instances/{source.SOPInstanceUID}"
    )


async def test_every_reference_in_metadata_leads_to_its_value(client: Client) -> None:
    for syntax in (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ):
        source = with_bulk()
        await client.store("/v2", [file_in(source, syntax)])
        (document,) = (await client.get(f"{instance_url(source)}/metadata")).json()
        urls = references(document)
        values = [await client.get(url) for url in urls]
        assert [answer.status_code for answer in values] == [200] * 3
        assert {answer.headers["content-type"] for answer in values} == {"application/octet-stream"}
        assert [answer.headers["content-location"] for answer in values] == urls
        expected = [LARGE, WAVES, source.PixelData]
        assert [answer.content for answer in values] == expected, syntax


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
async def test_a_range_of_a_value_is_partial_content(client: Client, syntax: str) -> None:
    source = with_bulk()
    await client.store("/v2", [file_in(source, syntax)])
    url = f"{instance_url(source)}/bulkdata/7FE00010"
    for first, last in ((0, 0), (1, 8), (3, 4000), (8191, 8191)):
        answer = await client.get(url, Range=f"bytes={first}-{last}")
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {first}-{last}/8192"
        assert answer.headers["content-length"] == str(last - first + 1)
        assert answer.content == source.PixelData[first : last + 1]
    whole = await client.get(url, Range="bytes=0-1,5-6")
    assert (whole.status_code, whole.content) == (200, source.PixelData)
    assert whole.headers["accept-ranges"] == "bytes"


async def test_a_range_outside_the_value_is_refused_with_its_length(client: Client) -> None:
    source = with_bulk()
    await client.store("/v2", [part10(source)])
    url = f"{instance_url(source)}/bulkdata/7FE00010"
    answer = await client.get(url, Range="bytes=8192-")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */8192"
    code_of(answer.content)


async def test_a_range_of_another_version_of_the_value_is_not_cut(client: Client) -> None:
    source = with_bulk()
    await client.store("/v2", [part10(source)])
    url = f"{instance_url(source)}/bulkdata/7FE00010"
    etag = (await client.get(url)).headers["etag"]
    assert (await client.get(url, Range="bytes=0-9", If_Range=etag)).status_code == 206
    assert (await client.get(url, Range="bytes=0-9", If_Range='"other"')).status_code == 200


async def test_a_value_is_sent_in_a_part_if_that_is_asked_for(client: Client) -> None:
    source = with_bulk()
    await client.store("/v2", [part10(source)])
    url = f"{instance_url(source)}/bulkdata/00420011"
    for accept in ('multipart/related; type="application/octet-stream"', "multipart/related"):
        answer = await client.get(url, accept)
        assert located(answer) == [(f"http://archive.test{url}", "application/octet-stream", LARGE)]
    assert (await client.get(url, "image/jpeg")).status_code == 406


async def test_encapsulated_pixel_data_comes_as_its_frames(client: Client) -> None:
    pieces = [bytes([n]) * 3000 for n in (1, 2)]
    source = image(frames=2)
    source.PixelData = encapsulate(pieces)
    source["PixelData"].VR = "OB"
    source["PixelData"].is_undefined_length = True
    await client.store("/v2", [part10(source, RLELossless)])
    (document,) = (await client.get(f"{instance_url(source)}/metadata")).json()
    (url,) = references(document)
    type_ = f"image/dicom-rle; transfer-syntax={RLELossless}"
    answer = await client.get(url)
    assert [(part[1], part[2]) for part in located(answer)] == [(type_, one) for one in pieces]
    every = located(await client.get(f"{instance_url(source)}/bulkdata"))
    frames = f"http://archive.test{instance_url(source)}/frames"
    assert every == [(f"{frames}/{number}", type_, one) for number, one in enumerate(pieces, 1)]


async def test_all_bulk_data_below_a_path_comes_in_parts_that_tell_where_they_are(
    client: Client,
) -> None:
    first = with_bulk()
    second = with_bulk(StudyInstanceUID=first.StudyInstanceUID)
    await client.store("/v2", [part10(first), part10(second)])
    study = f"/v2/studies/{first.StudyInstanceUID}"
    series = f"{study}/series/{first.SeriesInstanceUID}"
    for url, instances in (
        (study, [first, second]),
        (series, [first]),
        (instance_url(first), [first]),
    ):
        answer = await client.get(f"{url}/bulkdata", "*/*")
        assert answer.status_code == 200
        parts = located(answer)
        assert [part[0].partition("/instances/")[2].partition("/bulkdata/") for part in parts] == [
            (str(source.SOPInstanceUID), "/bulkdata/", path)
            for source in instances
            for path in ("00420011", "54000100/2/54001010", "7FE00010")
        ]
        assert [part[2] for part in parts] == [LARGE, WAVES, first.PixelData] * len(instances)
        for location, _, content in parts:
            assert (await client.get(location)).content == content


async def test_what_has_no_bulk_data_is_not_found(client: Client) -> None:
    source = dataset()
    await client.store("/v2", [part10(source)])
    url = instance_url(source)
    for path in ("bulkdata", "bulkdata/7FE00010", "bulkdata/00080018", "bulkdata/x/../../y"):
        assert (await client.get(f"{url}/{path}")).status_code == 404
    assert (await client.get("/v2/studies/1.2/bulkdata")).status_code == 404
    assert (
        await client.get(f"/v2/studies/{source.StudyInstanceUID}/bulkdata", "image/png")
    ).status_code == 406


async def test_deleted_bulk_data_is_gone(client: Client) -> None:
    source = with_bulk()
    await client.store("/v2", [part10(source)])
    await client.send("DELETE", f"/v2/studies/{source.StudyInstanceUID}")
    for path in ("", "/bulkdata", "/bulkdata/7FE00010", "/frames/1"):
        answer = await client.get(instance_url(source) + path)
        assert (path, answer.status_code) == (path, 410)
        assert code_of(answer.content) == "Gone"


async def test_v1_has_no_bulk_data_resources(client: Client) -> None:
    source = with_bulk()
    await client.store("/v2", [part10(source)])
    url = instance_url(source).replace("/v2", "/v1")
    for path in ("bulkdata", "bulkdata/7FE00010"):
        assert (await client.get(f"{url}/{path}")).status_code == 404


async def test_references_lead_through_a_trusted_proxy_and_a_partition(tmp_path: Path) -> None:
    source = with_bulk()
    seen = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example"}
    async with open_archive(tmp_path, TRUSTED_PROXIES="127.0.0.1"):
        client = Client()
        await client.store("/v2/partitions/p", [part10(source)])
        url = f"/v2/partitions/p{instance_url(source).removeprefix('/v2')}"
        answer = await client.send("GET", f"{url}/bulkdata/7FE00010", headers=seen)
        location = f"https://pacs.example{url}/bulkdata/7FE00010"
        assert answer.headers["content-location"] == location
        answer = await client.send("GET", f"{url}/metadata", headers=seen)
        assert location in references(answer.json()[0])


async def test_pixel_data_whose_frames_cannot_be_told_apart_has_no_parts(client: Client) -> None:
    source = image(frames=3)
    source.PixelData = encapsulate([bytes(3000)] * 2, has_bot=False)
    source["PixelData"].VR = "OB"
    source["PixelData"].is_undefined_length = True
    await client.store("/v2", [part10(source, RLELossless)])
    url = instance_url(source)
    assert (await client.get(f"{url}/bulkdata/7FE00010")).status_code == 406
    assert (await client.get(f"{url}/bulkdata")).status_code == 404


async def test_a_value_that_ends_within_a_number_is_turned_around_up_to_there(
    client: Client,
) -> None:
    source = dataset()
    source.PointCoordinatesData = b"\1\2\3\4" * 2000 + b"\5\6"
    await client.store("/v2", [part10(source, ExplicitVRBigEndian)])
    answer = await client.get(f"{instance_url(source)}/bulkdata/00660016")
    assert answer.content == b"\4\3\2\1" * 2000 + b"\5\6"


async def _first_value_counts(client: Client, url: str, length: int) -> None:
    """Expect of the pixel data so many bytes, wherever their number is told."""
    value = await client.get(f"{url}/bulkdata/7FE00010", "application/octet-stream")
    assert (value.status_code, len(value.content)) == (200, length)
    assert value.headers["content-length"] == str(length)
    part = await client.send(
        "GET", f"{url}/bulkdata/7FE00010", headers={"Range": f"bytes={length - 1}-"}
    )
    assert part.headers["content-range"] == f"bytes {length - 1}-{length - 1}/{length}"
    (only,) = located(await client.get(f"{url}/bulkdata"))
    assert len(only[2]) == length


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
async def test_of_pixel_data_that_is_cut_off_what_is_there_is_given(
    client: Client, syntax: str
) -> None:
    source = image(rows=64, columns=64)
    await client.store("/v2", [part10(source, syntax)[:-1000]])
    await _first_value_counts(client, instance_url(source), 64 * 64 * 2 - 1000)


async def test_a_study_has_bulk_data_even_if_one_instance_ends_before_its_pixel_data(
    client: Client,
) -> None:
    source = with_bulk()
    cut = image(StudyInstanceUID=source.StudyInstanceUID)
    files = [part10(cut)[: -len(cut.PixelData)], part10(source)]
    await client.store("/v2", files)
    answer = await client.get(f"/v2/studies/{source.StudyInstanceUID}/bulkdata")
    assert [content for _, _, content in located(answer)] == [LARGE, WAVES, source.PixelData]
    assert (await client.get(f"{instance_url(cut)}/bulkdata/7FE00010")).status_code == 404


@pytest.mark.parametrize(("noted", "there"), [(8192, 7192), (8192, 0)])
async def test_a_place_beyond_the_end_of_a_file_is_read_up_to_there(
    client: Client, tmp_path: Path, noted: int, there: int
) -> None:
    source = image(rows=64, columns=64)
    await client.store("/v2", [part10(source)[: len(part10(source)) - noted + there]])
    (name,) = (name for name in blobs_in(tmp_path) if name.startswith("metadata/"))
    metadata = unpack((tmp_path / name).read_bytes())
    assert metadata.file.pixel_data_offset is not None
    place = (metadata.file.pixel_data_offset, noted)
    (tmp_path / name).write_bytes(replace(metadata, bulk={"7FE00010": place}).pack())
    if there:
        await _first_value_counts(client, instance_url(source), there)
    else:
        for path in ("bulkdata", "bulkdata/7FE00010"):
            assert (await client.get(f"{instance_url(source)}/{path}")).status_code == 404
