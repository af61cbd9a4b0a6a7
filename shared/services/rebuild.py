"""Rebuilding an index from blobs alone."""

import asyncio
from collections.abc import AsyncIterator, Buffer, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched

from shared.dicom.blob_names import (
    UPDATES,
    blob_id_of,
    day_of,
    dicom_blob,
    instance_blobs,
    metadata_blob,
)
from shared.dicom.extended_query_tag import TagSet, TagValues
from shared.ports import (
    AlreadyStored,
    BlobInfo,
    BlobStore,
    CommitOutcome,
    Committed,
    Index,
    InstanceFile,
    InstanceTags,
    InstanceToIndex,
    NewInstance,
    Partition,
    ReindexTable,
    TagTable,
)
from shared.services.kept_instance import UNREADABLE, kept_instance
from shared.services.read_ahead import read_ahead
from shared.services.tag_sets import kept_tag_set
from shared.services.tombstones import buried, read_tombstone
from shared.services.update_notes import noted_heads

_BATCH_INSTANCES = 256
_READS_AT_ONCE = 32
_NAMES_AT_ONCE = 1000
_FOREVER = datetime.max.replace(tzinfo=UTC)

type _Found = tuple[str, NewInstance, Mapping[int, str]]
"""Name of the partition, the instance, and by which extended query tags it cannot be indexed."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of a rebuild.

    Attributes:
        instances: How many were put back.
        left_out: How many metadata blobs were not: their instance was deleted, was never wholly
            written, or has another blob or newer version; or they are damaged.
        damaged: Names of blobs that should be whole and are not; they are kept for repair.
    """

    instances: int
    left_out: int
    damaged: tuple[str, ...]


class Rebuild:
    """Puts every instance whose blobs are whole, and was not deleted, into an empty index.

    The change feed starts anew: it holds one creation for each instance, in the order in which the
    blob ids were drawn, those of their heads where they were updated. Where instances of one
    request contradict each other about their study, it may follow another of them than before, as
    a request draws several ids at once.
    Series documents are removed, as the new index would take their names for those of its own.
    Extended query tags are as they were when they last were added or deleted; those by which some
    instance cannot be indexed are disabled.
    """

    def __init__(
        self, blobs: BlobStore, index: Index, tags: TagTable, tag_values: ReindexTable
    ) -> None:
        self._blobs = blobs
        self._index = index
        self._tags = tags
        self._tag_values = tag_values
        self._tag_set = TagSet()
        self._files: dict[str, int] = {}
        self._deleted: Mapping[str, datetime] = {}
        self._newest_heads: Mapping[str, str] = {}
        self._damaged: list[str] = []

    async def run(self) -> Rebuilt:
        """Read all metadata blobs, oldest day first, and add what they describe."""
        self._tag_set = await self._tags.restore(*await kept_tag_set(self._blobs))
        self._deleted = await self._blob_ids_deleted()
        self._files = {blob.name: blob.length for blob in await self._listed("dicom/", "frames/")}
        days = await self._metadata_by_day()
        self._newest_heads = await self._heads({blob_id for day in days for blob_id in day})
        found = kept = 0
        for day in days:
            found += len(day)
            await self._let_wait(day.keys() & self._deleted.keys())
            left_out = {*self._deleted, *self._newest_heads}
            living = [day[blob_id] for blob_id in sorted(day.keys() - left_out)]
            batch: list[_Found] = []
            async for item in read_ahead(_each(living), self._read, depth=_READS_AT_ONCE):
                if item is not None:
                    batch.append(item)
                if len(batch) == _BATCH_INSTANCES:
                    kept += await self._add(batch)
                    batch = []
            kept += await self._add(batch)
        await self._remove_series_documents()
        return Rebuilt(kept, found - kept, tuple(self._damaged))

    async def _listed(self, *prefixes: str) -> list[BlobInfo]:
        return [blob for prefix in prefixes async for blob in self._blobs.list(prefix)]

    async def _blob_ids_deleted(self) -> Mapping[str, datetime]:
        tombstones = []
        for blob in await self._listed("tombstones/"):
            try:
                tombstones.append(await read_tombstone(self._blobs, blob.name))
            except UNREADABLE:
                self._damaged.append(blob.name)
        return buried(tombstones)

    async def _heads(self, blob_ids: Collection[str]) -> Mapping[str, str]:
        """By the blob ids of updated files, the ids of the newest heads that are whole."""
        newest: dict[str, str] = {}
        for blob in await self._listed(UPDATES):
            try:
                noted = await noted_heads(self._blobs, blob.name)
            except UNREADABLE:
                self._damaged.append(blob.name)
                continue
            for head_id, blob_id in noted.items():
                if head_id in blob_ids and dicom_blob(head_id) in self._files:
                    newest[blob_id] = max(newest.get(blob_id, ""), head_id)
        return newest

    async def _metadata_by_day(self) -> Sequence[Mapping[str, str]]:
        """Names of metadata blobs by blob id, a mapping for each day."""
        days: dict[str, dict[str, str]] = {}
        async for blob in self._blobs.list("metadata/"):
            if (blob_id := blob_id_of(blob.name)) is not None:
                days.setdefault(day_of(blob_id), {})[blob_id] = blob.name
        return [days[day] for day in sorted(days)]

    async def _read(self, name: str) -> _Found | None:
        """Read a metadata blob, None when the instance cannot be put back."""
        blob_id = str(blob_id_of(name))
        length = self._files.get(dicom_blob(blob_id))
        if length is None:
            return None  # The write of its file was cut short.
        content = await self._blobs.get(name)
        try:
            found = await asyncio.to_thread(_unpacked, content, self._tag_set)
        except UNREADABLE:
            found = None
        file = None if found is None else found[1].file
        own_length = None if file is None else (file.head or file).length
        if file is None or (file.metadata_id, own_length) != (blob_id, length):
            await self._keep_damaged(name, blob_id)
            return None
        if not self._is_current(file):
            await self._index.add_deleted_blobs([dicom_blob(blob_id), name], datetime.now(UTC))
            return None
        needed = instance_blobs(file.blob_id, has_frames_blob=file.frames == "blob")
        needed_files = {*needed} - {metadata_blob(file.blob_id)}
        return found if self._files.keys() >= needed_files else None

    def _is_current(self, file: InstanceFile) -> bool:
        """Whether a version is the newest of its file; a head may never have been put in place."""
        return file.head is None or (
            self._newest_heads.get(file.blob_id) == file.head.blob_id
            and file.blob_id not in self._deleted
        )

    async def _let_wait(self, blob_ids: Collection[str]) -> None:
        """Let the blobs of what is gone wait for their removal as they did before."""
        for blob_id in blob_ids:
            names = instance_blobs(blob_id, has_frames_blob=True)
            await self._index.add_deleted_blobs(names, self._deleted[blob_id])

    async def _keep_damaged(self, name: str, blob_id: str) -> None:
        self._damaged.append(name)
        # They have no row: without this the sweeper would remove the file too.
        names = instance_blobs(blob_id, has_frames_blob=True)
        await self._index.add_deleted_blobs(names, _FOREVER)

    async def _add(self, batch: Sequence[_Found]) -> int:
        added = 0
        for name in dict.fromkeys(name for name, *_ in batch):
            partition = await self._index.create_partition(name)
            found = [(instance, errors) for one, instance, errors in batch if one == name]
            outcomes = await self._index.commit(partition, [instance for instance, _ in found])
            added += sum(not isinstance(outcome, AlreadyStored) for outcome in outcomes)
            await self._note_errors(partition, found, outcomes)
        return added

    async def _note_errors(
        self,
        partition: Partition,
        found: Sequence[tuple[NewInstance, Mapping[int, str]]],
        outcomes: Sequence[CommitOutcome],
    ) -> None:
        wrong: list[InstanceTags] = []
        for (item, errors), outcome in zip(found, outcomes, strict=True):
            if errors and isinstance(outcome, Committed):
                study, metadata_id = item.path.study, item.file.metadata_id
                there = InstanceToIndex(partition.key, study, outcome.watermark, metadata_id)
                wrong.append(InstanceTags(there, TagValues(self._tag_set.version), errors))
        if wrong:
            await self._tag_values.write(wrong)

    async def _remove_series_documents(self) -> None:
        names = [blob.name for blob in await self._listed("series-metadata/")]
        for some in batched(names, _NAMES_AT_ONCE, strict=False):
            await self._blobs.delete(some)


def _unpacked(content: Buffer, tag_set: TagSet) -> _Found:
    kept = kept_instance(content, tag_set)
    return kept.partition_name, kept.instance, kept.tag_errors


async def _each(names: Sequence[str]) -> AsyncIterator[str]:
    for name in names:
        yield name
