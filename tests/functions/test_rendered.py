from email.message import Message
from email.parser import BytesParser
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from shared.services.rendering import _LARGEST_V1_BYTES
from tests.archive import Client, code_of, open_archive
from tests.builders import dataset, image, part10

PDF = b"%PDF-1.7 one document" + b"." * 10_000


def url_of(source: Dataset, version: str = "v2") -> str:
    return (
        f"/{version}/studies/{source.StudyInstanceUID}/series/{source.SeriesInstanceUID}"
        f"/instances/{source.SOPInstanceUID}"
    )


def parts_of(answer: httpx.Response) -> list[tuple[str, str, bytes]]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    found = []
    for part in BytesParser().parsebytes(head + answer.content).get_payload():
        assert isinstance(part, Message)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((part["Content-Type"], part["Content-Location"], content))
    return found


def shown(content: bytes) -> Image.Image:
    picture = Image.open(BytesIO(content))
    picture.load()
    return picture


def ramp(frames: int = 1, **keywords: object) -> Dataset:
    """An image whose columns grow brighter; frame n is n times 100 brighter."""
    source = image(rows=32, columns=64, frames=frames, **keywords)
    columns = np.tile(np.arange(64, dtype="<u2") * 16, (frames, 32, 1))
    columns += np.arange(frames, dtype="<u2")[:, None, None] * 100
    source.PixelData = columns.tobytes()
    source.WindowCenter, source.WindowWidth = 512, 1024
    return source


@pytest.fixture
async def stored(client: Client) -> Dataset:
    source = ramp(frames=3)
    await client.store("/v2", [part10(source)])
    return source


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("accept", "expected"),
    [(None, "JPEG"), ("image/jpeg", "JPEG"), ("image/png", "PNG")],
)
async def test_an_instance_is_rendered_as_its_first_frame(
    client: Client, stored: Dataset, version: str, accept: str | None, expected: str
) -> None:
    answer = await client.get(f"{url_of(stored, version)}/rendered?quality=100", accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"image/{expected.lower()}"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["x-content-type-options"] == "nosniff"
    picture = shown(answer.content)
    assert (picture.format, picture.size) == (expected, (64, 32))
    row = np.asarray(picture.convert("L"))[16].astype(int)
    assert np.all(np.abs(row - np.arange(64) * 4) <= 3)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_each_frame_is_rendered_by_its_number(
    client: Client, stored: Dataset, version: str
) -> None:
    lossless = [
        (await client.get(f"{url_of(stored, version)}/frames/{n}/rendered", "image/png")).content
        for n in (1, 2, 3)
    ]
    levels = [int(np.asarray(shown(content))[0, 10]) for content in lossless]
    assert levels == sorted(set(levels))
    for quality, frame in ((100, 1), (1, 2)):
        answer = await client.get(
            f"{url_of(stored, version)}/frames/{frame}/rendered?quality={quality}"
        )
        assert answer.headers["content-type"] == "image/jpeg"


async def test_quality_makes_jpeg_smaller(client: Client, stored: Dataset) -> None:
    url = f"{url_of(stored)}/rendered"
    small, large = [(await client.get(f"{url}?quality={q}")).content for q in (1, 100)]
    assert len(small) < len(large)


REFUSED = [
    ("/rendered", {"Accept": "*/*"}, 406, 200),
    ("/rendered", {"Accept": "image/jpeg, image/png"}, 406, 200),
    ("/rendered", {"Accept": "image/gif"}, 406, 200),
    ("/rendered", {"Accept": "image/webp"}, 406, 406),
    ("/rendered", {"Accept": "image/webp, image/*;q=0.1"}, 406, 200),
    ("/rendered", {"Accept": "application/dicom"}, 406, 406),
    ("/rendered", {"Accept": "video/mp4"}, 406, 406),
    ("/rendered?quality=0", {}, 400, 400),
    ("/rendered?quality=101", {}, 400, 400),
    ("/rendered?quality=x", {}, 400, 400),
    ("/rendered?window=1", {}, 200, 400),
    ("/rendered?window=1,0,linear", {}, 200, 400),
    ("/rendered?viewport=0,0", {}, 200, 400),
    ("/rendered?viewport=10,10,500,500,5,5", {}, 200, 400),
    ("/rendered?viewport=8192,8192,0,0,5e-324,5e-324", {}, 200, 400),
    ("/rendered?iccprofile=maybe", {}, 200, 400),
    ("/rendered?annotation=patient,technique", {}, 200, 200),
    ("/rendered?accept=image/png", {"Accept": "image/jpeg"}, 200, 200),
    ("/frames/0/rendered", {}, 400, 400),
    ("/frames/x/rendered", {}, 400, 400),
    ("/frames/4/rendered", {}, 404, 404),
    ("/frames/1,2/rendered", {}, 400, 200),
    ("/thumbnail", {"Accept": "image/png"}, 404, 406),
    ("/thumbnail?viewport=a", {}, 404, 400),
    ("/frames/1,2/thumbnail", {}, 404, 400),
    ("/frames/4/thumbnail", {}, 404, 404),
    ("/frames/3/thumbnail", {}, 404, 200),
]


@pytest.mark.parametrize(("resource", "headers", "v1", "v2"), REFUSED)
async def test_what_is_asked_for_has_its_status(  # noqa: PLR0913, PLR0917
    client: Client,
    stored: Dataset,
    resource: str,
    headers: dict[str, str],
    v1: int,
    v2: int,
) -> None:
    for version, status in (("v1", v1), ("v2", v2)):
        answer = await client.send("GET", url_of(stored, version) + resource, headers=headers)
        assert (version, answer.status_code) == (version, status)
        if status >= 400:
            code_of(answer.content)


async def test_the_window_asked_for_is_shown(client: Client, stored: Dataset) -> None:
    url = f"{url_of(stored)}/rendered"
    answer = await client.get(f"{url}?window=200,1,linear", "image/png")
    row = np.asarray(shown(answer.content))[0]
    assert set(row.tolist()) == {0, 255}
    assert row.tolist() == sorted(row.tolist())


async def test_the_viewport_asked_for_is_shown(client: Client, stored: Dataset) -> None:
    url = f"{url_of(stored)}/rendered"
    whole = shown((await client.get(f"{url}?viewport=16,16", "image/png")).content)
    assert whole.size == (16, 8)
    region = shown((await client.get(f"{url}?viewport=64,64,48,0,16,32", "image/png")).content)
    assert region.size == (32, 64)
    assert np.asarray(region).min() > 180


async def test_all_frames_move_as_gif(client: Client, stored: Dataset) -> None:
    for resource, frames in (("rendered", 3), ("frames/3,1/rendered", 2)):
        answer = await client.get(f"{url_of(stored)}/{resource}", "image/gif")
        assert answer.headers["content-type"] == "image/gif"
        assert shown(answer.content).n_frames == frames  # type: ignore[attr-defined]


async def test_several_frames_come_in_parts_that_tell_where_they_are(
    client: Client, stored: Dataset
) -> None:
    answer = await client.get(f"{url_of(stored)}/frames/3,1/rendered")
    assert answer.headers["content-type"].startswith('multipart/related; type="image/jpeg"')
    parts = parts_of(answer)
    assert [part[1] for part in parts] == [
        f"http://archive.test{url_of(stored)}/frames/{n}/rendered" for n in (3, 1)
    ]
    for type_, location, content in parts:
        assert type_ == "image/jpeg"
        assert (await client.get(location)).content == content


async def test_every_image_of_a_study_is_rendered(client: Client) -> None:
    first = ramp()
    second = ramp(StudyInstanceUID=first.StudyInstanceUID)
    report = dataset(StudyInstanceUID=first.StudyInstanceUID)
    broken = image(StudyInstanceUID=first.StudyInstanceUID)
    broken.PixelData = encapsulate([b"\xff\xd8 nothing"])
    broken["PixelData"].is_undefined_length = True
    await client.store(
        "/v2",
        [part10(first), part10(report), part10(broken, JPEGBaseline8Bit), part10(second)],
    )
    study = f"/v2/studies/{first.StudyInstanceUID}"
    series = f"{study}/series/{first.SeriesInstanceUID}"
    for url, sources in ((study, [first, second]), (series, [first])):
        parts = parts_of(await client.get(f"{url}/rendered", "*/*"))
        assert [part[1] for part in parts] == [
            f"http://archive.test{url_of(source)}/rendered" for source in sources
        ]
        assert all(shown(part[2]).size == (64, 32) for part in parts)
    only_broken = f"{study}/series/{broken.SeriesInstanceUID}/rendered"
    assert (await client.get(only_broken)).status_code == 406
    only_report = f"{study}/series/{report.SeriesInstanceUID}/rendered"
    assert (await client.get(only_report)).status_code == 404


async def test_an_image_described_with_a_vr_that_is_none_is_left_out_of_its_study(
    client: Client,
) -> None:
    source = ramp()
    odd = ramp(StudyInstanceUID=source.StudyInstanceUID)
    content = part10(odd)
    assert content.count(b"\x28\0\x02\0US") == 1
    content = content.replace(b"\x28\0\x02\0US", b"\x28\0\x02\0UZ")
    await client.store("/v2", [content, part10(source)])
    for resource in ("rendered", "thumbnail", "frames/1/rendered"):
        assert (await client.get(f"{url_of(odd)}/{resource}")).status_code == 406
    study = f"/v2/studies/{source.StudyInstanceUID}"
    (part,) = parts_of(await client.get(f"{study}/rendered", "*/*"))
    assert part[1] == f"http://archive.test{url_of(source)}/rendered"


async def test_a_thumbnail_is_small_and_may_be_kept(client: Client) -> None:
    source = image(rows=512, columns=256)
    report = dataset(StudyInstanceUID=source.StudyInstanceUID)
    await client.store("/v2", [part10(report), part10(source)])
    study = f"/v2/studies/{source.StudyInstanceUID}"
    series = f"{study}/series/{source.SeriesInstanceUID}"
    for url in (study, series, url_of(source), f"{url_of(source)}/frames/1"):
        answer = await client.get(f"{url}/thumbnail")
        assert answer.headers["content-type"] == "image/jpeg"
        assert shown(answer.content).size == (64, 128)
        assert answer.headers["cache-control"] == "private, max-age=300"
        tag = answer.headers["etag"]
        kept = await client.get(f"{url}/thumbnail", If_None_Match=tag)
        assert (kept.status_code, kept.content) == (304, b"")
    smaller = await client.get(f"{study}/thumbnail?viewport=32,32", "image/*")
    assert shown(smaller.content).size == (16, 32)
    without = f"{study}/series/{report.SeriesInstanceUID}/thumbnail"
    assert (await client.get(without)).status_code == 404


@pytest.mark.parametrize("content", [PDF, PDF[:101]])
async def test_a_pdf_is_given_as_it_is_for_the_browser_to_save(
    client: Client, content: bytes
) -> None:
    assert len(content) % 2
    source = dataset(SOPClassUID=EncapsulatedPDFStorage)
    source.EncapsulatedDocument = content + b"\0"
    source.EncapsulatedDocumentLength = len(content)
    source.MIMETypeOfEncapsulatedDocument = "application/pdf"
    await client.store("/v2", [part10(source)])
    for accept in ("*/*", "application/pdf", None):
        answer = await client.get(f"{url_of(source)}/rendered", accept)
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["content-disposition"] == "attachment"
    assert (await client.get(f"{url_of(source)}/rendered", "image/png")).status_code == 406
    assert (await client.get(f"{url_of(source, 'v1')}/rendered")).status_code == 404


async def test_another_document_is_not_shown(client: Client) -> None:
    source = dataset()
    source.EncapsulatedDocument = b"<script>alert(1)</script>" * 400
    source.MIMETypeOfEncapsulatedDocument = "text/html"
    await client.store("/v2", [part10(source)])
    assert (await client.get(f"{url_of(source)}/rendered")).status_code == 404


@pytest.mark.parametrize(("vr", "content"), [("LO", "%PDF-1.7"), ("OB", b""), ("UN", b"")])
async def test_a_pdf_whose_document_is_none_is_not_shown(
    client: Client, vr: str, content: str | bytes
) -> None:
    source = dataset(SOPClassUID=EncapsulatedPDFStorage)
    source.add_new(0x00420011, vr, content)
    await client.store("/v2", [part10(source)])
    assert (await client.get(f"{url_of(source)}/rendered")).status_code == 404


async def test_a_video_is_given_as_it_is(client: Client) -> None:
    source = image(frames=5)
    stream = b"\0\0\0\x18ftypmp42" + bytes(20_000)
    source.PixelData = encapsulate([stream])
    source["PixelData"].is_undefined_length = True
    await client.store("/v2", [part10(source, MPEG4HP41)])
    for accept in ("video/*", "video/mp4", "*/*"):
        answer = await client.get(f"{url_of(source)}/rendered", accept)
        assert (answer.headers["content-type"], answer.content) == ("video/mp4", stream)
    assert (await client.get(f"{url_of(source)}/rendered", "image/jpeg")).status_code == 406
    assert (await client.get(f"{url_of(source, 'v1')}/rendered")).status_code == 406


async def test_what_is_not_there_is_not_rendered(client: Client, stored: Dataset) -> None:
    for resource in ("rendered", "frames/1/rendered", "thumbnail"):
        unknown = await client.get(f"{url_of(ramp())}/{resource}")
        assert unknown.status_code == 404
    assert (await client.get("/v2/studies/1.2/rendered")).status_code == 404
    await client.send("DELETE", f"/v2/studies/{stored.StudyInstanceUID}")
    for version, status in (("v1", 404), ("v2", 410)):
        answer = await client.get(f"{url_of(stored, version)}/rendered")
        assert answer.status_code == status
    assert (await client.get(f"{url_of(stored)}/thumbnail")).status_code == 410


@pytest.mark.slow
async def test_v1_renders_no_large_instance(tmp_path: Path) -> None:
    source = image(rows=4096, columns=4096, frames=4)
    assert len(source.PixelData) > _LARGEST_V1_BYTES
    async with open_archive(tmp_path, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="200000000"):
        client = Client()
        await client.store("/v2", [part10(source, ExplicitVRLittleEndian)])
        assert (await client.get(f"{url_of(source, 'v1')}/rendered")).status_code == 406
        answer = await client.get(f"{url_of(source)}/frames/4/rendered?viewport=64,64")
        assert shown(answer.content).size == (64, 64)


async def test_head_tells_of_a_rendered_image_without_its_bytes(
    client: Client, stored: Dataset
) -> None:
    got = await client.get(f"{url_of(stored)}/rendered")
    head = await client.send("HEAD", f"{url_of(stored)}/rendered")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "vary"):
        assert head.headers[name] == got.headers[name]
