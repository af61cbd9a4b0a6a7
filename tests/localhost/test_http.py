import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import httpx
import pytest

from tests.e2e.server import Server
from tests.localhost.conftest import BODY_LIMIT_BYTES
from tests.localhost.sample import eventually, notes

pytestmark = pytest.mark.host

_MEBIBYTE = 1_048_576
_MUCH = 200
_FLAT_BYTES = 64 * _MEBIBYTE


def _chunks(mebibytes: int) -> Iterator[bytes]:
    for _ in range(mebibytes):
        yield b"u" * _MEBIBYTE


def test_a_function_reads_the_values_of_its_route_and_query(http: httpx.Client) -> None:
    answer = http.get("/hello/a%20b?x=1&y=%C3%A9")
    assert answer.status_code == 200
    assert answer.json() == {"name": "a b", "query": {"x": "1", "y": "é"}}


def test_an_encoded_slash_stays_within_its_value(http: httpx.Client) -> None:
    assert http.get("/hello/a%2fb").json()["name"] == "a%2Fb"


def test_a_function_that_is_not_async_is_served_too(http: httpx.Client) -> None:
    assert http.get("/sync/12").json() == {"number": "12"}


def test_head_has_the_headers_of_get_and_no_body(http: httpx.Client) -> None:
    got, head = http.get("/hello/x"), http.head("/hello/x")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nowhere"), ("GET", "/sync/x"), ("POST", "/hello/x"), ("GET", "/hello/x/y")],
)
def test_what_no_function_serves_is_not_found(http: httpx.Client, method: str, path: str) -> None:
    assert http.request(method, path).status_code == 404


def test_what_a_function_raises_is_answered_without_its_text(http: httpx.Client) -> None:
    answer = http.get("/fails")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_an_http_exception_decides_the_answer(http: httpx.Client) -> None:
    answer = http.get("/conflict")
    assert (answer.status_code, answer.json()) == (409, {"detail": "taken"})
    assert answer.headers["x-by"] == "sample"


def test_a_value_that_is_no_response_is_sent_as_json(http: httpx.Client) -> None:
    assert http.get("/plain").json() == {"plain": True}


def test_a_function_that_gives_nothing_is_an_error(http: httpx.Client) -> None:
    assert http.get("/nothing").status_code == 500


@pytest.mark.parametrize("position", ["before", "after"])
def test_an_invocation_id_from_outside_never_reaches_the_app(host: Server, position: str) -> None:
    lines = [b"Content-Length: 0", b"X-Ms-Invocation-Id: mine", b"X-Other: theirs"]
    head = lines if position == "after" else lines[::-1]
    request = b"\r\n".join([b"POST /headers HTTP/1.1", b"Host: h", b"Connection: close", *head])
    with socket.create_connection(("127.0.0.1", host.port), timeout=30) as connection:
        connection.sendall(request + b"\r\n\r\n")
        with connection.makefile("rb") as answer:
            seen = json.loads(answer.read().split(b"\r\n\r\n", 1)[1])
    assert seen["x-other"] == "theirs"
    assert "x-ms-invocation-id" not in seen


def test_an_upload_streams_in_constant_memory(host: Server, http: httpx.Client) -> None:
    digest = hashlib.sha256()
    for chunk in _chunks(_MUCH):
        digest.update(chunk)
    before = host.peak_memory_bytes()
    answer = http.post("/upload", content=_chunks(_MUCH))
    assert answer.json() == {"sha256": digest.hexdigest(), "length": _MUCH * _MEBIBYTE}
    assert host.peak_memory_bytes() - before < _FLAT_BYTES


def test_a_download_streams_in_constant_memory(host: Server, http: httpx.Client) -> None:
    before, length = host.peak_memory_bytes(), 0
    with http.stream("GET", f"/download/{_MUCH}") as answer:
        for chunk in answer.iter_bytes():
            length += len(chunk)
    assert length == _MUCH * _MEBIBYTE
    assert host.peak_memory_bytes() - before < _FLAT_BYTES


def test_a_body_declared_too_long_is_refused_unread(host: Server) -> None:
    with closing(HTTPConnection("127.0.0.1", host.port, timeout=30)) as connection:
        connection.putrequest("POST", "/upload")
        connection.putheader("Content-Length", str(BODY_LIMIT_BYTES + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_a_body_that_grows_too_long_is_refused(http: httpx.Client) -> None:
    answer = http.post("/upload", content=_chunks(BODY_LIMIT_BYTES // _MEBIBYTE + 1))
    assert answer.status_code == 413


def test_a_body_of_the_very_limit_is_taken(http: httpx.Client) -> None:
    answer = http.post("/upload", content=_chunks(BODY_LIMIT_BYTES // _MEBIBYTE))
    assert answer.json()["length"] == BODY_LIMIT_BYTES


def test_a_download_that_its_client_leaves_is_ended(host: Server, http: httpx.Client) -> None:
    with http.stream("GET", "/endless") as answer:
        chunks = answer.iter_raw(1)
        assert next(chunks) == b"x"
        assert not notes(host, "endless")
    assert eventually(lambda: notes(host, "endless")) == ["ended"]


def test_an_upload_that_its_client_leaves_is_ended(host: Server, http: httpx.Client) -> None:
    with closing(HTTPConnection("127.0.0.1", host.port, timeout=30)) as connection:
        connection.putrequest("POST", "/upload")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"only the beginning")
    assert eventually(lambda: notes(host, "upload")) == ["cut"]
    assert http.get("/hello/x").status_code == 200


def test_nothing_is_kept_of_requests_that_were_answered(host: Server) -> None:
    entries: dict[int, int] = {}
    while len(entries) < host.workers:
        with httpx.Client(base_url=host.address, timeout=30) as client:
            for path in ("/hello/x", "/fails", "/nothing", "/conflict") * 5:
                client.get(path)
            answer = client.get("/process").json()
        entries[answer["pid"]] = answer["entries"]
    assert set(entries) == set(host.worker_pids())
    assert set(entries.values()) == {1}, "the one is the request that asks"


def _send_endless_head(connection: socket.socket, line: bytes) -> int:
    """Send lines until the server has had enough; gives how many bytes it took."""
    sent = 0
    try:
        while sent < 50 * _MEBIBYTE:
            connection.sendall(line)
            sent += len(line)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sent


@pytest.mark.parametrize("line", [b"X: " + b"y" * 60_000 + b"\r\n", b"z" * 60_000])
def test_headers_that_never_end_are_cut_off(host: Server, http: httpx.Client, line: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", host.port), timeout=10)) as connection:
        connection.sendall(b"GET /hello/x HTTP/1.1\r\nHost: a\r\nA: ")
        assert _send_endless_head(connection, line) < 20 * _MEBIBYTE
    assert http.get("/hello/x").status_code == 200


def test_long_headers_and_queries_are_taken(http: httpx.Client) -> None:
    answer = http.get("/hello/x?q=" + "1" * 40_000, headers={"X-Long": "y" * 40_000})
    assert answer.status_code == 200
