"""Hostile and broken requests over the wire; after each of them the server serves as before."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.builders import image, multipart, part10
from tests.e2e.server import Server, running
from tests.e2e.wire import (
    AS_STORED,
    DICOM_JSON,
    FAILED_SOP_SEQUENCE,
    client,
    instance_path,
    retrieve,
    store_one,
)

pytestmark = pytest.mark.host

_MAX_PART_BYTES = 4_194_304
_DICOM = {"Content-Type": "application/dicom"}
_BOUNDARY = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
_PART = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
_FILE = part10(image())
_SERVED_WITHIN_SECONDS = 10
_UID = "2.25.281474976710655"
"""Of nothing: a fixed one, since it is in the names of tests, which processes must agree on."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes files up to a few MiB; it must outlive every test of this module."""
    data = tmp_path_factory.mktemp("hostile") / "data"
    # Names of other machines are let through, to see what becomes of a broken one.
    settings = {"STORE_MAX_PART_BYTES": str(_MAX_PART_BYTES), "ALLOW_UNAUTHENTICATED": "on"}
    with running(data, settings, workers=1) as started:
        workers = started.worker_pids()
        yield started
        assert started.worker_pids() == workers, started.log()
        assert "Traceback" not in started.log()


@pytest.fixture(autouse=True)
async def _serves_afterwards(server: Server) -> AsyncIterator[None]:
    yield
    dataset = image()
    async with client(server.v2, 0) as http:
        assert (await store_one(http, part10(dataset))).status_code == 200
        assert await retrieve(http, instance_path(dataset)) == part10(dataset)


def _is_error(answer: httpx.Response, status: int) -> None:
    """The answer is the one error body of the service, and tells nothing of its inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "requestId"}
    assert body["error"]["message"].endswith(".")
    assert "Traceback" not in answer.text


async def _post(server: Server, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with client(server.v2) as http:
        return await http.post("/studies", content=body, headers={**DICOM_JSON, **headers})


async def _get(server: Server, path: str, headers: dict[str, str] = DICOM_JSON) -> httpx.Response:
    async with client(server.v2) as http:
        return await http.get(path, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--b",
        b"--b\r\n",
        _PART + _FILE,
        _PART + _FILE + b"\r\n--b",
        b"--b\r\nContent-Type application/dicom\r\n\r\n" + _FILE + b"\r\n--b--\r\n",
        b"--b\r\nContent-Type: application/dicom\r\n" + b"X: y\r\n" * 10_000 + b"\r\n\r\n--b--",
        b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\n\r\n--b--",
        b"\r\n" * 100_000,
    ],
    ids=[
        "empty",
        "no boundary",
        "boundary alone",
        "no headers",
        "no end",
        "half an end",
        "header without colon",
        "many headers",
        "long header",
        "line feeds",
    ],
)
async def test_a_malformed_multipart_body_is_a_bad_request(server: Server, body: bytes) -> None:
    _is_error(await _post(server, body, _BOUNDARY), 400)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/dicom+json",
        "text/plain",
        "multipart/form-data; boundary=b",
        "multipart/related",
        'multipart/related; type="application/dicom"; boundary=',
        f"multipart/related; boundary={'b' * 1000}",
        "nonsense",
        ";;;",
    ],
)
async def test_another_content_type_is_unsupported(server: Server, content_type: str) -> None:
    _is_error(await _post(server, _FILE, {"Content-Type": content_type}), 415)


async def test_no_content_type_is_unsupported(server: Server) -> None:
    _is_error(await _post(server, _FILE, {}), 415)


async def test_a_part_of_another_type_is_unsupported(server: Server) -> None:
    body, headers = multipart([_FILE], "image/jpeg")
    _is_error(await _post(server, body, headers), 415)


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"this is no DICOM file" * 1000,
        b"\x00" * 132,
        b"\x00" * 128 + b"DICM",
        _FILE[:200],
        _FILE[: _FILE.index(b"Chest") + 2],
        b"\xff" * 3_000_000,
        b"\x00" * 128 + b"DICM" + b"\xff" * 1_000_000,
    ],
    ids=[
        "a letter",
        "text",
        "zeros",
        "preamble",
        "file meta",
        "half of an element",
        "noise",
        "noise after the preamble",
    ],
)
async def test_what_is_no_whole_dicom_file_is_refused_by_itself(
    server: Server, content: bytes
) -> None:
    good = image()
    body, headers = multipart([content, part10(good)])
    answer = await _post(server, body, headers)
    assert answer.status_code == 202
    report: dict[str, Any] = answer.json()
    assert len(report[FAILED_SOP_SEQUENCE]["Value"]) == 1
    async with client(server.v2) as http:
        assert await retrieve(http, instance_path(good)) == part10(good)


@pytest.mark.parametrize("content", [b"", b"no DICOM"], ids=["nothing", "text"])
async def test_a_single_part_that_is_no_dicom_file_is_a_conflict(
    server: Server, content: bytes
) -> None:
    answer = await _post(server, content, _DICOM)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/dicom+json"


async def test_a_file_that_is_too_big_is_told_so(server: Server) -> None:
    big = part10(image(rows=2048, columns=2048))
    _is_error(await _post(server, big, _DICOM), 413)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/abc", 400),
        (f"/studies/{'1' * 65}", 400),
        ("/studies/1.2%2F..%2F..", 400),
        ("/studies/..%5c..", 400),
        ("/studies/1.2%00.3", 400),
        (f"/studies/{_UID}", 404),
        (f"/studies/{_UID}/series/{_UID}", 404),
        (f"/studies/{_UID}/metadata", 404),
        (f"/studies/{_UID}/series/{_UID}/instances/{_UID}/frames/1", 404),
        (f"/studies/{_UID}/series/{_UID}/instances/{_UID}/frames/0", 400),
        (f"/studies/{_UID}/series/{_UID}/instances/{_UID}/frames/-1", 400),
        (f"/studies/{_UID}/series/{_UID}/instances/{_UID}/frames/1,,2", 400),
        (f"/studies/{_UID}/series/{_UID}/instances/{_UID}/frames/{'9' * 5000}", 400),
    ],
)
async def test_a_bad_or_unknown_resource_is_told_so(server: Server, path: str, status: int) -> None:
    headers = DICOM_JSON if path.endswith("metadata") else {}
    _is_error(await _get(server, path, headers), status)


@pytest.mark.parametrize("frame", ["2", "1,2", "999999999"])
async def test_a_frame_that_the_instance_lacks_is_not_found(server: Server, frame: str) -> None:
    dataset = image()
    await _post(server, part10(dataset), _DICOM)
    _is_error(await _get(server, f"{instance_path(dataset)}/frames/{frame}", {}), 404)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=99999999999999999999",
        "limit=abc",
        "offset=-1",
        "offset=99999999999999999999999999",
        "fuzzymatching=maybe",
        "StudyDate=20260101-20250101",
        "StudyDate=yesterday",
        "StudyDate=20269999",
        "PatientName=" + "a" * 5000,
        "PatientName=<script>",
        "&".join(f"PatientID={number}" for number in range(2000)),
        "PatientID=1&PatientID=2",
    ],
    ids=lambda query: query[:40],
)
async def test_an_absurd_query_is_a_bad_request(server: Server, query: str) -> None:
    _is_error(await _get(server, f"/studies?{query}"), 400)


@pytest.mark.parametrize(
    "query", ["NoSuchAttribute=1", "includefield=NoSuchAttribute", "%00=1", "=1"]
)
async def test_an_unknown_attribute_is_a_bad_request_in_v1(server: Server, query: str) -> None:
    async with client(server.v1) as http:
        _is_error(await http.get(f"/studies?{query}", headers=DICOM_JSON), 400)


@pytest.mark.parametrize(
    "query",
    [
        "PatientName=' OR 1=1 --",
        "PatientName=%25_[a-z]",
        "PatientName=***************************************************a",
        "PatientName=%F0%9F%92%A3",
        "PatientName=x%0d%0aSet-Cookie: injected=1",
        "StudyDescription=x%0d%0aSet-Cookie: injected=1",
        "PatientID=%00",
        "PatientID=%ff%fe",
        "offset=99999999",
    ],
)
async def test_a_strange_value_finds_nothing_and_does_no_harm(server: Server, query: str) -> None:
    answer = await _get(server, f"/studies?{query}")
    assert answer.status_code in (204, 400)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "application/dicom+json;q=0"])
async def test_a_representation_that_does_not_exist_is_not_acceptable(
    server: Server, accept: str
) -> None:
    dataset = image()
    await _post(server, part10(dataset), _DICOM)
    path = f"{instance_path(dataset)}/metadata"
    _is_error(await _get(server, path, {"Accept": accept}), 406)


@pytest.mark.parametrize(
    "accept", ["nonsense", "," * 5000, ""], ids=["nonsense", "commas", "empty"]
)
async def test_an_unreadable_accept_header_is_not_acceptable_in_v1(
    server: Server, accept: str
) -> None:
    async with client(server.v1) as http:
        _is_error(await http.get("/studies", headers={"Accept": accept}), 406)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /v2/studies HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /v2/studies HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET /v2/studies HTTP/1.1\r\nHost: a\r\nX\x00Y: a\r\n\r\n",
        b"POST /v2/studies HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/studies HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v2/studies HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v2/studies HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v2/studies HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ],
    ids=[
        "no request line",
        "no such version",
        "a carriage return in a header",
        "a zero in a header",
        "a negative length",
        "an endless length",
        "two lengths",
        "a length and chunks",
        "no chunk size",
    ],
)
def test_a_request_that_breaks_http_is_refused_or_cut(server: Server, request_bytes: bytes) -> None:
    answer = _exchange(server, request_bytes)
    assert answer == b"" or b" 4" in answer.splitlines()[0], answer[:200]
    assert answer.count(b"HTTP/1.1 ") <= 1


def test_a_host_header_cannot_write_headers_of_the_answer(server: Server) -> None:
    dataset = image()
    asyncio.run(_post(server, part10(dataset), _DICOM))
    answer = _exchange(
        server,
        b"GET /v2/studies?fuzzymatching=true&StudyDate=20260102&limit=1 HTTP/1.1\r\n"
        b'Host: a"b\tSet-Cookie: x=1\r\nConnection: close\r\n\r\n',
    )
    head = answer.partition(b"\r\n\r\n")[0]
    assert not any(line.lower().startswith(b"set-cookie") for line in head.splitlines())


def _exchange(server: Server, request_bytes: bytes) -> bytes:
    """What the server sends until it closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    return received


def test_slow_clients_keep_nobody_waiting(server: Server) -> None:
    head = b"POST /v2/studies HTTP/1.1\r\nHost: a\r\nContent-Type: application/dicom\r\n"
    body = b"Content-Length: 1000000\r\n\r\n" + _FILE[:100]
    dataset = image()
    with ExitStack() as stack:
        slow = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port))))
            for _ in range(200)
        ]
        for number, connection in enumerate(slow):
            # Half of them dawdle over their headers, half over their bodies.
            connection.sendall(head if number % 2 else head + body)
        begun = monotonic()
        for _ in range(10):
            for connection in slow:
                connection.sendall(b"x")
            asyncio.run(_store_and_retrieve(server, part10(dataset), instance_path(dataset)))
        assert monotonic() - begun < _SERVED_WITHIN_SECONDS


async def _store_and_retrieve(server: Server, file: bytes, path: str) -> None:
    async with client(server.v2, 0) as http:
        assert (await store_one(http, file)).status_code == 200
        assert await retrieve(http, path) == file


@pytest.mark.parametrize("start", [b"", _FILE[:-512]], ids=["of noise", "of a file"])
def test_an_endless_body_is_ended_at_the_limit(server: Server, start: bytes) -> None:
    head = b"POST /v2/studies HTTP/1.1\r\nHost: a\r\nContent-Type: application/dicom\r\n"
    sent = 0
    answer = b""
    chunk = b"%x\r\n" % 65536 + bytes(65536) + b"\r\n"
    before = server.blob_names()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"%x\r\n" % (len(start) or 1) + (start or b"x") + b"\r\n")
        try:
            while sent < 16 * _MAX_PART_BYTES:
                connection.sendall(chunk)
                sent += 65536
                connection.settimeout(0.001)
                try:
                    answer += connection.recv(65536)
                    break
                except TimeoutError:
                    pass
                finally:
                    connection.settimeout(30)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 16 * _MAX_PART_BYTES
    assert b" 413 " in answer.splitlines()[0]
    assert server.blob_names() == before


def test_a_client_that_never_reads_keeps_nobody_waiting(server: Server) -> None:
    dataset = image(rows=1024, columns=1024)
    asyncio.run(_post(server, part10(dataset), _DICOM))
    request = (
        f"GET /v2{instance_path(dataset)} HTTP/1.1\r\nHost: a\r\nAccept: {AS_STORED['Accept']}"
    )
    with ExitStack() as stack:
        for _ in range(50):
            connection = socket.create_connection(("127.0.0.1", server.port))
            stack.enter_context(closing(connection))
            # Closing resets, so that the server sees the client go.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(request.encode() + b"\r\n\r\n")
        begun = monotonic()
        asyncio.run(
            _store_and_retrieve(server, part10(dataset), instance_path(dataset)),
        )
        assert monotonic() - begun < _SERVED_WITHIN_SECONDS
