from email.parser import BytesParser
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import httpx
import pydicom
import pytest
from pydicom.uid import RLELossless

from shared.dicom.resource import ResourcePath, parse_path
from tests.archive import Client, open_archive
from tests.builders import dataset, image, part10
from tests.shared.dicom.corpus import FOLDER

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
PARTS = 'multipart/related; type="application/dicom"'
JPEG_FILE = FOLDER / "pydicom__examples_ybr_color.dcm"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LS = "1.2.840.10008.1.2.4.80"


def parts_of(answer: httpx.Response) -> list[tuple[str, bytes]]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.content)
    assert message.is_multipart()
    found = []
    for part in message.get_payload():
        assert not isinstance(part, str)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((part["Content-Type"], content))
    return found


async def stored(client: Client, *files: bytes) -> None:
    assert (await client.store("/v2", files)).status_code in (200, 202)


def path_of(source: object) -> ResourcePath:
    uids = (getattr(source, f"{name}InstanceUID") for name in ("Study", "Series", "SOP"))
    return parse_path(*uids)


async def test_an_instance_is_given_alone_byte_for_byte(client: Client) -> None:
    source = image()
    content = part10(source)
    await stored(client, content)

    for version in ("v1", "v2"):
        answer = await client.get(f"/{version}/{path_of(source)}", "application/dicom")
        assert answer.status_code == 200
        assert answer.content == content
        assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["vary"] == "Accept, msdicom-request-original"


async def test_a_study_is_given_in_parts_each_with_its_syntax(client: Client) -> None:
    first = dataset()
    second = dataset(StudyInstanceUID=first.StudyInstanceUID)
    files = [part10(first), part10(second, IMPLICIT)]
    await stored(client, *files)

    for version, type_ in (("v1", ""), ("v2", ' type="application/dicom";')):
        accept = f"{PARTS}; transfer-syntax=*"
        answer = await client.get(f"/{version}/studies/{first.StudyInstanceUID}", accept)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(f"multipart/related;{type_} boundary=")
        assert parts_of(answer) == [
            (f"application/dicom; transfer-syntax={EXPLICIT}", files[0]),
            (f"application/dicom; transfer-syntax={IMPLICIT}", files[1]),
        ]


async def test_v1_gives_several_instances_only_as_they_are_stored(client: Client) -> None:
    first = dataset()
    second = dataset(
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID
    )
    await stored(client, part10(first))
    path = path_of(first)
    above = (f"studies/{path.study}", f"studies/{path.study}/series/{path.series}")
    for resource in above:
        assert (await client.get(f"/v1/{resource}", PARTS)).status_code == 200
    await stored(client, part10(second))
    for resource in above:
        assert (await client.get(f"/v1/{resource}", PARTS)).status_code == 406
        assert (await client.get(f"/v2/{resource}", PARTS)).status_code == 200
        answer = await client.get(f"/v1/{resource}", f"{PARTS}; transfer-syntax=*")
        assert answer.status_code == 200


async def test_v2_gives_what_it_can_of_a_mixed_study_and_tells_of_the_rest(client: Client) -> None:
    first = image()
    second = dataset(StudyInstanceUID=first.StudyInstanceUID)
    await stored(client, part10(first), part10(second))

    accept = f"{PARTS}; transfer-syntax={JPEG_LS}"
    answer = await client.get(f"/v2/studies/{first.StudyInstanceUID}", accept)

    assert answer.status_code == 206
    assert answer.headers["warning"].startswith("299 archive.test:")
    ((type_, content),) = parts_of(answer)
    assert type_ == f"application/dicom; transfer-syntax={JPEG_LS}"
    assert pydicom.dcmread(BytesIO(content)).SOPInstanceUID == first.SOPInstanceUID


async def test_v2_gives_a_mixed_study_in_the_one_syntax_asked_for(client: Client) -> None:
    first = image()
    second = dataset(StudyInstanceUID=first.StudyInstanceUID)
    await stored(client, part10(first), part10(second, IMPLICIT))

    answer = await client.get(f"/v2/studies/{first.StudyInstanceUID}", PARTS)

    assert answer.status_code == 200
    (_, as_stored), (type_, encoded) = parts_of(answer)
    assert as_stored == part10(first)
    assert type_ == f"application/dicom; transfer-syntax={EXPLICIT}"
    given = pydicom.dcmread(BytesIO(encoded))
    assert given.file_meta.TransferSyntaxUID == EXPLICIT
    assert given == second


async def test_v2_prefers_a_way_that_gives_everything(client: Client) -> None:
    first = dataset()
    second = dataset(StudyInstanceUID=first.StudyInstanceUID)
    await stored(client, part10(first), part10(second, IMPLICIT))

    accept = f"{PARTS}, {PARTS}; transfer-syntax=*; q=0.1"
    answer = await client.get(f"/v2/studies/{first.StudyInstanceUID}", accept)

    assert answer.status_code == 200
    assert len(parts_of(answer)) == 2


async def test_v2_takes_the_first_way_that_can_be_given(client: Client) -> None:
    source = dataset()
    await stored(client, part10(source, IMPLICIT))
    accept = (
        f"application/dicom; transfer-syntax={JPEG_BASELINE}, "
        f"application/dicom; transfer-syntax={IMPLICIT}; q=0.5"
    )
    answer = await client.get(f"/v2/{path_of(source)}", accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={IMPLICIT}"


async def test_the_accept_parameter_goes_before_the_header_in_v2(client: Client) -> None:
    source = dataset()
    await stored(client, part10(source))
    wish = "accept=application/dicom%3Btransfer-syntax%3D*"
    answer = await client.get(f"/v2/{path_of(source)}?{wish}", PARTS)
    assert answer.headers["content-type"].startswith("application/dicom;")
    answer = await client.get(f"/v1/{path_of(source)}?{wish}", PARTS)
    assert answer.headers["content-type"].startswith("multipart/related;")


@pytest.mark.parametrize("plus", ["+", "%2B"])
async def test_the_accept_parameter_asks_for_json_with_any_plus_sign(
    client: Client, plus: str
) -> None:
    answer = await client.get(f"/v2/studies?accept=application/dicom{plus}json", "text/html")
    assert answer.status_code == 204


async def test_frames_are_given_in_the_order_asked(client: Client) -> None:
    source = image(frames=3)
    await stored(client, part10(source))
    size = len(source.PixelData) // 3
    pixels = [source.PixelData[n * size : (n + 1) * size] for n in range(3)]

    for version in ("v1", "v2"):
        frames = f"/{version}/{path_of(source)}/frames"
        answer = await client.get(f"{frames}/3,1", "multipart/related; type=*/*")
        assert answer.status_code == 200
        type_ = f"application/octet-stream; transfer-syntax={EXPLICIT}"
        assert parts_of(answer) == [(type_, pixels[2]), (type_, pixels[0])]
        encoded = await client.get(f"{frames}/1%2C2", "multipart/related; type=*/*")
        assert [content for _, content in parts_of(encoded)] == pixels[:2]
        single = await client.get(f"{frames}/2", "application/octet-stream")
        assert (single.content, single.headers["content-type"]) == (pixels[1], type_)
        assert (await client.get(f"{frames}/4", "*/*")).status_code == 404


async def test_native_frames_of_implicit_vr_are_given_as_explicit(client: Client) -> None:
    source = image()
    await stored(client, part10(source, IMPLICIT))

    answer = await client.get(f"/v1/{path_of(source)}/frames/1", "application/octet-stream")

    assert answer.status_code == 200
    assert answer.content == source.PixelData
    assert answer.headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"


async def test_parts_have_the_media_type_of_their_syntax_in_v2(client: Client) -> None:
    if not JPEG_FILE.exists():
        pytest.skip("the corpus is not installed")
    content = Path(JPEG_FILE).read_bytes()
    answer = await client.store("/v2", [content])
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    frame = f"/{url.split('/v2/')[1]}/frames/1"
    syntax = f"transfer-syntax={JPEG_BASELINE}"
    octets = "multipart/related; type=application/octet-stream; transfer-syntax=*"

    for version, type_ in (("v1", "application/octet-stream"), ("v2", "image/jpeg")):
        answer = await client.get(f"/{version}{frame}", octets)
        assert [part_type for part_type, _ in parts_of(answer)] == [f"{type_}; {syntax}"]
    assert 'type="image/jpeg"' in answer.headers["content-type"]
    single = await client.get(f"/v2{frame}", "image/*")
    assert single.headers["content-type"] == f"image/jpeg; {syntax}"
    assert single.content.startswith(b"\xff\xd8")
    assert (await client.get(f"/v2{frame}", "video/mp4")).status_code == 406


async def test_an_instance_without_pixels_has_no_frames(client: Client) -> None:
    source = dataset()
    await stored(client, part10(source))
    for version in ("v1", "v2"):
        assert (
            await client.get(f"/{version}/{path_of(source)}/frames/1", "*/*")
        ).status_code == 404


async def test_an_instance_is_transcoded_alone_and_in_parts(client: Client) -> None:
    source = image(frames=2)
    await stored(client, part10(source))
    syntax = "1.2.840.10008.1.2.4.90"
    for version in ("v1", "v2"):
        url = f"/{version}/{path_of(source)}"
        alone = await client.get(url, f"application/dicom; transfer-syntax={syntax}")
        assert alone.status_code == 200
        assert alone.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
        assert pydicom.dcmread(BytesIO(alone.content)).file_meta.TransferSyntaxUID == syntax
        ((type_, part),) = parts_of(await client.get(url, f"{PARTS}; transfer-syntax={syntax}"))
        assert type_ == alone.headers["content-type"]
        assert part == alone.content


async def test_frames_are_transcoded_alone_and_in_parts(client: Client) -> None:
    source = image(frames=3)
    await stored(client, part10(source))
    syntax = "transfer-syntax=1.2.840.10008.1.2.4.90"
    for version in ("v1", "v2"):
        url = f"/{version}/{path_of(source)}/frames"
        answer = await client.get(f"{url}/3,1", 'multipart/related; type="image/jp2"')
        parts = parts_of(answer)
        assert [type_ for type_, _ in parts] == [f"image/jp2; {syntax}"] * 2
        assert all(content.startswith(b"\xff\x4f\xff\x51") for _, content in parts)
    alone = await client.get(f"{url}/3", f"image/jp2; {syntax}")
    assert (alone.headers["content-type"], alone.content) == parts[0]
    assert alone.headers["content-length"] == str(len(parts[0][1]))


@pytest.mark.slow
async def test_v1_transcodes_no_large_instance(tmp_path: Path) -> None:
    source = image(rows=4096, columns=4096, frames=4)
    async with open_archive(tmp_path, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="200000000"):
        client = Client()
        await stored(client, part10(source))
        url = f"/v1/{path_of(source)}"
        for resource, accept in (
            ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90"),
            ("/frames/1", 'multipart/related; type="image/jp2"'),
        ):
            assert (await client.get(url + resource, accept)).status_code == 406
        assert (await client.get(url, "application/dicom")).status_code == 200


async def test_a_study_and_a_series_come_as_a_zip_archive_in_v2(client: Client) -> None:
    first = image(rows=256, columns=1024)
    second = image(StudyInstanceUID=first.StudyInstanceUID, frames=2)
    part10(second)
    second.compress(RLELossless, generate_instance_uid=False)
    files = {
        first.SOPInstanceUID: part10(first),
        second.SOPInstanceUID: part10(second, RLELossless),
    }
    await stored(client, *files.values())
    study = f"studies/{first.StudyInstanceUID}"
    for url, names in (
        (
            study,
            {f"{one.SeriesInstanceUID}/{one.SOPInstanceUID}.dcm": one for one in (first, second)},
        ),
        (f"{study}/series/{first.SeriesInstanceUID}", {f"{first.SOPInstanceUID}.dcm": first}),
    ):
        for accept in ("application/zip", "application/zip, multipart/related;q=0.1"):
            answer = await client.get(f"/v2/{url}", accept)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/zip"
            uid = url.rpartition("/")[2]
            assert answer.headers["content-disposition"] == f'attachment; filename="{uid}.zip"'
            archive = ZipFile(BytesIO(answer.content))
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == {
                name: files[one.SOPInstanceUID] for name, one in names.items()
            }
        assert (await client.get(f"/v1/{url}", "application/zip")).status_code == 406
    instance = await client.get(f"/v2/{path_of(first)}", "application/zip")
    assert instance.status_code == 406
    assert (await client.get("/v2/studies/1.2", "application/zip")).status_code == 404


@pytest.mark.parametrize("padding", ["%00", "%20", "%00%20%00"])
async def test_an_archive_is_named_without_the_padding_of_its_identifier(
    client: Client, padding: str
) -> None:
    source = image()
    await stored(client, part10(source))
    study = f"/v2/studies/{source.StudyInstanceUID}"
    series = f"{study}/series/{source.SeriesInstanceUID}"
    for url in (study, series):
        answer = await client.get(url + padding, "application/zip")
        name = f"{url.rpartition('/')[2]}.zip"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


async def test_no_way_is_a_zip_archive_unless_it_is_named(client: Client) -> None:
    source = image()
    await stored(client, part10(source))
    for accept in (None, "*/*", "multipart/related", "multipart/related; type=application/zip"):
        answer = await client.get(f"/v2/studies/{source.StudyInstanceUID}", accept)
        assert answer.headers["content-type"] != "application/zip"
