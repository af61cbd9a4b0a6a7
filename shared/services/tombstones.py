"""Tombstones: blobs that name instances which are gone, for an index rebuilt from blobs alone."""

from collections.abc import Sequence
from datetime import datetime

import orjson

from shared.dicom.blob_names import new_blob_id, tombstone_blob
from shared.ports import BlobStore


async def add_tombstone(blobs: BlobStore, blob_ids: Sequence[str], until: datetime) -> None:
    """Note that instances are deleted or replaced, whose blobs stay until a time (UTC)."""
    tombstone = {"until": until, "blobIds": blob_ids}
    await blobs.put(tombstone_blob(new_blob_id()), orjson.dumps(tombstone))
