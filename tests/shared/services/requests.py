"""Requests to the services, shorter than the services take them."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import orjson
from pydicom.dataset import Dataset

from shared.dicom.resource import ResourcePath, parse_path
from shared.dicom.uid import Uid
from shared.dicomweb.media_type import AS_STORED, Representation
from shared.dicomweb.store_report import StoreReport
from shared.ports import Partition
from shared.services.metadata import View
from shared.wiring import Services

CHUNK_BYTES = 65_536

INSTANCES_AS_STORED = (Representation("application/dicom", True, AS_STORED),)  # noqa: FBT003
FRAMES_AS_STORED = (Representation("application/octet-stream", True, AS_STORED),)  # noqa: FBT003


async def chunks_of(content: bytes) -> AsyncIterator[bytes]:
    """A body as it would come off a socket."""
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]


async def bodies_of(files: Iterable[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """The bodies of the instances of a request."""
    for content in files:
        yield chunks_of(content)


async def store(  # noqa: PLR0913
    services: Services,
    partition: Partition,
    files: Iterable[bytes],
    *,
    version: int = 2,
    study: str | None = None,
    replaces: bool = False,
) -> StoreReport:
    """Store files in one request."""
    return await services.store.store(
        partition,
        bodies_of(files),
        version=version,
        study=None if study is None else Uid(study),
        replaces=replaces,
    )


async def retrieve(services: Services, partition: Partition, path: ResourcePath) -> list[bytes]:
    """The files at or below a path, as they are stored."""
    found = await services.retrieve.instances(partition, path, INSTANCES_AS_STORED, version=2)
    return [b"".join([bytes(c) async for c in content.body]) async for content in found.contents]


async def frames(  # noqa: PLR0913
    services: Services,
    partition: Partition,
    path: ResourcePath,
    numbers: Sequence[int],
    ways: Sequence[Representation] = FRAMES_AS_STORED,
    *,
    version: int = 2,
) -> list[bytes]:
    """Frames of an instance."""
    found = await services.retrieve.frames(partition, path, numbers, ways, version=version)
    given = []
    async for content in found.contents:
        chunks = [bytes(chunk) async for chunk in content.body]
        assert sum(map(len, chunks)) == content.length
        given.append(b"".join(chunks))
    return given


async def metadata(
    services: Services, partition: Partition, path: ResourcePath, *, has_bulk: bool = True
) -> list[dict[str, Any]]:
    """The data sets at or below a path."""
    version = await services.metadata.version(partition, path)
    view = View("http://h/v2", has_bulk=has_bulk, is_gzip=False)
    answer = services.metadata.answer(partition, path, version, view)
    documents: list[dict[str, Any]] = orjson.loads(b"".join([chunk async for chunk in answer]))
    return documents


def path_of(source: Dataset) -> ResourcePath:
    """Where a data set lies in the archive."""
    return parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
