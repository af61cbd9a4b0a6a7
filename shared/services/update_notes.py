"""Which heads were put in place, kept as blobs for an index that is rebuilt from blobs alone.

A note is written when all heads of a study are, just before they are put in place together. So a
rebuilt index never has a part of an update; of one that was cut short at that very moment it has
all, as when the update had gone on. A note is of no use once the blobs of all its heads are gone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import batched

import orjson

from shared.dicom.blob_names import (
    UPDATES,
    blob_id_of,
    dicom_blob,
    metadata_blob,
    new_blob_id,
    time_of,
    update_blob,
)
from shared.errors import BlobNotFoundError
from shared.ports import BlobStore, Index, StateTable
from shared.services.kept_instance import UNREADABLE

_NOTES_PER_RUN = 500
_READS_AT_ONCE = 32


async def add_update_note(blobs: BlobStore, heads: Mapping[str, str]) -> str:
    """Note heads, each with the blob id of the file it belongs to, and give the note's name."""
    name = update_blob(new_blob_id())
    await blobs.put(name, orjson.dumps({"heads": heads}))
    return name


async def noted_heads(blobs: BlobStore, name: str) -> Mapping[str, str]:
    """Heads that were put in place together, each with the blob id of the file it belongs to.

    Raises:
        ValueError: The note is damaged, as it also is with any other of UNREADABLE.
    """
    heads: Mapping[str, str] = orjson.loads(bytes(await blobs.get(name)))["heads"]
    return dict(heads.items())


async def unneeded_notes(
    blobs: BlobStore, index: Index, state: StateTable, newest: datetime
) -> Sequence[str]:
    """The names of notes from before `newest` that have no heads any more.

    Each run looks at some hundred of them, the next one at those that follow, and so on in a
    circle. Even where the index has been set back to a time before an update, its notes stay.
    """
    row = await state.get("maintenance", "sweeper", "notes")
    names = await _names(blobs, "" if row is None else str(row.values["reached"]), newest)
    # Noted before anything is done about them, so that none that makes trouble ends the circle.
    reached = names[-1] if len(names) == _NOTES_PER_RUN else ""
    await state.put("maintenance", "sweeper", "notes", {"reached": reached})
    return [name for name in names if await _is_unneeded(blobs, index, name)]


async def _names(blobs: BlobStore, after: str, newest: datetime) -> Sequence[str]:
    """The names of the next old notes behind a name, in the order of names."""
    found: list[str] = []
    for folder in sorted(await blobs.list_folders(UPDATES)):
        prefix = f"{UPDATES}{folder}/"
        if prefix < after and not after.startswith(prefix):
            continue
        names = [blob.name async for blob in blobs.list(prefix)]
        found += sorted(name for name in names if name > after and _is_old(name, newest))
        if len(found) >= _NOTES_PER_RUN:
            break
    return found[:_NOTES_PER_RUN]


def _is_old(name: str, newest: datetime) -> bool:
    blob_id = blob_id_of(name)
    return blob_id is not None and time_of(blob_id) <= newest


async def _is_unneeded(blobs: BlobStore, index: Index, name: str) -> bool:
    try:
        heads = list(await noted_heads(blobs, name))
        of_heads = [blob(head_id) for head_id in heads for blob in (dicom_blob, metadata_blob)]
    except (BlobNotFoundError, *UNREADABLE):
        return False  # A rebuild tells of those that are damaged.
    if await index.known_blob_ids(heads):
        return False
    for some in batched(of_heads, _READS_AT_ONCE, strict=False):
        if any(await asyncio.gather(*(_is_there(blobs, one) for one in some))):
            return False
    return True


async def _is_there(blobs: BlobStore, name: str) -> bool:
    try:
        await blobs.length(name)
    except BlobNotFoundError:
        return False
    return True
