"""What blobs tell of which instances are stored and which are gone, before an index is rebuilt."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from shared.dicom.blob_names import UPDATES, dicom_blob, metadata_blob
from shared.ports import BlobStore, InstanceFile
from shared.services.kept_instance import UNREADABLE
from shared.services.metadata_file import unpack
from shared.services.read_ahead import read_ahead
from shared.services.tombstones import TOMBSTONES, Buried, Place, buried, read_tombstone
from shared.services.update_notes import noted_heads

_READS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Evidence:
    """What tombstones and notes of updates tell.

    Attributes:
        buried: What is gone.
        newest_heads: By the blob ids of updated files, the ids of the newest heads that are whole.
        updated_by: By the ids of those heads, the blob ids of the files; not of what is gone.
        updated: The blob ids of updated instances: only what is in an index is updated.
        damaged: Names of tombstones and notes that cannot be read.
    """

    buried: Buried
    newest_heads: Mapping[str, str]
    updated_by: Mapping[str, str]
    updated: Mapping[Place, str]
    damaged: tuple[str, ...]

    def is_current(self, file: InstanceFile) -> bool:
        """Whether a version is the newest of its file; a head may never have been put in place."""
        return file.head is None or (
            self.newest_heads.get(file.blob_id) == file.head.blob_id
            and file.blob_id not in self.buried.blob_ids
        )

    def is_ousted(self, place: Place, blob_id: str) -> bool:
        """Whether another blob of an instance is, or was, the one that the index had."""
        if place in self.updated:
            return self.updated[place] != blob_id
        return self.buried.is_outdated(place, blob_id)


async def gather_evidence(
    blobs: BlobStore, blob_ids: Collection[str], files: Collection[str]
) -> Evidence:
    """Read all tombstones and notes.

    Args:
        blobs: Where they are.
        blob_ids: Those that have a metadata blob.
        files: The names of the blobs of DICOM files and heads.
    """
    damaged: list[str] = []
    gone = buried(await _read_all(blobs, TOMBSTONES, read_tombstone, damaged))
    newest: dict[str, str] = {}
    for heads in await _read_all(blobs, UPDATES, noted_heads, damaged):
        for head_id, blob_id in heads.items():
            if head_id in blob_ids and dicom_blob(head_id) in files:
                newest[blob_id] = max(newest.get(blob_id, ""), head_id)
    living = {head_id: one for one, head_id in newest.items() if one not in gone.blob_ids}
    return Evidence(gone, newest, living, await _places(blobs, living), tuple(damaged))


async def _read_all[Told](
    blobs: BlobStore,
    prefix: str,
    read: Callable[[BlobStore, str], Awaitable[Told]],
    damaged: list[str],
) -> list[Told]:
    """Read all blobs below a prefix; the names of those that cannot be read are noted."""
    found = []
    async for blob in blobs.list(prefix):
        try:
            found.append(await read(blobs, blob.name))
        except UNREADABLE:
            damaged.append(blob.name)
    return found


async def _places(blobs: BlobStore, heads: Mapping[str, str]) -> Mapping[Place, str]:
    """Which instances heads belong to, as far as it can be read; by blob ids of their files."""

    async def place(head_id: str) -> tuple[Place, str] | None:
        content = await blobs.get(metadata_blob(head_id))
        try:
            metadata = await asyncio.to_thread(unpack, content)
        except UNREADABLE:
            return None
        return (metadata.partition_name, metadata.path), heads[head_id]

    found = read_ahead(heads, place, depth=_READS_AT_ONCE)
    return dict([item async for item in found if item is not None])
