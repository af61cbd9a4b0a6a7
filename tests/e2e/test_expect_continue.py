"""Clients that send a body only once they are told to go on (RFC 9110 10.1.1)."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.builders import image, multipart, part10
from tests.e2e.server import Server, running

pytestmark = pytest.mark.host

_MAX_PART_BYTES = 1_048_576
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("continue") / "data"
    settings = {"STORE_MAX_PART_BYTES": str(_MAX_PART_BYTES)}
    with running(data, settings, workers=1) as started:
        yield started


@contextmanager
def _asking(server: Server, length: int, **headers: str) -> Iterator[socket.socket]:
    """A connection over which a Store request without its body has been sent."""
    fields = {
        "Host": "localhost",
        "Accept": "application/dicom+json",
        "Content-Length": str(length),
        "Expect": "100-continue",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"POST /v2/studies HTTP/1.1\r\n{head}\r\n".encode())
        yield connection


def _head(connection: socket.socket) -> bytes:
    """What the server says up to the end of a header."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(1)
        assert piece, received
        received += piece
    return received


@pytest.mark.parametrize("is_multipart", [False, True])
def test_the_body_is_asked_for_and_then_taken(server: Server, *, is_multipart: bool) -> None:
    content = part10(image())
    content_type = "application/dicom"
    if is_multipart:
        content, headers = multipart([content])
        content_type = headers["Content-Type"]
    with _asking(server, len(content), Content_Type=content_type) as connection:
        assert _head(connection) == _CONTINUE
        connection.sendall(content)
        assert _head(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("status", "length", "headers"),
    [
        (413, _MAX_PART_BYTES + 1, {"Content_Type": "application/dicom"}),
        (413, 10**12, {"Content_Type": "multipart/related; boundary=b"}),
        (415, 1000, {"Content_Type": "text/plain"}),
        (415, 1000, {"Content_Type": "multipart/related"}),
        (406, 1000, {"Content_Type": "application/dicom", "Accept": "text/html"}),
    ],
)
def test_what_the_headers_tell_to_be_wrong_is_refused_without_a_body(
    server: Server, status: int, length: int, headers: dict[str, str]
) -> None:
    with _asking(server, length, **headers) as connection:
        assert _head(connection).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("path", ["/v2/studies/abc", "/v9/studies"])
def test_a_resource_that_is_none_is_told_without_a_body(server: Server, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = "Host: localhost\r\nContent-Type: application/dicom\r\nExpect: 100-continue\r\n"
        request = f"POST {path} HTTP/1.1\r\n{head}Accept: */*\r\nContent-Length: 9\r\n\r\n"
        connection.sendall(request.encode())
        assert _head(connection).startswith(b"HTTP/1.1 400 ")
