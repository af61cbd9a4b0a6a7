"""Uploads of one instance that race, are repeated, or end early."""

import asyncio
import http.client
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Barrier
from time import monotonic, sleep

import pytest
from pydicom.dataset import Dataset

from tests.builders import image, multipart, part10
from tests.e2e.named_blobs import named_blobs
from tests.e2e.server import WORKERS, Server
from tests.e2e.wire import client, instance_path, retrieve, search, store_one

pytestmark = pytest.mark.host

_ROUNDS = 10
_SETTLED_WITHIN_SECONDS = 20
_HEADERS = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}


@contextmanager
def connection_to_each_worker(server: Server) -> Iterator[list[http.client.HTTPConnection]]:
    """Connections that lead to different workers; the system decides which one a new one meets."""
    found: dict[int, http.client.HTTPConnection] = {}
    with ExitStack() as stack:
        for _ in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            stack.callback(connection.close)
            connection.request("GET", "/health/check")
            assert connection.getresponse().read()
            port = connection.sock.getsockname()[1]
            found.setdefault(server.worker_of(port), connection)
            if len(found) == WORKERS:
                break
        assert len(found) == WORKERS
        yield list(found.values())


def _race(connections: list[http.client.HTTPConnection], files: list[bytes]) -> list[int]:
    """Send a file over each connection at the same moment, and give the status of each."""
    barrier = Barrier(len(connections))

    def send(connection: http.client.HTTPConnection, file: bytes) -> int:
        barrier.wait()
        connection.request("POST", "/v2/studies", file, _HEADERS)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    with ThreadPoolExecutor(len(connections)) as threads:
        return list(threads.map(send, connections, files))


def _retrieved(server: Server, dataset: Dataset) -> bytes:
    async def get() -> bytes:
        async with client(server.v2) as http:
            [_] = await search(http, f"/studies/{dataset.StudyInstanceUID}/instances")
            return await retrieve(http, instance_path(dataset))

    return asyncio.run(get())


@pytest.mark.parametrize("rows", [16, 1024], ids=["small", "big"])
def test_racing_uploads_of_one_instance_on_two_workers_both_succeed(
    server: Server, rows: int
) -> None:
    with connection_to_each_worker(server) as connections:
        for _ in range(_ROUNDS):
            dataset = image(rows=rows, columns=1024)
            file = part10(dataset)
            assert _race(connections, [file] * WORKERS) == [200, 200]
            assert _retrieved(server, dataset) == file
    assert server.blob_names() == named_blobs(server.data)


def test_of_racing_uploads_that_differ_one_is_stored_and_the_other_told_so(server: Server) -> None:
    with connection_to_each_worker(server) as connections:
        for _ in range(_ROUNDS):
            dataset = image()
            files = [part10(dataset)]
            dataset.StudyDescription = "Another"
            files.append(part10(dataset))
            statuses = _race(connections, files)
            assert sorted(statuses) == [200, 409]
            assert _retrieved(server, dataset) == files[statuses.index(200)]
    assert server.blob_names() == named_blobs(server.data)


async def test_a_retried_upload_is_stored_once(server: Server) -> None:
    dataset = image()
    file = part10(dataset)
    async with client(server.v2, 0) as http:
        for _ in range(5):
            answer = await store_one(http, file)
            assert answer.status_code == 200
        [_] = await search(http, f"/studies/{dataset.StudyInstanceUID}/instances")
        assert await retrieve(http, instance_path(dataset)) == file


def _single(file: bytes) -> tuple[bytes, dict[str, str]]:
    return file, {"Content-Type": "application/dicom"}


def _second_of_two(file: bytes) -> tuple[bytes, dict[str, str]]:
    return multipart([part10(image()), file])


type _Encode = Callable[[bytes], tuple[bytes, dict[str, str]]]


@pytest.mark.parametrize("encode", [_single, _second_of_two])
@pytest.mark.parametrize("rows", [16, 4096], ids=["small", "big"])
def test_an_upload_that_is_cut_leaves_nothing(server: Server, rows: int, encode: _Encode) -> None:
    before = server.blob_names()
    dataset = image(rows=rows, columns=1024)
    body, headers = encode(part10(dataset))
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(_head(headers, len(body)) + body[: len(body) * 3 // 4])
        sleep(0.3)  # The server is in the middle of it.
    _wait_until(lambda: server.blob_names() == before)
    assert asyncio.run(_found(server, dataset)) == 0


def test_an_upload_whose_client_does_not_wait_is_stored_whole_or_not_at_all(server: Server) -> None:
    for _ in range(_ROUNDS):
        dataset = image()
        file = part10(dataset)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(_head({"Content-Type": "application/dicom"}, len(file)) + file)
        _wait_until(lambda: server.blob_names() == named_blobs(server.data))
        if asyncio.run(_found(server, dataset)):
            assert _retrieved(server, dataset) == file


def _head(headers: dict[str, str], length: int) -> bytes:
    lines = ["POST /v2/studies HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def _found(server: Server, dataset: Dataset) -> int:
    async with client(server.v2) as http:
        return len(await search(http, "/instances", SOPInstanceUID=dataset.SOPInstanceUID))


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + _SETTLED_WITHIN_SECONDS
    while not holds():
        assert monotonic() < deadline
        sleep(0.05)
