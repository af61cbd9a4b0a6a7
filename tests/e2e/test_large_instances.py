"""Instances of gigabytes, made, sent and received in pieces."""

import hashlib
import http.client
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.builders import image, part10
from tests.e2e.maintenance import remove_deleted
from tests.e2e.server import Server, running
from tests.e2e.wire import AS_STORED, PARTS_AS_STORED, instance_path

pytestmark = [pytest.mark.host, pytest.mark.slow]

_FRAME_BYTES = 4096 * 4096 * 2
_FRAMES_OF_2_GB = 64
"""With what comes before them, these have more bytes than a signed number of 32 bits can tell."""
_FRAMES_OF_1_GB = 32
_MOST_GROWTH_BYTES = 100_000_000
_PIECE_BYTES = 1_048_576
_BOUNDARY = b"a-boundary-that-no-pixel-holds"
_PART_HEAD = b"--" + _BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
_PART_END = b"\r\n--" + _BOUNDARY + b"--\r\n"


class LargeFile:
    """A Part 10 file that is never held whole; each MiB of it is different."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.dataset: Dataset = image(rows=0, columns=0)
        self.dataset.Rows = self.dataset.Columns = 4096
        self.dataset.NumberOfFrames = frames
        # The last four bytes tell the length of the pixel data, which is none so far.
        self._head = part10(self.dataset)[:-4] + struct.pack("<I", frames * _FRAME_BYTES)
        self.length = len(self._head) + frames * _FRAME_BYTES

    def pieces(self) -> Iterator[bytes]:
        yield self._head
        for frame in range(self._frames):
            yield from self.frame(frame)

    def frame(self, number: int) -> Iterator[bytes]:
        """The pixels of a frame, 0-based."""
        piece = bytearray(range(256)) * (_PIECE_BYTES // 256)
        for at in range(_FRAME_BYTES // _PIECE_BYTES):
            piece[:8] = struct.pack("<II", number, at)
            yield bytes(piece)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def as_part(self) -> Iterator[bytes]:
        yield _PART_HEAD
        yield from self.pieces()
        yield _PART_END


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "data", workers=1) as started:
        _warm_up(started)
        yield started
    shutil.rmtree(tmp_path / "data")  # pytest would keep gigabytes.


def _warm_up(server: Server) -> None:
    """Store and retrieve a little, so that what any request needs is there already."""
    for _ in range(8):
        dataset = image(rows=1024, columns=1024)
        content = part10(dataset)
        _store(server, iter([content]), len(content), "application/dicom")
        assert _retrieve(server, instance_path(dataset), AS_STORED) == _digest([content])


def _store(server: Server, pieces: Iterator[bytes], length: int, content_type: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        connection.request("POST", "/v2/studies", pieces, headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()


def _digest(pieces: list[bytes]) -> str:
    return hashlib.sha256(b"".join(pieces)).hexdigest()


def _retrieve(server: Server, path: str, headers: dict[str, str]) -> str:
    """The SHA-256 of what is retrieved; of the part when it comes as multipart."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request("GET", "/v2" + path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        content_type = answer.headers["content-type"]
        end = b""
        if content_type.startswith("multipart/related"):
            boundary = content_type.partition("boundary=")[2].partition(";")[0].strip('"')
            end = f"\r\n--{boundary}--".encode()
            while answer.readline() != b"\r\n":
                pass
        digest = hashlib.sha256()
        held = b""
        while piece := answer.read(_PIECE_BYTES):
            held += piece
            if len(held) > 2 * _PIECE_BYTES:
                digest.update(held[:_PIECE_BYTES])
                held = held[_PIECE_BYTES:]
        if end:
            held = held[: held.rindex(end)]
        digest.update(held)
        return digest.hexdigest()


def _delete(server: Server, dataset: Dataset) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request("DELETE", f"/v2/studies/{dataset.StudyInstanceUID}")
        assert connection.getresponse().status == 204


def _disk_bytes(server: Server) -> int:
    files = (server.data / name for name in server.blob_names())
    return sum(file.stat().st_size for file in files)


def test_two_gigabytes_come_and_go_in_constant_memory(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    file = LargeFile(_FRAMES_OF_2_GB)
    content = file.sha256()
    path = instance_path(file.dataset)
    before = server.peak_memory_bytes()
    disk = _disk_bytes(server)

    _store(server, file.pieces(), file.length, "application/dicom")
    after_store = server.peak_memory_bytes()
    assert _retrieve(server, path, AS_STORED) == content
    assert _retrieve(server, path, PARTS_AS_STORED) == content
    frame = hashlib.sha256()
    for piece in file.frame(_FRAMES_OF_2_GB - 1):
        frame.update(piece)
    assert _retrieve(server, f"{path}/frames/{_FRAMES_OF_2_GB}", {}) == frame.hexdigest()
    after_retrieve = server.peak_memory_bytes()
    record_property("bytes that a store of 2 GB took", after_store - before)
    record_property("bytes that store and retrieve of 2 GB took", after_retrieve - before)
    assert after_store - before < _MOST_GROWTH_BYTES
    assert after_retrieve - before < _MOST_GROWTH_BYTES

    _delete(server, file.dataset)
    assert remove_deleted(server.data) == 2
    assert _disk_bytes(server) == disk


def test_a_gigabyte_comes_as_a_part_in_constant_memory(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    file = LargeFile(_FRAMES_OF_1_GB)
    before = server.peak_memory_bytes()
    length = len(_PART_HEAD) + file.length + len(_PART_END)
    content_type = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY.decode()}'
    _store(server, file.as_part(), length, content_type)
    growth = server.peak_memory_bytes() - before
    record_property("bytes that a store of 1 GB as a part took", growth)
    assert growth < _MOST_GROWTH_BYTES
    assert _retrieve(server, instance_path(file.dataset), AS_STORED) == file.sha256()
