"""How each registered function is walked, to see whether it heeds partitions.

A function that is registered and not named here fails the tests: whoever adds one says whether it
reads or changes what a partition has, and how, or why it belongs to none.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from zipfile import ZipFile

import httpx
from pydicom.dataset import Dataset

from functions.observation import REQUEST_ID
from shared.dicomweb.openapi import IN_PARTITION
from tests.archive import Client, http_functions
from tests.builders import multipart, part10

JSON = "application/dicom+json"
INSTANCES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
BYTES = 'multipart/related; type="application/octet-stream"'
XML = 'multipart/related; type="application/dicom+xml"'
PICTURES = 'multipart/related; type="image/png"'

type Walk = tuple[str, str]
"""The query string and the Accept header of a request."""

_SEARCH = (
    ("", JSON),
    ("?limit=1&includefield=all", JSON),
    ("?PatientName=canary&fuzzymatching=true", JSON),
    ("?PatientID=CANARY&ModalitiesInStudy=CT", JSON),
    ("?PatientName=*an*&offset=1", XML),
)
_METADATA = (("", JSON), ("", XML))

READS: Mapping[str, tuple[Walk, ...]] = {
    "search_studies": _SEARCH,
    "search_series": _SEARCH,
    "search_instances": _SEARCH,
    "search_series_of_study": _SEARCH,
    "search_instances_of_study": _SEARCH,
    "search_instances_of_series": _SEARCH,
    "retrieve_study": (("", INSTANCES), ("", "application/zip")),
    "retrieve_series": (("", INSTANCES), ("", "application/zip")),
    "retrieve_instance": (("", INSTANCES), ("", "application/dicom; transfer-syntax=*")),
    "retrieve_frames": (("", BYTES), ("", 'multipart/related; type="image/jls"')),
    "retrieve_metadata_of_study": _METADATA,
    "retrieve_metadata_of_series": _METADATA,
    "retrieve_metadata_of_instance": _METADATA,
    "retrieve_bulkdata_of_study": (("", BYTES),),
    "retrieve_bulkdata_of_series": (("", BYTES),),
    "retrieve_bulkdata_of_instance": (("", BYTES),),
    "retrieve_bulkdata_value": (("", "application/octet-stream"),),
    "retrieve_rendered_study": (("", PICTURES),),
    "retrieve_rendered_series": (("", PICTURES),),
    "retrieve_rendered_instance": (("", "image/jpeg"),),
    "retrieve_rendered_frames": (("", "image/png"),),
    "retrieve_thumbnail_of_study": (("", "image/jpeg"),),
    "retrieve_thumbnail_of_series": (("", "image/jpeg"),),
    "retrieve_thumbnail_of_instance": (("", "image/jpeg"),),
    "retrieve_thumbnail_of_frame": (("", "image/jpeg"),),
}
"""Functions that change nothing, with the requests that are sent to them."""

STORES = ("store", "store_to_study", "store_or_replace", "store_or_replace_in_study")
DELETES = ("delete_instance", "delete_series", "delete_study")
RESTORES = ("restore_study",)

BY_ID: Mapping[str, str] = {
    "export": "its answer tells nothing; a test of its own looks at what is exported",
    "retrieve_upload": "what became of a file, whose id is not one of DICOM's",
    "issue_upload": "it names a file that is not there yet, in the folder of its own partition",
    "fhir_export": "it begins an operation, and FHIR tests look at what is told of which partition",
    "fhir_resync": "its answer tells nothing of a study, and FHIR tests look at what is told",
    "bulk_update": "it begins an operation, whose partition the tests of bulk updates see to",
}
"""Functions of a partition that reach nothing by UIDs, so that no walk fits them, and why."""

OF_ALL_PARTITIONS: Mapping[str, str] = {
    "list_changes": "the feed has the entries of all partitions, and their names",
    "latest_change": "the feed has the entries of all partitions, and their names",
    "operation": "it tells how far what was asked for is; to see it needs its id",
    "list_operations": "it tells how far everything is that was asked for",
    "cancel_operation": "whoever administers the service may end what anybody asked for",
    "add_extended_query_tags": "tags are the same for all partitions; what they index is not",
    "list_extended_query_tags": "tags are the same for all partitions",
    "retrieve_extended_query_tag": "tags are the same for all partitions",
    "update_extended_query_tag": "tags are the same for all partitions",
    "delete_extended_query_tag": "tags are the same for all partitions",
    "list_extended_query_tag_errors": "whoever manages tags must see what they do not index",
    "list_partitions": "it lists all of them",
    "fhir_status": "it tells how far the changes of all partitions have been told",
    "list_fhir_dead_letters": "whoever looks after them needs to see them of all partitions",
    "replay_fhir_dead_letter": "whoever administers the service may try anything again",
    "ignore_fhir_dead_letter": "whoever administers the service may let anything be",
    "options": "it describes what is served, not what is stored",
    "describe_as_json": "it describes what is served, not what is stored",
    "describe_as_yaml": "it describes what is served, not what is stored",
    "health": "it tells how the stores are, and nothing of what they have",
}
"""Functions that are the same for all partitions, and why that tells nothing it should not."""


def functions() -> set[str]:
    """The names of all functions, each once."""
    return {name.removesuffix(IN_PARTITION) for name in http_functions()}


@dataclass(frozen=True, slots=True)
class Answer:
    """What can be told apart of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def etag(self) -> str | None:
        """Its ETag."""
        return dict(self.headers).get("etag")


def _answer(response: httpx.Response) -> Answer:
    """An answer without what is new each time: its number, boundaries, the hour of an archive."""
    content_type, body = response.headers.get("content-type", ""), response.content
    headers = dict(response.headers)
    body = body.replace(headers.pop(REQUEST_ID.lower()).encode(), b"")
    boundary = content_type.partition("boundary=")[2].strip('"')
    if boundary:
        headers["content-type"] = content_type.replace(boundary, "")
        body = body.replace(boundary.encode(), b"")
    if content_type == "application/zip":
        with ZipFile(BytesIO(body)) as archive:
            body = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    return Answer(response.status_code, tuple(sorted(headers.items())), body)


@dataclass(frozen=True, slots=True)
class Place:
    """A version's resources in a partition, or by the plain routes without one."""

    version: str
    partition: str | None = None

    def url(self, function: str, source: Dataset) -> str:
        """Where a function serves the instance, as it is registered."""
        routes = http_functions()
        suffix = IN_PARTITION if self.partition and function + IN_PARTITION in routes else ""
        values = {
            "version": self.version,
            "partition": self.partition,
            "study": source.StudyInstanceUID,
            "series": source.SeriesInstanceUID,
            "instance": source.SOPInstanceUID,
            "frames": "1",
            "*reference": "7FE00010",
        }
        template = routes[function + suffix][0].template
        return "/" + re.sub(r"\{([^}]+)\}", lambda name: str(values[name[1]]), template)


def walks() -> Iterator[tuple[str, Walk]]:
    """Every request that reads."""
    for function, requests in READS.items():
        for walk in requests:
            yield function, walk


async def read(
    client: Client, place: Place, function: str, walk: Walk, source: Dataset, **headers: str
) -> Answer:
    """Send one request that reads an instance, or looks for it."""
    query, accept = walk
    given = {"Accept": accept, **{k.replace("_", "-"): v for k, v in headers.items()}}
    url = place.url(function, source) + query
    return _answer(await client.send("GET", url, headers=given))


async def read_all(
    client: Client, place: Place, *sources: Dataset
) -> dict[tuple[str, Walk, str], Answer]:
    """Send every request that reads, for each of the instances."""
    return {
        (function, walk, source.SOPInstanceUID): await read(client, place, function, walk, source)
        for function, walk in walks()
        for source in sources
    }


async def store(client: Client, place: Place, function: str, source: Dataset) -> int:
    """Store an instance by one of the functions that store."""
    body, headers = multipart([part10(source)])
    method = "PUT" if "replace" in function else "POST"
    url = place.url(function, source)
    return (await client.send(method, url, headers=headers, content=body)).status_code


async def restore(client: Client, place: Place, function: str, source: Dataset) -> Answer:
    """Restore what was deleted of the study of an instance."""
    return _answer(await client.send("POST", place.url(function, source)))


async def delete(client: Client, place: Place, function: str, source: Dataset) -> Answer:
    """Delete an instance, or what it lies in."""
    return _answer(await client.send("DELETE", place.url(function, source)))
