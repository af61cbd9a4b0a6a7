"""Tombstones: blobs that tell which instances are gone, for an index rebuilt from blobs alone.

One names instances that are deleted or replaced, another kind names instances that are restored;
of what is said of an instance, the newest counts. Each is written before the index is changed, so
that whatever the index has is in the blobs too: no crash brings back what was deleted. A crash
between the two leaves one that says what did not happen, and whose request was never answered; it
is withdrawn once it is compared with the index.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from shared.dicom.blob_names import blob_id_of, new_blob_id, time_of, tombstone_blob
from shared.ports import BlobStore, BlobUse, Deletions

_PREFIX = "tombstones/"
_SETTLED = timedelta(hours=1)
"""After which nobody is still between a tombstone and the change of the index that it tells."""
_MOST_PER_RUN = 5000

_UNREADABLE = (ValueError, LookupError, TypeError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a blob tells of instances.

    Attributes:
        id: Drawn when it was written, so that ids sort by time.
        blob_ids: Of the instances.
        until: How long their blobs stay, UTC; None where they are restored.
    """

    id: str
    blob_ids: frozenset[str]
    until: datetime | None


async def add_tombstone(blobs: BlobStore, blob_ids: Sequence[str], until: datetime) -> None:
    """Note that instances are about to be deleted or replaced; their blobs stay until a time."""
    tombstone = {"until": until, "blobIds": blob_ids}
    await blobs.put(tombstone_blob(new_blob_id()), orjson.dumps(tombstone))


async def add_revival(blobs: BlobStore, blob_ids: Sequence[str], id_: str | None = None) -> str:
    """Note that instances are about to be restored, and give the name of the blob."""
    name = tombstone_blob(id_ or new_blob_id())
    await blobs.put(name, orjson.dumps({"restored": True, "blobIds": blob_ids}))
    return name


async def read_tombstone(blobs: BlobStore, name: str) -> Tombstone:
    """Read one.

    Raises:
        ValueError: It is damaged, as it also is with LookupError and TypeError.
    """
    told = orjson.loads(bytes(await blobs.get(name)))
    until = None if told.get("restored") else datetime.fromisoformat(told["until"])
    return Tombstone(str(blob_id_of(name)), frozenset(told["blobIds"]), until)


def buried(tombstones: Iterable[Tombstone]) -> Mapping[str, datetime]:
    """The blob ids of what is gone, and how long its blobs stay."""
    gone: dict[str, datetime] = {}
    for one in sorted(tombstones, key=lambda tombstone: tombstone.id):
        for blob_id in one.blob_ids:
            if one.until is None:
                gone.pop(blob_id, None)
            else:
                gone[blob_id] = one.until
    return gone


async def sweep_tombstones(blobs: BlobStore, deletions: Deletions, now: datetime) -> int:
    """Remove those that nothing needs any more, and tell how many.

    One is needed as long as blobs are there that it keeps from coming back; one that restores, as
    long as there is an older one of the same instances. Those that contradict the index tell of
    something that was cut short.
    """
    found = await _settled(blobs, now)
    uses = await deletions.uses({blob_id for one in found for blob_id in one.blob_ids})
    stored = frozenset(blob_id for blob_id, use in uses.items() if use is BlobUse.STORED)
    burials = [one for one in found if one.until is not None]
    kept = [one for one in burials if not _is_over(one, uses, now)]
    revivals = [one for one in found if one.until is None]
    needed = [one for one in revivals if any(_undoes(one, older, stored) for older in kept)]
    for one in kept:
        undone = frozenset[str]().union(*(_undoes(newer, one, stored) for newer in needed))
        if contradicted := (one.blob_ids & stored) - undone:
            just_after = new_blob_id(int(time_of(one.id).timestamp() * 1000) + 1)
            await add_revival(blobs, sorted(contradicted), just_after)
    # What buries goes first: without what revives, it would count again.
    removed = [one for one in (*burials, *revivals) if one not in kept and one not in needed]
    for one in removed:
        await blobs.delete([tombstone_blob(one.id)])
    _log.info("tombstones: %d of %d removed", len(removed), len(found))
    return len(removed)


def _is_over(one: Tombstone, uses: Mapping[str, BlobUse], now: datetime) -> bool:
    """Whether all its instances are stored (again), or gone with their blobs."""
    is_due = one.until is not None and one.until <= now
    return all(
        uses.get(blob_id) is BlobUse.STORED or (is_due and blob_id not in uses)
        for blob_id in one.blob_ids
    )


def _undoes(newer: Tombstone, older: Tombstone, stored: frozenset[str]) -> frozenset[str]:
    """The stored instances that one revives and another one has buried before."""
    if newer.id < older.id:
        return frozenset()
    return newer.blob_ids & older.blob_ids & stored


async def _settled(blobs: BlobStore, now: datetime) -> list[Tombstone]:
    names = [
        blob.name
        async for blob in blobs.list(_PREFIX)
        if (id_ := blob_id_of(blob.name)) and time_of(id_) <= now - _SETTLED
    ]
    found = []
    for name in sorted(names, key=lambda name: name.rpartition("/")[2])[:_MOST_PER_RUN]:
        try:
            found.append(await read_tombstone(blobs, name))
        except _UNREADABLE:
            # It is kept: what it tells may be found out by whoever repairs it.
            _log.warning("tombstones: %s cannot be read", name)
    return found
