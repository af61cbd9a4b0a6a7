"""Requests and answers as bytes: what a client library would hide from a test."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import httpx
from pydicom.dataset import Dataset

from tests.builders import multipart

DICOM_JSON = {"Accept": "application/dicom+json"}
AS_STORED = {"Accept": "application/dicom; transfer-syntax=*"}
PARTS_AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
TIMEOUT_SECONDS = 60

STUDY_INSTANCE_UID = "0020000D"
SERIES_INSTANCE_UID = "0020000E"
SOP_INSTANCE_UID = "00080018"
FAILED_SOP_SEQUENCE = "00081198"
REFERENCED_SOP_SEQUENCE = "00081199"


def client(base_url: str, connections: int = 16) -> httpx.AsyncClient:
    """A client that keeps its connections; with 0, every request has one of its own."""
    limits = httpx.Limits(max_connections=connections or 16, max_keepalive_connections=connections)
    return httpx.AsyncClient(
        base_url=base_url, limits=limits, timeout=TIMEOUT_SECONDS, trust_env=False
    )


def study_path(dataset: Dataset) -> str:
    return f"/studies/{dataset.StudyInstanceUID}"


def series_path(dataset: Dataset) -> str:
    return f"{study_path(dataset)}/series/{dataset.SeriesInstanceUID}"


def instance_path(dataset: Dataset) -> str:
    return f"{series_path(dataset)}/instances/{dataset.SOPInstanceUID}"


def path_of(found: dict[str, Any]) -> str:
    """The path of an instance that a search found."""
    study, series, instance = (
        found[tag]["Value"][0]
        for tag in (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)
    )
    return f"/studies/{study}/series/{series}/instances/{instance}"


async def store_one(http: httpx.AsyncClient, file: bytes) -> httpx.Response:
    """Store a file as a single part."""
    headers = {"Content-Type": "application/dicom", **DICOM_JSON}
    return await http.post("/studies", content=file, headers=headers)


async def store_parts(http: httpx.AsyncClient, files: Sequence[bytes]) -> httpx.Response:
    """Store files in one multipart request."""
    body, headers = multipart(files)
    return await http.post("/studies", content=body, headers=headers)


async def retrieve(http: httpx.AsyncClient, path: str) -> bytes:
    """The bytes of one instance."""
    answer = await http.get(path, headers=AS_STORED)
    assert answer.status_code == HTTPStatus.OK, (path, answer.text)
    return answer.content


async def retrieve_all(http: httpx.AsyncClient, paths: Iterable[str]) -> list[bytes]:
    """The bytes of instances, each retrieved by itself."""
    return await asyncio.gather(*(retrieve(http, path) for path in paths))


async def search(http: httpx.AsyncClient, path: str, **query: str) -> list[dict[str, Any]]:
    """The results of a search, none of them for 204."""
    answer = await http.get(path, params=query, headers=DICOM_JSON)
    if answer.status_code == HTTPStatus.NO_CONTENT:
        return []
    assert answer.status_code == HTTPStatus.OK, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def parts(answer: httpx.Response) -> list[bytes]:
    """The bodies of the parts of a multipart answer."""
    boundary = re.search(r'boundary="?([^";]+)', answer.headers["content-type"])
    assert boundary is not None
    pieces = (b"\r\n" + answer.content).split(b"\r\n--" + boundary[1].encode())
    assert pieces[0] == b""
    assert pieces[-1].startswith(b"--")
    return [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]]
