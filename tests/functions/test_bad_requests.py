"""Requests that are wrong, each with the status of the reference; none changes the archive."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.archive import Client, blobs_in, code_of, open_archive

JSON = "application/dicom+json"
STORE = {"Content-Type": "application/dicom", "Accept": JSON}
LONG_UID = "1" * 65

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    folder = tmp_path_factory.mktemp("archive")
    async with open_archive(folder):
        yield Client()
    assert blobs_in(folder) == []


BAD_REQUESTS = [
    # method, path, headers, body, status in v1, in v2
    ("POST", "/studies", {"Accept": JSON}, b"x", 415, 415),
    ("POST", "/studies", {"Accept": JSON, "Content-Type": "garbage"}, b"x", 415, 415),
    ("POST", "/studies", {"Accept": JSON, "Content-Type": "multipart/form"}, b"x", 415, 415),
    ("POST", "/studies", {"Accept": JSON, "Content-Type": "multipart/related"}, b"x", 415, 415),
    ("POST", "/studies", {"Accept": JSON, "Content-Type": "text/plain"}, b"x", 415, 415),
    (
        "POST",
        "/studies",
        {"Accept": JSON, "Content-Type": "multipart/related; boundary=b; start=1"},
        b"--b--",
        400,
        400,
    ),
    (
        "POST",
        "/studies",
        {"Accept": JSON, "Content-Type": "multipart/related; boundary=b"},
        b"no boundary",
        400,
        400,
    ),
    (
        "POST",
        "/studies",
        {"Accept": JSON, "Content-Type": "multipart/related; boundary=b"},
        b"--b\r\nContent-Type: application/dicom\r\n\r\nDICM",
        400,
        400,
    ),
    (
        "POST",
        "/studies",
        {"Accept": JSON, "Content-Type": "multipart/related; boundary=b"},
        b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--",
        415,
        415,
    ),
    ("POST", "/studies/abc", STORE, b"x", 400, 400),
    ("POST", "/studies/" + "b" * 65, STORE, b"x", 400, 400),
    ("POST", "/studies/abc", {**STORE, "Accept": "application/dicom"}, b"x", 406, 406),
    ("POST", "/studies", {**STORE, "Accept": "application/data"}, b"x", 406, 406),
    ("POST", "/studies", {"Content-Type": "application/dicom"}, b"x", 406, None),
    ("GET", "/studies/1.2", {"Accept": "*/*"}, b"", 406, 404),
    ("GET", "/studies/1.2", {}, b"", 406, 404),
    ("GET", "/studies/1.2", {"Accept": "multipart/related; type=*/*"}, b"", 404, 404),
    ("GET", "/studies/1.2/series/1.3/instances/1.4", {"Accept": "*/*"}, b"", 404, 404),
    ("GET", "/studies/abc", {"Accept": "multipart/related; type=*/*"}, b"", 400, 400),
    ("GET", "/studies/1.", {"Accept": "multipart/related; type=*/*"}, b"", 400, 400),
    ("GET", f"/studies/{LONG_UID}", {"Accept": "multipart/related; type=*/*"}, b"", 400, 400),
    ("GET", "/studies/1.2/series/..%2Fx", {"Accept": "multipart/related"}, b"", 400, 400),
    ("GET", "/studies/1", {"Accept": "application/dicom; transfer-syntax=*"}, b"", 406, 406),
    ("GET", "/studies/1", {"Accept": "multipart/related; type=image/jp2"}, b"", 406, 406),
    ("GET", "/studies/1/series/2", {"Accept": "application/dicom"}, b"", 406, 406),
    ("GET", "/studies/1/series/2/instances/3", {"Accept": "image/png"}, b"", 406, 406),
    (
        "GET",
        "/studies/1/series/2/instances/3",
        {"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.100"},
        b"",
        406,
        404,
    ),
    ("GET", "/studies/1/series/2/instances/3/frames/0", {"Accept": "*/*"}, b"", 400, 400),
    ("GET", "/studies/1/series/2/instances/3/frames/-1", {"Accept": "*/*"}, b"", 400, 400),
    ("GET", "/studies/1/series/2/instances/3/frames/1,-1", {"Accept": "*/*"}, b"", 400, 400),
    ("GET", "/studies/1/series/2/instances/3/frames/0,1", {"Accept": "*/*"}, b"", 400, 400),
    ("GET", "/studies/1/series/2/instances/3/frames/1,1", {"Accept": "*/*"}, b"", 400, 400),
    ("GET", "/studies/1/series/2/instances/3/frames/1.5", {"Accept": "*/*"}, b"", 400, 400),
    ("GET", "/studies/1/series/2/instances/3/frames/a", {"Accept": "*/*"}, b"", 400, 400),
    ("GET", "/studies/1/series/2/instances/3/frames/1", {"Accept": "*/*"}, b"", 404, 404),
    (
        "GET",
        "/studies/1/series/2/instances/3/frames/1,2",
        {"Accept": "application/octet-stream"},
        b"",
        400,
        406,
    ),
    ("GET", "/studies/1.2/metadata", {"Accept": JSON}, b"", 404, 404),
    ("GET", "/studies/1.2/metadata", {}, b"", 406, 404),
    ("GET", "/studies/abc/metadata", {"Accept": JSON}, b"", 400, 400),
    ("GET", "/studies/abc/metadata", {"Accept": "application/data"}, b"", 406, 406),
    ("GET", "/studies?limit=0", {"Accept": JSON}, b"", 400, 400),
    ("GET", "/studies?limit=201", {"Accept": JSON}, b"", 400, None),
    ("GET", "/studies?offset=-1", {"Accept": JSON}, b"", 400, 400),
    ("GET", "/studies?fuzzymatching=maybe", {"Accept": JSON}, b"", 400, 400),
    ("GET", "/studies?StudyDate=yesterday", {"Accept": JSON}, b"", 400, 400),
    ("GET", "/studies?NoSuchAttribute=1", {"Accept": JSON}, b"", 400, None),
    ("GET", "/studies?Modality=CT", {"Accept": JSON}, b"", 400, None),
    ("GET", "/studies?PatientName=%3cscript", {"Accept": JSON}, b"", 400, 400),
    ("GET", "/studies?" + "a=b&" * 1001, {"Accept": JSON}, b"", 400, 400),
    ("GET", "/studies/abc/series", {"Accept": JSON}, b"", 400, 400),
    ("GET", "/studies", {"Accept": "text/html"}, b"", 406, 406),
    ("DELETE", "/studies/1.2", {}, b"", 404, 404),
    ("DELETE", "/studies/abc", {}, b"", 400, 400),
    ("DELETE", "/studies/1/series/abc", {}, b"", 400, 400),
    ("DELETE", "/studies/1/series/2/instances/abc", {}, b"", 400, 400),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "v1", "v2"), BAD_REQUESTS)
async def test_a_bad_request_gets_its_status_and_the_one_body(  # noqa: PLR0913, PLR0917
    client: Client,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    v1: int,
    v2: int | None,
) -> None:
    for version, status in (("v1", v1), ("v1.0-prerelease", v1), ("v2", v2)):
        if status is not None:
            answer = await client.send(method, f"/{version}{path}", headers=headers, content=body)
            assert (version, answer.status_code) == (version, status)
            code_of(answer.content)
