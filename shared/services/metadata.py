"""Retrieve Metadata: the data sets of instances as JSON (PS3.18 10.4.1.1.2, 2025b)."""

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from shared.dicom import xml_model
from shared.dicom.blob_names import metadata_blob
from shared.dicom.json_model import dumps, without_bulk
from shared.dicom.resource import Level, ResourcePath
from shared.ports import BlobStore, Index, InstanceFile, Partition, StoredInstance, Version
from shared.services.metadata_file import document_of, with_base_url
from shared.services.missing import missing
from shared.services.read_ahead import read_ahead
from shared.services.series_document import SeriesDocuments

_REMEMBERED_BYTES = 33_554_432
_LARGEST_REMEMBERED_BYTES = 4_194_304
_READS_AT_ONCE = 16
_GZIP = 31
_ANSWER_LEVEL = 1
"""Answers are compressed on the fly, where speed counts for more than the last per cent."""


@dataclass(frozen=True, slots=True)
class View:
    """How a client wants its metadata.

    Attributes:
        base_url: Service root for the references to bulk values.
        has_bulk: Whether bulk values are shown at all; v1 leaves them out.
        is_gzip: Whether the answer is compressed.
        original: Whether instances are told as they were stored, before any update.
    """

    base_url: str
    has_bulk: bool
    is_gzip: bool
    original: bool = False


class Metadata:
    """Answers metadata of instances from their blobs, and of series from series documents."""

    def __init__(self, blobs: BlobStore, index: Index, documents: SeriesDocuments) -> None:
        self._blobs = blobs
        self._index = index
        self._documents = documents
        self._answers = _Answers()

    async def version(
        self, partition: Partition, path: ResourcePath, *, api_version: int = 2
    ) -> Version:
        """What the ETag of the metadata at or below a path is made of.

        Raises:
            NotFoundError: Nothing is there.
        """
        version = await self._index.version(partition, path)
        if version is None:
            raise await missing(self._index, partition, path, version=api_version)
        return version

    async def answer(
        self, partition: Partition, path: ResourcePath, version: Version, view: View
    ) -> AsyncIterator[bytes]:
        """The JSON array of the data sets at or below a path, in chunks."""
        key = (partition.key, path, version, view)
        known = self._answers.get(key)
        if known is not None:
            yield known
            return
        blocks = self._blocks(partition, path, original=view.original)
        chunks = _as_array(blocks, view)
        if view.is_gzip:
            chunks = _gzipped(chunks)
        kept: list[bytes] | None = []
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if kept is not None:
                kept.append(chunk)
                kept = kept if size <= _LARGEST_REMEMBERED_BYTES else None
            yield chunk
        if kept is not None and version == await self._index.version(partition, path):
            self._answers.put(key, b"".join(kept))

    async def xml(
        self, partition: Partition, path: ResourcePath, base_url: str, *, original: bool = False
    ) -> AsyncIterator[bytes]:
        """Each of the data sets at or below a path in the Native DICOM Model."""
        async for block in self._blocks(partition, path, original=original):
            for document in await asyncio.to_thread(_xml_of, with_base_url(block, base_url)):
                yield document

    async def _blocks(
        self, partition: Partition, path: ResourcePath, *, original: bool
    ) -> AsyncIterator[bytes]:
        if original:  # Series documents have the newest versions only.
            instances = self._index.instances(partition, path)
            async for block in read_ahead(instances, self._as_stored, depth=_READS_AT_ONCE):
                yield block
            return
        if path.level is Level.INSTANCE:
            instance = await self._index.find_instance(partition, path)
            if instance is not None:
                yield await self._line(instance.file)
            return
        for series in await self._index.series(partition, path):
            async for block in self._documents.lines(series):
                yield block

    async def _as_stored(self, instance: StoredInstance) -> bytes:
        return await self._line(instance.file.as_stored)

    async def _line(self, file: InstanceFile) -> bytes:
        content = await self._blobs.get(metadata_blob(file.metadata_id))
        return document_of(content) + b"\n"


type _Key = tuple[int, ResourcePath, Version, View]


class _Answers:
    """The answers last given, up to a number of bytes; a change of revision is another key."""

    def __init__(self) -> None:
        self._answers: OrderedDict[_Key, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: _Key) -> bytes | None:
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: _Key, answer: bytes) -> None:
        if key in self._answers:
            return
        self._answers[key] = answer
        self._size += len(answer)
        while self._size > _REMEMBERED_BYTES:
            _, oldest = self._answers.popitem(last=False)
            self._size -= len(oldest)


async def _as_array(blocks: AsyncIterator[bytes], view: View) -> AsyncIterator[bytes]:
    opening = b"["
    async for block in blocks:
        if not view.has_bulk:
            block = await asyncio.to_thread(_lines_without_bulk, block)  # noqa: PLW2901
        else:
            block = with_base_url(block, view.base_url)  # noqa: PLW2901
        # Between two data sets the line feed becomes the comma of the array.
        yield opening + block[:-1].replace(b"\n", b",\n")
        opening = b",\n"
    yield b"]" if opening != b"[" else b"[]"


def _xml_of(block: bytes) -> list[bytes]:
    return [xml_model.dumps(orjson.loads(line)) for line in block.splitlines()]


def _lines_without_bulk(block: bytes) -> bytes:
    return b"".join(dumps(without_bulk(orjson.loads(line))) + b"\n" for line in block.splitlines())


async def _gzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    compressor = zlib.compressobj(_ANSWER_LEVEL, zlib.DEFLATED, _GZIP)
    async for chunk in chunks:
        packed = await asyncio.to_thread(compressor.compress, chunk)
        if packed:
            yield packed
    yield compressor.flush()
