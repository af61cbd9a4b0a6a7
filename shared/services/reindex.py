"""Re-indexing: the values that instances stored before a tag have of it.

Instances are read from the newest to the oldest, in slices, and written so that a slice may be done
twice. Those stored since the tags were added are none of its business: they are indexed already.
"""

import asyncio
import zlib
from collections.abc import Buffer, Iterable, Sequence
from itertools import batched

from shared.dicom.blob_names import metadata_blob
from shared.dicom.extended_query_tag import TagSet, TagValues
from shared.dicom.tag_reading import read_tags
from shared.errors import BlobNotFoundError, InvalidUidError
from shared.ports import BlobStore, InstanceTags, InstanceToIndex, ReindexTable, TagTable
from shared.services.metadata_file import unpack
from shared.services.operations import Operations
from shared.services.tag_sets import keep_tag_set

SLICES_AT_ONCE = 4
_SLICE = 500
_WRITTEN_AT_ONCE = 250
_READS_AT_ONCE = 32
_UNREADABLE = (zlib.error, ValueError, LookupError, TypeError, AttributeError, InvalidUidError)
_DAMAGED = "The metadata of the instance cannot be read."

type Slice = tuple[int, int]
"""First and last watermark."""


class Reindex:
    """Indexes by new tags what is there already."""

    def __init__(
        self, blobs: BlobStore, tags: TagTable, table: ReindexTable, operations: Operations
    ) -> None:
        self._blobs = blobs
        self._tags = tags
        self._table = table
        self._operations = operations

    async def next_slices(
        self, operation_id: str, done_from: int | None = None
    ) -> Sequence[Slice] | None:
        """What to do next, nothing when all is done; None when the operation is cancelled.

        `done_from` is the watermark from which on all is done now; without it, that is looked up.
        """
        if done_from is None:
            await keep_tag_set(self._blobs, await self._tags.tag_set())
        else:
            await self._table.advance(operation_id, done_from)
        progress = await self._table.begin(operation_id)
        done = progress.highest + 1 - progress.lowest
        percent = 100 * done // max(progress.highest, 1)
        if not await self._operations.report(operation_id, min(percent, 99)):
            return None
        return await self._table.slices(progress.lowest, SLICES_AT_ONCE, _SLICE)

    async def index(self, operation_id: str, first: int, last: int) -> None:
        """Index the instances from one watermark to another."""
        tag_set = await self._table.tags(operation_id)
        if not tag_set.tags:
            return
        for some in batched(
            await self._table.instances(first, last), _WRITTEN_AT_ONCE, strict=False
        ):
            await self._table.write(await self._read(some, tag_set))

    async def finish(self, operation_id: str) -> None:
        """Let the tags be searched by."""
        await self._table.finish(operation_id)
        await self._operations.finish(operation_id)

    async def _read(
        self, instances: Sequence[InstanceToIndex], tag_set: TagSet
    ) -> Sequence[InstanceTags]:
        found: list[InstanceTags] = []
        for some in batched(instances, _READS_AT_ONCE, strict=False):
            contents = await asyncio.gather(*map(self._content, some))
            pairs = list(zip(some, contents, strict=True))
            found += await asyncio.to_thread(_found_in, pairs, tag_set)
        return found

    async def _content(self, instance: InstanceToIndex) -> Buffer | None:
        try:
            return await self._blobs.get(metadata_blob(instance.metadata_id))
        except BlobNotFoundError:
            return None  # Unless the instance has been deleted, that is an error.


def _found_in(
    contents: Iterable[tuple[InstanceToIndex, Buffer | None]], tag_set: TagSet
) -> list[InstanceTags]:
    return [_tags_in(instance, content, tag_set) for instance, content in contents]


def _tags_in(instance: InstanceToIndex, content: Buffer | None, tag_set: TagSet) -> InstanceTags:
    try:
        document = None if content is None else unpack(content).document
    except _UNREADABLE:
        document = None
    if document is None:
        damaged = {tag.key: _DAMAGED for tag in tag_set.tags}
        return InstanceTags(instance, TagValues(tag_set.version), damaged)
    reading = read_tags(document, tag_set)
    return InstanceTags(instance, reading.values, reading.sentences)
