"""Rebuilding an index from blobs alone."""

import asyncio
from collections.abc import Buffer, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched

from shared.dicom.blob_names import (
    blob_id_of,
    day_of,
    dicom_blob,
    instance_blobs,
    metadata_blob,
)
from shared.dicom.extended_query_tag import TagSet
from shared.ports import (
    AlreadyStored,
    BlobInfo,
    BlobStore,
    Index,
    InstanceFile,
    NewInstance,
    TagTable,
)
from shared.services.kept_instance import UNREADABLE, kept_instance
from shared.services.read_ahead import read_ahead
from shared.services.rebuild_evidence import Evidence, gather_evidence
from shared.services.tag_sets import kept_tag_set
from shared.services.tombstones import Buried

_BATCH_INSTANCES = 256
_READS_AT_ONCE = 32
_NAMES_AT_ONCE = 1000
_FOREVER = datetime.max.replace(tzinfo=UTC)
_NOTHING_KNOWN = Evidence(Buried({}, frozenset(), {}), {}, {}, {}, ())

type _Found = tuple[str, NewInstance]
"""Name of the partition, and the instance."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of a rebuild.

    Attributes:
        instances: How many were put back.
        left_out: How many metadata blobs were not: their instance was deleted, was never wholly
            written, or has another blob or newer version; or they are damaged.
        damaged: Names of blobs that should be whole and are not; they are kept for repair.
        doubtful: Names of metadata blobs of whole instances that are left out although no
            tombstone names them, or only one of a replacement that was not answered, and whose
            file is not put back under another blob; they are kept.
    """

    instances: int
    left_out: int
    damaged: tuple[str, ...]
    doubtful: tuple[str, ...]


class Rebuild:
    """Puts every instance whose blobs are whole, and was not deleted, into an empty index.

    The change feed starts anew: it holds one creation for each instance, in the order in which the
    blob ids were drawn, those of their heads where they were updated. Where instances of one
    request contradict each other about their study, it may follow another of them than before, as
    a request draws several ids at once.
    A Store that was not answered may have left blobs of an instance beside those of another Store
    of it. Of such, what was updated since is put back, else what took the place of another, else
    the oldest; none that a deletion or replacement came after. What is noted as unanswered stands
    back behind all others, also in the change feed. As all this may err, none of them is removed
    unless its file is the very one that is put back.
    Series documents are removed, as the new index would take their names for those of its own.
    Extended query tags are as they were when they last were added or deleted; those by which some
    instance cannot be indexed are disabled.
    """

    def __init__(self, blobs: BlobStore, index: Index, tags: TagTable) -> None:
        self._blobs = blobs
        self._index = index
        self._tags = tags
        self._tag_set = TagSet()
        self._files: dict[str, int] = {}
        self._evidence = _NOTHING_KNOWN
        self._damaged: list[str] = []
        self._doubtful: list[str] = []

    async def run(self) -> Rebuilt:
        """Read all metadata blobs, oldest day first, and add what they describe."""
        self._tag_set = await self._tags.restore(*await kept_tag_set(self._blobs))
        self._files = {blob.name: blob.length for blob in await self._listed("dicom/", "frames/")}
        days = await self._metadata_by_day()
        blob_ids = {blob_id for day in days for blob_id in day}
        self._evidence = await gather_evidence(self._blobs, blob_ids, self._files)
        self._damaged += self._evidence.damaged
        deleted = self._evidence.buried.blob_ids
        unanswered = self._evidence.buried.unanswered
        left_out = {*deleted, *self._evidence.newest_heads}
        found = kept = 0
        last: dict[str, str] = {}
        for day in days:
            found += len(day)
            gone = sorted(day.keys() & deleted.keys())
            await self._let_wait({blob_id: day[blob_id] for blob_id in gone})
            living = {blob_id: day[blob_id] for blob_id in sorted(day.keys() - left_out)}
            last |= {blob_id: living.pop(blob_id) for blob_id in sorted(living.keys() & unanswered)}
            kept += await self._put_back(living.values())
        kept += await self._put_back(last.values())
        await self._remove_series_documents()
        return Rebuilt(kept, found - kept, tuple(self._damaged), tuple(self._doubtful))

    async def _put_back(self, names: Collection[str]) -> int:
        added = 0
        batch: list[_Found] = []
        async for item in read_ahead(names, self._read, depth=_READS_AT_ONCE):
            if item is not None:
                batch.append(item)
            if len(batch) == _BATCH_INSTANCES:
                added += await self._add(batch)
                batch = []
        return added + await self._add(batch)

    async def _listed(self, *prefixes: str) -> list[BlobInfo]:
        return [blob for prefix in prefixes async for blob in self._blobs.list(prefix)]

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
        if found is None or not _fits(found[1].file, blob_id, length):
            await self._keep_damaged(name, blob_id)
            return None
        return found if await self._is_wanted(name, *found) else None

    async def _is_wanted(self, name: str, partition_name: str, instance: NewInstance) -> bool:
        """Whether a metadata blob tells what the index had; if not, see to its blobs."""
        file = instance.file
        if not self._evidence.is_current(file):
            head = [dicom_blob(file.metadata_id), name]
            await self._index.add_deleted_blobs(head, datetime.now(UTC))
            return False
        has_all = self._files.keys() >= {*_names(file)} - {metadata_blob(file.blob_id), name}
        if not has_all and file.head is not None:
            # Only what was whole is updated, so this is no write that was cut short.
            await self._keep_damaged(name, file.metadata_id)
        elif has_all and self._evidence.is_ousted((partition_name, instance.path), file.blob_id):
            await self._keep_doubtful(file)
            return False
        return has_all

    async def _let_wait(self, deleted: Mapping[str, str]) -> None:
        """Let the blobs of what is gone wait for their removal as they did before."""
        for blob_id, name in deleted.items():
            until = self._evidence.buried.blob_ids[blob_id]
            if until is None:
                self._doubtful.append(name)
            names = instance_blobs(blob_id, has_frames_blob=True)
            await self._index.add_deleted_blobs(names, until or _FOREVER)

    async def _keep_damaged(self, name: str, blob_id: str) -> None:
        self._damaged.append(name)
        # They have no row: without this the sweeper would remove the file too.
        for one in (blob_id, self._evidence.updated_by.get(blob_id)):
            if one is not None:
                names = instance_blobs(one, has_frames_blob=True)
                await self._index.add_deleted_blobs(names, _FOREVER)

    async def _keep_doubtful(self, file: InstanceFile) -> None:
        self._doubtful.append(metadata_blob(file.metadata_id))
        await self._index.add_deleted_blobs(_names(file), _FOREVER)

    async def _add(self, batch: Sequence[_Found]) -> int:
        added = 0
        for name in dict.fromkeys(name for name, _ in batch):
            partition = await self._index.create_partition(name)
            found = [instance for one, instance in batch if one == name]
            for instance, outcome in zip(
                found, await self._index.commit(partition, found), strict=True
            ):
                if isinstance(outcome, AlreadyStored):
                    await self._leave_out(instance.file, outcome)
                else:
                    added += 1
        return added

    async def _leave_out(self, file: InstanceFile, there: AlreadyStored) -> None:
        """Keep what has another blob of its instance in its place, unless its file is the same."""
        if file.head is None and file.sha256 == there.sha256:
            await self._index.add_deleted_blobs(_names(file), datetime.now(UTC))
        else:
            await self._keep_doubtful(file)

    async def _remove_series_documents(self) -> None:
        names = [blob.name for blob in await self._listed("series-metadata/")]
        for some in batched(names, _NAMES_AT_ONCE, strict=False):
            await self._blobs.delete(some)


def _unpacked(content: Buffer, tag_set: TagSet) -> _Found:
    kept = kept_instance(content, tag_set)
    return kept.partition_name, kept.instance


def _fits(file: InstanceFile, blob_id: str, length: int) -> bool:
    """Whether a metadata blob tells of the file or head of its own name and of this length."""
    return (file.metadata_id, (file.head or file).length) == (blob_id, length)


def _names(file: InstanceFile) -> list[str]:
    """The blobs of an instance, and those of its head."""
    names = [*instance_blobs(file.blob_id, has_frames_blob=file.frames == "blob")]
    if file.head is not None:
        names += instance_blobs(file.head.blob_id, has_frames_blob=False)
    return names
