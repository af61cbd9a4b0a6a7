"""The metadata of a whole series in one blob, kept up with the series at little cost.

A series document is one gzip member of lines, each the data set of an instance as JSON, in the
order in which they were stored. A new one is made from the newest earlier one and what was added
since, once enough was added or the series is quiet; in between, the added instances are read from
their own blobs. So a series that grows one instance at a time costs work in proportion to its size.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Buffer, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from shared.dicom.blob_names import metadata_blob, series_document_blob
from shared.dicom.uid import Uid
from shared.dicom.validation import instance_path
from shared.errors import BlobExistsError, BlobNotFoundError
from shared.ports import BlobStore, Index, SeriesState, StoredInstance
from shared.services.metadata_file import document_of
from shared.services.read_ahead import read_ahead

_QUIET = timedelta(seconds=10)
_ADDED_AT_LEAST = 64
_ADDED_SHARE = 0.05
_READS_AT_ONCE = 16
_GZIP = 31
_BLOCK_BYTES = 1_048_576
_LEVEL = 5


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a series holds: of the newest document the instances of these UIDs, and what follows.

    `kept` is None where the whole document is kept.
    """

    kept: frozenset[Uid] | None
    added: Sequence[StoredInstance]


class SeriesDocuments:
    """Reads, and when it pays makes, the documents of series."""

    def __init__(
        self, blobs: BlobStore, index: Index, *, grace: timedelta, quiet: timedelta = _QUIET
    ) -> None:
        """Keep documents of series.

        Args:
            blobs: Where they and the metadata of instances lie.
            index: Which document is the newest, and what it lacks.
            grace: How long superseded documents stay.
            quiet: How long after its last change a series counts as quiet.
        """
        self._blobs = blobs
        self._index = index
        self._grace = grace
        self._quiet = quiet

    async def lines(self, series: SeriesState) -> AsyncIterator[bytes]:
        """The data sets of a series as JSON, in blocks of whole lines that end in a line feed.

        They are those of the state that is given or of a later one: what was replaced since is not
        there any more.
        """
        contents = await self._contents(series)
        is_newer = any(member.watermark > series.revision for member in contents.added)
        if not is_newer and self._is_due(series, len(contents.added)):
            await self._make(series, contents)
            lines = self._stored_lines(series.key, series.revision)
        else:
            lines = self._current_lines(series, contents)
        async for block in lines:
            yield block

    def _is_due(self, series: SeriesState, added: int) -> bool:
        if series.document_revision == series.revision:
            return False
        if added >= max(_ADDED_AT_LEAST, _ADDED_SHARE * series.document_count):
            return True
        return datetime.now(UTC) - series.changed_at >= self._quiet

    async def _contents(self, series: SeriesState) -> _Contents:
        revision = series.document_revision or 0
        added = await self._index.series_members(series, revision)
        if not revision or series.document_count + len(added) == series.instance_count:
            return _Contents(None, added)
        kept = await self._index.series_member_uids(series, revision)
        # Read after those, so that what is replaced in between is seen twice rather than never.
        added = await self._index.series_members(series, revision)
        return _Contents(frozenset(kept).difference(item.path.instance for item in added), added)

    async def _make(self, series: SeriesState, contents: _Contents) -> None:
        name = series_document_blob(series.key, series.revision)
        with suppress(BlobExistsError):  # Another worker made the very same document.
            await self._blobs.put_stream(name, compressed(self._current_lines(series, contents)))
        await self._index.record_series_document(
            series, series.revision, series.instance_count, datetime.now(UTC) + self._grace
        )

    async def _current_lines(
        self, series: SeriesState, contents: _Contents
    ) -> AsyncIterator[bytes]:
        if series.document_revision is not None:
            lines = self._stored_lines(series.key, series.document_revision)
            if contents.kept is not None:
                lines = _only(lines, contents.kept)
            async for block in lines:
                yield block
        read = read_ahead(contents.added, self._line, depth=_READS_AT_ONCE)
        async for instance, line in read:
            if line is not None:
                yield line
            elif instance.path.instance in await self._index.series_member_uids(
                series, series.revision
            ):
                raise BlobNotFoundError("The metadata of an instance is missing.")

    async def _stored_lines(self, series_key: int, revision: int) -> AsyncIterator[bytes]:
        content = self._blobs.stream(series_document_blob(series_key, revision))
        rest = b""
        async for block in decompressed(content):
            whole, feed, rest_of_block = block.rpartition(b"\n")
            if feed:
                yield b"".join((rest, whole, feed))
                rest = rest_of_block
            else:
                rest += block

    async def _line(self, instance: StoredInstance) -> tuple[StoredInstance, bytes | None]:
        try:
            content = await self._blobs.get(metadata_blob(instance.file.metadata_id))
        except BlobNotFoundError:
            return instance, None  # Deleted, and cleaned up, while it was listed.
        return instance, document_of(content) + b"\n"


async def compressed(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compress a stream into one gzip member, away from the event loop."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    async for block in blocks:
        packed = await asyncio.to_thread(compressor.compress, block)
        if packed:
            yield packed
    yield compressor.flush()


async def decompressed(content: AsyncIterator[Buffer]) -> AsyncIterator[bytes]:
    """Undo `compressed` in blocks of bounded size."""
    decompressor = zlib.decompressobj(_GZIP)
    async for chunk in content:
        block = await asyncio.to_thread(decompressor.decompress, chunk, _BLOCK_BYTES)
        while block:
            yield block
            rest = decompressor.unconsumed_tail
            block = await asyncio.to_thread(decompressor.decompress, rest, _BLOCK_BYTES)


async def _only(lines: AsyncIterator[bytes], uids: frozenset[Uid]) -> AsyncIterator[bytes]:
    async for block in lines:
        kept = await asyncio.to_thread(_kept, block, uids)
        if kept:
            yield kept


def _kept(block: bytes, uids: frozenset[Uid]) -> bytes:
    # A line is parsed, as its sequences may name other instances before it says which it is.
    return b"".join(line for line in block.splitlines(keepends=True) if _uid(line) in uids)


def _uid(line: bytes) -> Uid | None:
    path = instance_path(orjson.loads(line))
    return None if path is None else path.instance
