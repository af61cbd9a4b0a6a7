"""Rebuilding an index from blobs alone."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from shared.dicom.blob_names import blob_id_of, day_of
from shared.dicom.searchable import indexed_attributes
from shared.ports import AlreadyStored, BlobStore, Index, NewInstance
from shared.services.metadata_file import MetadataFile, unpack
from shared.services.read_ahead import read_ahead

_BATCH_INSTANCES = 256
_READS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many instances were put back, and how many metadata blobs were left out."""

    instances: int
    left_out: int


class Rebuild:
    """Puts every instance that has a metadata blob, and was not deleted, into an empty index.

    The change feed starts anew: it holds one creation for each instance, in the order of storing.
    """

    def __init__(self, blobs: BlobStore, index: Index) -> None:
        self._blobs = blobs
        self._index = index

    async def run(self) -> Rebuilt:
        """Read all metadata blobs, oldest day first, and add what they describe."""
        deleted = await self._deleted()
        found = kept = 0
        for day in await self._metadata_by_day():
            found += len(day)
            living = [day[blob_id] for blob_id in sorted(day.keys() - deleted)]
            batch: list[MetadataFile] = []
            async for metadata in read_ahead(_each(living), self._read, depth=_READS_AT_ONCE):
                batch.append(metadata)
                if len(batch) == _BATCH_INSTANCES:
                    kept += await self._add(batch)
                    batch = []
            kept += await self._add(batch)
        return Rebuilt(kept, found - kept)

    async def _deleted(self) -> frozenset[str]:
        blob_ids: set[str] = set()
        async for blob in self._blobs.list("tombstones/"):
            blob_ids.update(orjson.loads(bytes(await self._blobs.get(blob.name)))["blobIds"])
        return frozenset(blob_ids)

    async def _metadata_by_day(self) -> Sequence[Mapping[str, str]]:
        """Names of metadata blobs by blob id, a mapping for each day."""
        days: dict[str, dict[str, str]] = {}
        async for blob in self._blobs.list("metadata/"):
            if (blob_id := blob_id_of(blob.name)) is not None:
                days.setdefault(day_of(blob_id), {})[blob_id] = blob.name
        return [days[day] for day in sorted(days)]

    async def _read(self, name: str) -> MetadataFile:
        return await asyncio.to_thread(unpack, await self._blobs.get(name))

    async def _add(self, batch: Sequence[MetadataFile]) -> int:
        added = 0
        for name in dict.fromkeys(metadata.partition_name for metadata in batch):
            partition = await self._index.create_partition(name)
            instances = [_instance(m) for m in batch if m.partition_name == name]
            outcomes = await self._index.commit(partition, instances)
            added += sum(not isinstance(outcome, AlreadyStored) for outcome in outcomes)
        return added


def _instance(metadata: MetadataFile) -> NewInstance:
    return NewInstance(metadata.path, metadata.file, indexed_attributes(metadata.document))


async def _each(names: Sequence[str]) -> AsyncIterator[str]:
    for name in names:
        yield name
