"""What a hostile world sends, over the wire: refused or borne, in bounded memory, by one server.

Every test leaves the server serving; after the last of them, what all have cost it is looked at.
"""

import gzip
import os
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from struct import pack
from time import monotonic
from typing import Any

import httpx
import orjson
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from tests.archive import http_functions
from tests.builders import dataset, image, multipart, part10
from tests.e2e.server import Server, running
from tests.e2e.wire import (
    AS_STORED,
    DICOM_JSON,
    FAILED_SOP_SEQUENCE,
    client,
    instance_path,
    retrieve,
    series_path,
    store_one,
    study_path,
)

pytestmark = pytest.mark.host

_MAX_MEMORY_BYTES = 640_000_000
"""For a parent and two workers, twice what they need; any one bomb unfolded is more."""
_SERVED_WITHIN_SECONDS = 10
_MAX_PARTS = 100
_NATIVE = {"Accept": "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"}
_RENDERED = {"Accept": "image/jpeg"}
_ACTIVE = ("text/html", "image/svg+xml", "text/xml", "application/xhtml+xml", "application/xml")
_TOO_BIG = 65535


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It must outlive every test of this module, and log no surprise."""
    data = tmp_path_factory.mktemp("hostile") / "data"
    with running(data, {"STORE_MAX_PARTS": str(_MAX_PARTS)}) as started:
        workers = started.worker_pids()
        yield started
        assert started.worker_pids() == workers, started.log()
        assert "Traceback" not in started.log(), started.log()
        assert started.peak_memory_bytes() < _MAX_MEMORY_BYTES


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client; after its test the server serves as before."""
    async with client(server.v2, 0) as opened:
        yield opened
        begun = monotonic()
        await _store(opened, good := image())
        assert await retrieve(opened, instance_path(good)) == part10(good)
        assert monotonic() - begun < _SERVED_WITHIN_SECONDS


async def _store(http: httpx.AsyncClient, stored: Dataset, syntax: str | None = None) -> None:
    file = part10(stored) if syntax is None else part10(stored, syntax)
    answer = await store_one(http, file)
    assert answer.status_code in (200, 202), answer.text


def _is_refused(answer: httpx.Response) -> None:
    """It is an error of the client's, in the one shape that errors have."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:200])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["error"]["message"].endswith(".")


def _coded(frame: bytes, syntax: str, **keywords: Any) -> bytes:
    """A file with one frame of encapsulated pixel data."""
    built = image(**keywords)
    built.PixelData = encapsulate([frame])
    built["PixelData"].VR = "OB"
    built["PixelData"].is_undefined_length = True
    return part10(built, syntax)


# Decompression bombs.


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip", "nonsense"])
async def test_a_body_in_a_content_coding_is_refused(http: httpx.AsyncClient, coding: str) -> None:
    headers = {"Content-Type": "application/dicom", "Content-Encoding": coding, **DICOM_JSON}
    answer = await http.post("/studies", content=gzip.compress(part10(image())), headers=headers)
    assert answer.status_code in (409, 415), answer.text


async def test_a_deflated_bomb_is_refused(http: httpx.AsyncClient) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    megabyte = bytes(1 << 20)
    whole = part10(image(), DeflatedExplicitVRLittleEndian)
    meta = 132 + 12 + int.from_bytes(whole[140:144], "little")
    start = part10(image())[meta:]
    bomb = packer.compress(start[: start.index(b"\xe0\x7f\x10\x00")])
    bomb += packer.compress(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\x7f")
    bomb += b"".join(packer.compress(megabyte) for _ in range(512)) + packer.flush()
    answer = await store_one(http, whole[:meta] + bomb)
    assert len(bomb) < 1 << 20
    assert answer.status_code == 409, answer.text


# Frames whose headers promise far more than the bytes can hold.

_JPEG_BOMB = (
    b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0"
    b"\xff\xc4\0\x14\0" + b"\1" + bytes(15) + b"\0"
    b"\xff\xc4\0\x14\x10" + b"\1" + bytes(15) + b"\0"
    b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(64) + b"\xff\xd9"
)
_JPEG_LS_BOMB = (
    b"\xff\xd8\xff\xf7\0\x0b\x10\xff\xff\xff\xff\1\1\x11\0\xff\xda\0\x08\1\1\0\0\0\0"
    + bytes(64)
    + b"\xff\xd9"
)
_JPEG_2000_BOMB = (
    b"\xff\x4f\xff\x51\0\x29\0\0"
    + pack(">8L", _TOO_BIG, _TOO_BIG, 0, 0, _TOO_BIG, _TOO_BIG, 0, 0)
    + b"\0\1\x0f\1\1"
    + b"\xff\x52\0\x0c\0\0\0\1\0\5\4\4\0\1"
    + b"\xff\x5c\0\x13\x40"
    + bytes([0x40] * 16)
    + b"\xff\x90\0\x0a\0\0\0\0\0\x0e\0\1\xff\x93"
    + b"\xff\xd9"
)
_RLE_BOMB = pack("<16L", 2, 64, 66, *([0] * 13)) + b"\x81\0\x81\0"
_RLE_OUT_OF_BOUNDS = pack("<16L", 2, 64, 0xFFFFFFF0, *([0] * 13)) + bytes(64)
_RLE_MANY_SEGMENTS = pack("<16L", 0xFFFFFFFF, *([64] * 15)) + bytes(64)

_BOMBS = [
    pytest.param(_JPEG_BOMB, JPEGBaseline8Bit, id="JPEG"),
    pytest.param(_JPEG_LS_BOMB, JPEGLSLossless, id="JPEG-LS"),
    pytest.param(_JPEG_2000_BOMB, JPEG2000Lossless, id="JPEG 2000"),
    pytest.param(_JPEG_2000_BOMB, HTJ2KLossless, id="HTJ2K"),
    pytest.param(_RLE_BOMB, RLELossless, id="RLE"),
    pytest.param(_RLE_OUT_OF_BOUNDS, RLELossless, id="RLE out of bounds"),
    pytest.param(_RLE_MANY_SEGMENTS, RLELossless, id="RLE with too many segments"),
    pytest.param(b"\xff\xd8" * 500, JPEGBaseline8Bit, id="JPEG that only begins"),
    pytest.param(b"\0\0", JPEG2000Lossless, id="zeros"),
]


@pytest.mark.parametrize("size", [16, _TOO_BIG], ids=["told small", "told big"])
@pytest.mark.parametrize(("frame", "syntax"), _BOMBS)
@pytest.mark.parametrize(
    ("suffix", "accept"), [("/frames/1", _NATIVE), ("/frames/1/rendered", _RENDERED)]
)
async def test_a_bomb_in_a_frame_is_stored_or_refused_but_never_unfolded(  # noqa: PLR0913, PLR0917
    http: httpx.AsyncClient,
    frame: bytes,
    syntax: str,
    size: int,
    suffix: str,
    accept: dict[str, str],
) -> None:
    uid = generate_uid()
    file = _coded(frame, syntax, StudyInstanceUID=uid, SeriesInstanceUID=uid, SOPInstanceUID=uid)
    file = file.replace(b"\x28\0\x10\0US\2\0\x10\0", b"\x28\0\x10\0US\2\0" + pack("<H", size))
    file = file.replace(b"\x28\0\x11\0US\2\0\x10\0", b"\x28\0\x11\0US\2\0" + pack("<H", size))
    path = f"/studies/{uid}/series/{uid}/instances/{uid}"
    stored = await store_one(http, file)
    begun = monotonic()
    if stored.status_code == 409:
        _is_refused(await http.get(path + suffix, headers=accept))
    else:
        assert stored.status_code in (200, 202), stored.text
        _is_refused(await http.get(path + suffix, headers=accept))
        assert await retrieve(http, path) == file
    assert monotonic() - begun < _SERVED_WITHIN_SECONDS


# Dimensions and tables that lie.


@pytest.mark.parametrize(
    "lie",
    [
        {"Rows": _TOO_BIG, "Columns": _TOO_BIG},
        {"Rows": _TOO_BIG, "Columns": _TOO_BIG, "NumberOfFrames": 2147483647},
        {"NumberOfFrames": 2147483647},
        {"NumberOfFrames": -1},
        {"SamplesPerPixel": _TOO_BIG, "PlanarConfiguration": 1},
        {"BitsAllocated": _TOO_BIG},
        {"BitsAllocated": 0},
        {"Rows": 0, "Columns": 0},
        {"BitsStored": 200, "HighBit": 250},
    ],
    ids=lambda lie: ", ".join(f"{name} {value}" for name, value in lie.items()),
)
async def test_pixels_that_are_not_there_are_not_given(
    http: httpx.AsyncClient, lie: dict[str, int]
) -> None:
    liar = image()
    for keyword, value in lie.items():
        setattr(liar, keyword, value)
    await store_one(http, part10(liar))
    for suffix, accept in (("/frames/2", _NATIVE), ("/rendered", _RENDERED)):
        answer = await http.get(instance_path(liar) + suffix, headers=accept)
        if answer.status_code == 200:
            # What is there may be shown: more of it than was sent may not.
            assert suffix == "/rendered"
            assert len(answer.content) < 10_000
        else:
            _is_refused(answer)


@pytest.mark.parametrize(
    "descriptor",
    [[256, 0, 16], [0, 0, 16], [256, 65535, 8], [65535, 0, 16], [1, 1, 1], [256, 0, 255]],
    ids=str,
)
async def test_a_lookup_table_is_not_read_beyond_its_end(
    http: httpx.AsyncClient, descriptor: list[int]
) -> None:
    palette = image(rows=2, columns=2)
    palette.PhotometricInterpretation = "PALETTE COLOR"
    palette.BitsAllocated, palette.BitsStored, palette.HighBit = 8, 8, 7
    palette.PixelData = b"\0\1\xfe\xff"
    for color in ("Red", "Green", "Blue"):
        setattr(palette, f"{color}PaletteColorLookupTableDescriptor", descriptor)
        setattr(palette, f"{color}PaletteColorLookupTableData", b"\1\2\3\4")
    table = Dataset()
    table.LUTDescriptor = descriptor
    table["LUTDescriptor"].VR = "US"
    table.LUTData = b"\1\2\3\4"
    table["LUTData"].VR = "OW"
    grey = image(ModalityLUTSequence=[table], VOILUTSequence=[table])
    for built in (palette, grey):
        stored = await store_one(http, part10(built))
        assert stored.status_code < 500
        answer = await http.get(f"{instance_path(built)}/rendered", headers=_RENDERED)
        if answer.status_code != 200:
            _is_refused(answer)


async def test_sequences_of_any_depth_are_borne(http: httpx.AsyncClient) -> None:
    opened = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    file = part10(dataset())
    for depth in (65, 10_000):
        answer = await store_one(http, file + opened * depth)
        assert answer.status_code == 409, answer.text


# Files that are something else as well, and values that are more than text.


@pytest.mark.parametrize(
    "start", [b"MZ", b"\x7fELF", b"#!/bin/sh\n", b"\xca\xfe\xba\xbe"], ids=repr
)
async def test_a_program_before_the_prefix_never_comes_back(
    http: httpx.AsyncClient, start: bytes
) -> None:
    built = image()
    file = start.ljust(128, b"\x90") + part10(built)[128:]
    answer = await store_one(http, file)
    if answer.status_code == 409:
        return
    assert (await retrieve(http, instance_path(built)))[:128] == bytes(128)


async def test_script_in_values_comes_back_as_json_alone(http: httpx.AsyncClient) -> None:
    script = "<script>alert(1)</script>"
    built = dataset(PatientName=script, PatientID=script, StudyDescription=script)
    await _store(http, built)
    for path in (
        f"/studies?StudyInstanceUID={built.StudyInstanceUID}",
        f"{study_path(built)}/series",
        f"{series_path(built)}/instances",
        f"{instance_path(built)}/metadata",
    ):
        # As a browser that was led there by a link asks.
        browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
        answer = await http.get(path, headers={"Accept": browser})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/dicom+json"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("sop_class", "media_type", "document"),
    [
        (EncapsulatedPDFStorage, "text/html", b"<html><script>alert(1)</script></html>"),
        (EncapsulatedPDFStorage, "image/svg+xml", b"<svg><script>alert(1)</script></svg>"),
        (EncapsulatedCDAStorage, "text/xml", b"<?xml version='1.0'?><ClinicalDocument/>"),
        (EncapsulatedPDFStorage, "application/pdf\r\nSet-Cookie: a=b", b"%PDF-1.4"),
    ],
    ids=["HTML", "SVG", "CDA", "a header"],
)
async def test_an_active_document_is_never_shown_in_place(
    http: httpx.AsyncClient, sop_class: str, media_type: str, document: bytes
) -> None:
    built = dataset(
        SOPClassUID=sop_class, MIMETypeOfEncapsulatedDocument=media_type, Modality="DOC"
    )
    built.EncapsulatedDocument = document + b"\0" * (5000 - len(document))
    stored = await store_one(http, part10(built))
    assert stored.status_code in (200, 202, 409), stored.text
    for suffix in ("", "/rendered", "/bulkdata/00420011", "/bulkdata", "/thumbnail"):
        for accept in ("*/*", "text/html, */*;q=0.1", media_type.partition("\r")[0]):
            answer = await http.get(instance_path(built) + suffix, headers={"Accept": accept})
            assert answer.status_code < 500
            assert "set-cookie" not in answer.headers
            assert answer.headers["x-content-type-options"] == "nosniff"
            if answer.headers.get("content-type", "").startswith(_ACTIVE):
                assert answer.headers["content-disposition"].startswith("attachment")


# Headers that would end early.


@pytest.mark.parametrize(
    "path",
    [
        "/studies/1.2%0d%0aSet-Cookie:%20a=b",
        "/partitions/a%0d%0aSet-Cookie:%20a=b/studies",
        "/studies?PatientName=%0d%0aSet-Cookie:%20a=b&fuzzymatching=true",
        "/studies?%0d%0aSet-Cookie:%20a=b=1",
        "/studies?includefield=%0d%0aSet-Cookie:%20a=b",
        "/studies?accept=application/dicom%0d%0aSet-Cookie:%20a=b",
        "/studies/1.2/series/1.2/instances/1.2/bulkdata/%0d%0aSet-Cookie:%20a=b",
        "/%0d%0aSet-Cookie:%20a=b",
    ],
)
async def test_nothing_of_a_url_becomes_a_header(http: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        answer = await http.request(method, path)
        assert answer.status_code < 500
        assert "set-cookie" not in answer.headers
        assert not any({"\r", "\n"} & set(value) for value in answer.headers.values())


@pytest.mark.parametrize("boundary", ['"a\\\r\nX: y"', '"a b\x01"', "a" * 71, '"\r\n"', "ü"])
def test_a_boundary_that_is_none_is_refused(server: Server, boundary: str) -> None:
    kind = f"multipart/related; type=application/dicom; boundary={boundary}".encode()
    request = b"POST /v2/studies HTTP/1.1\r\nHost: localhost\r\n"
    request += b"Connection: close\r\nContent-Length: 0\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request + b"Content-Type: " + kind + b"\r\n\r\n")
        status = connection.makefile("rb").readline()
    assert b" 400 " in status or b" 415 " in status


# Queries and bodies made to cost.


@pytest.mark.parametrize(
    "query",
    [
        "PatientName=" + "*a" * 2000,
        "PatientName=" + "?" * 3000,
        "StudyDescription=" + "*" * 50 + "x",
        "&".join(f"StudyInstanceUID=1.{number}" for number in range(999)),
        "StudyInstanceUID=" + ",".join(f"1.{number}" for number in range(2500)),
        "includefield=" + ",".join(f"0008{number:04X}" for number in range(2500)),
        "&".join("includefield=all" for _ in range(999)),
        "offset=99999999999",
        "limit=5000&offset=2147483647",
        ".".join(["RequestAttributesSequence"] * 300) + "=1",
        "PatientName%27)%20OR%201=1--=x",
        "x" * 7000 + "=1",
    ],
    ids=lambda query: query[:30],
)
async def test_a_query_made_to_cost_is_answered_at_once(
    http: httpx.AsyncClient, query: str
) -> None:
    begun = monotonic()
    for path in ("/studies", "/series", "/instances"):
        answer = await http.get(f"{path}?{query}", headers=DICOM_JSON)
        if answer.status_code not in (200, 204):
            _is_refused(answer)
    assert monotonic() - begun < _SERVED_WITHIN_SECONDS


async def test_more_parts_than_allowed_are_too_many(http: httpx.AsyncClient) -> None:
    body, headers = multipart([b"x"] * 50_000)
    answer = await http.post("/studies", content=body, headers=headers)
    assert answer.status_code == 413, answer.text
    _is_refused(answer)


async def test_a_multipart_body_within_a_part_is_unsupported(http: httpx.AsyncClient) -> None:
    inner, kind = multipart([part10(image())])
    body, headers = multipart([inner], kind["Content-Type"])
    answer = await http.post("/studies", content=body, headers=headers)
    assert answer.status_code == 415, answer.text


async def test_headers_of_a_part_that_never_end_are_refused(http: httpx.AsyncClient) -> None:
    body = b"--b\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(500_000))
    headers = {"Content-Type": "multipart/related; type=application/dicom; boundary=b"}
    try:
        answer = await http.post("/studies", content=body, headers=headers)
    except (httpx.WriteError, httpx.ReadError):
        return  # It was cut off while it went on.
    _is_refused(answer)


# What a client says may be fetched is fetched by nobody.


async def test_a_reference_to_elsewhere_is_never_followed(http: httpx.AsyncClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(1)
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/bulk"
        built = dataset(RetrieveURL=url, EncapsulatedDocument=os.urandom(10))
        document = built.to_json_dict()
        document["00420011"] = {"vr": "OB", "BulkDataURI": url}
        document["7FE00010"] = {"vr": "OW", "BulkDataURI": url}
        body, headers = multipart([orjson.dumps([document])], "application/dicom+json")
        headers["Content-Type"] = headers["Content-Type"].replace(
            '"application/dicom"', '"application/dicom+json"'
        )
        answer = await http.post("/studies", content=body, headers=headers)
        assert answer.status_code < 500
        await _store(http, built)
        for suffix in ("/metadata", "/bulkdata/00420011", f"/bulkdata/{url}", "/rendered"):
            assert (await http.get(instance_path(built) + suffix)).status_code < 500
        with pytest.raises(TimeoutError):
            elsewhere.accept()


# One partition shows nothing of another.

_READERS = sorted(
    (route.template, method)
    for route, _ in http_functions().values()
    for method in route.methods & {"GET", "DELETE"}
    if "{partition}" in route.template
)


def test_there_are_routes_to_walk() -> None:
    assert len(_READERS) > 15


@pytest.fixture(scope="module")
def secret() -> Dataset:
    return image(frames=2, EncapsulatedDocument=bytes(5000))


@pytest.mark.parametrize(("template", "method"), _READERS)
async def test_a_route_shows_nothing_of_another_partition(
    http: httpx.AsyncClient, secret: Dataset, template: str, method: str
) -> None:
    owner = await http.post(
        "/partitions/owner/studies",
        content=part10(secret),
        headers={"Content-Type": "application/dicom", **DICOM_JSON},
    )
    assert owner.status_code in (200, 202)
    other = image()
    answer = await http.post(
        "/partitions/other/studies",
        content=part10(other),
        headers={"Content-Type": "application/dicom", **DICOM_JSON},
    )
    assert answer.status_code in (200, 202)
    names = {
        "study": secret.StudyInstanceUID,
        "series": secret.SeriesInstanceUID,
        "instance": secret.SOPInstanceUID,
        "frames": "1",
        "*reference": "00420011",
        "upload": "0" * 32,
    }
    path = template.removeprefix("{version}")
    for name, value in names.items():
        path = path.replace("{" + name + "}", value)
    path = path.replace("{partition}", "other")
    assert "{" not in path
    is_of_all_studies = secret.StudyInstanceUID not in path
    query = {"StudyInstanceUID": secret.StudyInstanceUID} if is_of_all_studies else {}
    seen = await http.request(method, path, params=query)
    assert secret.SOPInstanceUID.encode() not in seen.content
    assert seen.status_code in ((204, 404) if method == "GET" else (404,)), seen.text
    mine = await http.get(f"/partitions/owner{instance_path(secret)}", headers=AS_STORED)
    assert mine.content == part10(secret)


async def test_a_refusal_tells_which_instance_and_no_more(http: httpx.AsyncClient) -> None:
    body, headers = multipart([b"nonsense", part10(image())])
    answer = await http.post("/studies", content=body, headers=headers)
    [failed] = answer.json()[FAILED_SOP_SEQUENCE]["Value"]
    assert "Doe" not in answer.text
    assert failed["00081197"]["Value"][0]
