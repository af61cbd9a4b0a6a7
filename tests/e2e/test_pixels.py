"""Transcoding and rendering over the wire: memory, and what others notice of it."""

import threading
import time
from io import BytesIO
from statistics import median

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from tests.builders import image, part10
from tests.e2e.server import Server

pytestmark = [pytest.mark.host, pytest.mark.slow]

_SIDE, _FRAMES = 2048, 32
_MOST_GROWTH_BYTES = 200 << 20
_JPEG_LS, _JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
_CLIENTS = 4


@pytest.fixture(scope="module")
def large(server: Server) -> Dataset:
    """An image of 256 MiB, smooth but for some noise."""
    source = image(rows=16, columns=16, frames=_FRAMES)
    source.Rows = source.Columns = _SIDE
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    noise = np.random.default_rng(1).integers(0, 20, rows.shape)
    frame = (rows + columns + noise).astype("<u2") & 0xFFF
    source.PixelData = frame.tobytes() * _FRAMES
    headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
    answer = httpx.post(
        f"{server.v2}/studies", content=part10(source), headers=headers, timeout=120
    )
    assert answer.status_code == 200
    del source.PixelData
    return source


def url_of(server: Server, source: Dataset) -> str:
    return (
        f"{server.v2}/studies/{source.StudyInstanceUID}/series/{source.SeriesInstanceUID}"
        f"/instances/{source.SOPInstanceUID}"
    )


def as_(syntax: str, media_type: str) -> dict[str, str]:
    return {"Accept": f"{media_type}; transfer-syntax={syntax}"}


def test_a_large_instance_is_transcoded_and_archived_in_little_memory(
    server: Server, large: Dataset
) -> None:
    before = server.peak_memory_bytes()
    for url, headers in (
        (url_of(server, large), as_("1.2.840.10008.1.2.5", "application/dicom")),
        (f"{server.v2}/studies/{large.StudyInstanceUID}", {"Accept": "application/zip"}),
    ):
        length = 0
        with httpx.stream("GET", url, headers=headers, timeout=120) as answer:
            assert answer.status_code == 200
            for chunk in answer.iter_bytes():
                length += len(chunk)
        assert length > 64 << 20
    assert server.peak_memory_bytes() - before < _MOST_GROWTH_BYTES


def test_a_search_is_answered_soon_while_others_transcode(server: Server, large: Dataset) -> None:
    def searched(seconds: float) -> list[float]:
        took = []
        with httpx.Client() as client:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                began = time.perf_counter()
                assert client.get(f"{server.v2}/studies?limit=1").status_code == 200
                took.append(time.perf_counter() - began)
        return took

    statuses = []

    def transcode() -> None:
        for syntax in (_JPEG_2000, _JPEG_LS):
            headers = as_(syntax, "application/octet-stream")
            answer = httpx.get(f"{url_of(server, large)}/frames/3", headers=headers, timeout=120)
            statuses.append(answer.status_code)

    idle = searched(2)
    clients = [threading.Thread(target=transcode) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    busy = []
    while any(client.is_alive() for client in clients):
        busy += searched(0.5)
    for client in clients:
        client.join()
    assert statuses == [200] * 2 * _CLIENTS
    assert median(busy) < max(5 * median(idle), 0.05)


def test_rendered_images_values_and_headers_go_over_the_wire(
    server: Server, large: Dataset
) -> None:
    url = url_of(server, large)
    rendered = httpx.get(f"{url}/frames/2/rendered?viewport=200,100", timeout=60)
    assert Image.open(BytesIO(rendered.content)).size == (100, 100)
    thumbnail = httpx.get(f"{server.v2}/studies/{large.StudyInstanceUID}/thumbnail", timeout=60)
    assert Image.open(BytesIO(thumbnail.content)).size == (128, 128)
    head = httpx.head(f"{url}/rendered", timeout=60)
    assert (head.status_code, head.headers["content-type"]) == (200, "image/jpeg")
    value = httpx.get(f"{url}/bulkdata/7FE00010", headers={"Range": "bytes=1000000-1000003"})
    whole = _SIDE * _SIDE * 2 * _FRAMES
    assert (value.status_code, len(value.content)) == (206, 4)
    assert value.headers["content-range"] == f"bytes 1000000-1000003/{whole}"
    frame = httpx.get(f"{url}/frames/1", timeout=60)
    assert value.content in frame.content
    beyond = httpx.get(f"{url}/bulkdata/7FE00010", headers={"Range": f"bytes={whole}-"})
    assert beyond.headers["content-range"] == f"bytes */{whole}"
