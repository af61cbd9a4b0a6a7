"""Restore: bring back what was deleted of a study; the Standard has no such thing."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import batched

from shared.dicom.blob_names import metadata_blob
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.dicomweb.store_report import Failed, FailureReason, Stored, StoreOutcome, StoreReport
from shared.errors import BlobNotFoundError, ConflictError, NotFoundError, TagSetChangedError
from shared.ports import BlobStore, DeletedInstance, Deletions, Index, Partition
from shared.services.kept_instance import UNREADABLE, KeptInstance, kept_instance
from shared.services.missing import missing
from shared.services.read_ahead import read_ahead
from shared.services.tag_sets import KnownTagSet
from shared.services.tombstones import add_revival

_BATCH_INSTANCES = 256
_READS_AT_ONCE = 32


class Restore:
    """Puts deleted instances back into the index, with the blobs they had."""

    def __init__(
        self, blobs: BlobStore, index: Index, deletions: Deletions, tag_set: KnownTagSet
    ) -> None:
        self._blobs = blobs
        self._index = index
        self._deletions = deletions
        self._tag_set = tag_set

    async def restore(self, partition: Partition, study: Uid) -> StoreReport:
        """Bring back of each instance of a study what was deleted last, if its blobs still wait.

        The report is one of Store. An instance that is there now stays as it is, and is reported
        as stored already. What is cut short goes on when it is asked for again.

        Raises:
            ConflictError: Nothing of the study waits, but instances of it are stored.
            NotFoundError: It has neither; GoneError where it was deleted too long ago.
        """
        path = ResourcePath(study)
        found = await self._deletions.of_study(partition, study)
        if not found:
            raise await self._nothing_to_restore(partition, path)
        outcomes: list[StoreOutcome] = [
            Failed(FailureReason.ALREADY_STORED, item.path) for item in found if item.is_stored
        ]
        for some in batched(
            (item for item in found if not item.is_stored), _BATCH_INSTANCES, strict=False
        ):
            outcomes += await self._restore(partition, some)
        return StoreReport(outcomes, path)

    async def _nothing_to_restore(
        self, partition: Partition, path: ResourcePath
    ) -> ConflictError | NotFoundError:
        if await self._index.version(partition, path) is None:
            return await missing(self._index, partition, path, version=2)
        return ConflictError("Instances of the study are stored, and no deleted ones of it wait.")

    async def _restore(
        self, partition: Partition, some: Sequence[DeletedInstance]
    ) -> Sequence[StoreOutcome]:
        outcomes: dict[ResourcePath, StoreOutcome] = {}
        waiting = list(some)
        while waiting:
            kept = await self._read(waiting)
            readable = [item for item in waiting if item.path in kept]
            outcomes |= _failed(waiting, kept)
            try:
                refused = await self._put_back(partition, [kept[item.path] for item in readable])
            except TagSetChangedError:
                await self._tag_set.read()
                waiting = readable
                continue
            if not refused:
                outcomes |= {item.path: _stored(kept[item.path]) for item in readable}
                break
            others = [item for item in readable if item.blob_id in refused]
            outcomes |= await self._refused(partition, others)
            waiting = [item for item in readable if item.blob_id not in refused]
        return [outcomes[item.path] for item in some]

    async def _put_back(self, partition: Partition, kept: Sequence[KeptInstance]) -> frozenset[str]:
        """Put all of them back, or none and tell which cannot be."""
        if not kept:
            return frozenset()
        instances = [item.instance for item in kept]
        revival = await add_revival(self._blobs, [item.file.blob_id for item in instances])
        try:
            refused = frozenset(await self._deletions.restore(partition, instances))
        except TagSetChangedError:
            await self._blobs.delete([revival])
            raise
        if refused:
            await self._blobs.delete([revival])
        return refused

    async def _refused(
        self, partition: Partition, items: Sequence[DeletedInstance]
    ) -> Mapping[ResourcePath, StoreOutcome]:
        outcomes: dict[ResourcePath, StoreOutcome] = {}
        for item in items:
            there = await self._index.find_instance(partition, item.path)
            is_stored = there is not None
            reason = FailureReason.ALREADY_STORED if is_stored else FailureReason.PROCESSING_FAILURE
            outcomes[item.path] = Failed(reason, item.path)
        return outcomes

    async def _read(
        self, waiting: Sequence[DeletedInstance]
    ) -> Mapping[ResourcePath, KeptInstance]:
        tag_set = await self._tag_set.get()

        async def read(item: DeletedInstance) -> tuple[DeletedInstance, KeptInstance | None]:
            try:
                content = await self._blobs.get(metadata_blob(item.metadata_id))
                return item, await asyncio.to_thread(kept_instance, content, tag_set)
            except (BlobNotFoundError, *UNREADABLE):
                return item, None

        found = read_ahead(waiting, read, depth=_READS_AT_ONCE)
        return {item.path: kept async for item, kept in found if kept is not None}


def _failed(
    waiting: Sequence[DeletedInstance], kept: Mapping[ResourcePath, KeptInstance]
) -> Mapping[ResourcePath, StoreOutcome]:
    return {
        item.path: Failed(FailureReason.PROCESSING_FAILURE, item.path)
        for item in waiting
        if item.path not in kept
    }


def _stored(kept: KeptInstance) -> Stored:
    return Stored(kept.instance.path, kept.sop_class_uid)
