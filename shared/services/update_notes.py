"""Which heads were put in place, kept as blobs for an index that is rebuilt from blobs alone.

A note is written when all heads of a study are, just before they are put in place together. So a
rebuilt index never has a part of an update; of one that was cut short at that very moment it has
all, as when the update had gone on.
"""

from collections.abc import Mapping

import orjson

from shared.dicom.blob_names import new_blob_id, update_blob
from shared.ports import BlobStore


async def add_update_note(blobs: BlobStore, heads: Mapping[str, str]) -> str:
    """Note heads, each with the blob id of the file it belongs to, and give the note's name."""
    name = update_blob(new_blob_id())
    await blobs.put(name, orjson.dumps({"heads": heads}))
    return name


async def noted_heads(blobs: BlobStore, name: str) -> Mapping[str, str]:
    """Heads that were put in place together, each with the blob id of the file it belongs to.

    Raises:
        ValueError: The note is damaged.
    """
    heads: Mapping[str, str] = orjson.loads(bytes(await blobs.get(name)))["heads"]
    return heads
