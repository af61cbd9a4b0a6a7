"""Tombstones: blobs that tell which instances are gone, for an index rebuilt from blobs alone.

One names instances that are deleted or replaced, another kind names instances that are restored;
of what is said of an instance, the newest counts. Each is written before the index is changed, so
that whatever the index has is in the blobs too: no crash brings back what was deleted. A crash
between the two leaves one that says what did not happen, and whose request was never answered; it
is withdrawn once it is compared with the index.

A store that was never answered may have left blobs of the same instance, which no tombstone names
by their ids. Those that are older than what is said of the instance are out as well. A third kind
names, if it still can be written, what a store had to leave like that: whether the index has it is
not known, so it stands back behind other blobs of its instance.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson

from shared.dicom.blob_names import blob_id_of, new_blob_id, time_of, tombstone_blob
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.ports import BlobStore, BlobUse, Deletions
from shared.services.kept_instance import UNREADABLE

TOMBSTONES = "tombstones/"
_SETTLED = timedelta(hours=1)
"""After which nobody is still between a tombstone and the change of the index that it tells."""
_MOST_PER_RUN = 5000

_EMPTY = frozenset[str]()

_log = logging.getLogger(__name__)

type Place = tuple[str, ResourcePath]
"""An instance: the name of its partition, and its path."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a blob tells of instances.

    Attributes:
        id: Drawn when it was written, so that ids sort by time.
        blob_ids: Of the instances.
        until: How long their blobs stay, UTC; None where they are not gone.
        is_unanswered: Whether it is not known if they were stored; else they are gone or restored.
        places: Which instances they are; older tombstones do not tell it.
        successors: The blob ids of what takes their places, where they are replaced.
    """

    id: str
    blob_ids: frozenset[str]
    until: datetime | None
    is_unanswered: bool = False
    places: Mapping[str, Place] = field(default_factory=dict)
    successors: frozenset[str] = _EMPTY


async def add_tombstone(
    blobs: BlobStore,
    partition_name: str,
    paths: Mapping[str, ResourcePath],
    until: datetime,
    successors: Collection[str] = (),
) -> None:
    """Note that instances are about to be deleted, or replaced by others.

    Args:
        blobs: Where it is noted.
        partition_name: Where the instances are.
        paths: Which instances, by their blob ids.
        until: How long their blobs stay.
        successors: The blob ids of those that take their places.
    """
    tombstone = {
        "until": until,
        "blobIds": list(paths),
        "partition": partition_name,
        "paths": [(path.study, path.series, path.instance) for path in paths.values()],
        "successors": list(successors),
    }
    await blobs.put(tombstone_blob(new_blob_id()), orjson.dumps(tombstone))


async def add_revival(blobs: BlobStore, blob_ids: Sequence[str], id_: str | None = None) -> str:
    """Note that instances are about to be restored, and give the name of the blob."""
    name = tombstone_blob(id_ or new_blob_id())
    await blobs.put(name, orjson.dumps({"restored": True, "blobIds": blob_ids}))
    return name


async def add_unanswered(blobs: BlobStore, blob_ids: Sequence[str]) -> None:
    """Note instances of which it is not known whether they were stored."""
    note = {"unanswered": True, "blobIds": blob_ids}
    await blobs.put(tombstone_blob(new_blob_id()), orjson.dumps(note))


async def read_tombstone(blobs: BlobStore, name: str) -> Tombstone:
    """Read one.

    Raises:
        ValueError: It is damaged, as it also is with any other of UNREADABLE.
    """
    told = orjson.loads(bytes(await blobs.get(name)))
    is_unanswered = bool(told.get("unanswered"))
    is_gone = not (is_unanswered or told.get("restored"))
    until = datetime.fromisoformat(told["until"]) if is_gone else None
    blob_ids, paths = told["blobIds"], told.get("paths")
    places: dict[str, Place] = {}
    if paths is not None:
        partition_name = told["partition"]
        for blob_id, uids in zip(blob_ids, paths, strict=True):
            places[blob_id] = partition_name, ResourcePath(*map(Uid, uids))
    successors = frozenset(told.get("successors", ()))
    id_ = str(blob_id_of(name))
    return Tombstone(id_, frozenset(blob_ids), until, is_unanswered, places, successors)


@dataclass(frozen=True, slots=True)
class Buried:
    """What tombstones say together.

    Attributes:
        blob_ids: Of what is gone, and how long its blobs stay; None where it is not known for sure,
            as what replaced it was not answered.
        unanswered: The blob ids of which it is not known whether they were stored.
        last: The id of the last tombstone of an instance, and the blob ids that it leaves there.
    """

    blob_ids: Mapping[str, datetime | None]
    unanswered: frozenset[str]
    last: Mapping[Place, tuple[str, frozenset[str]]]

    def is_outdated(self, place: Place, blob_id: str) -> bool:
        """Whether blobs that no tombstone names are older than what is said of their instance."""
        if place not in self.last:
            return False
        id_, successors = self.last[place]
        return blob_id < id_ and blob_id not in successors


def buried(tombstones: Iterable[Tombstone]) -> Buried:
    """Put together what tombstones say: of each instance the newest counts."""
    gone: dict[str, datetime | None] = {}
    places: dict[str, Place] = {}
    last: dict[Place, tuple[str, frozenset[str]]] = {}
    told = sorted(tombstones, key=lambda tombstone: tombstone.id)
    unanswered = _EMPTY.union(*(one.blob_ids for one in told if one.is_unanswered))
    for one in told:
        if one.is_unanswered:
            continue
        places |= one.places
        is_certain = not one.successors or bool(one.successors - unanswered)
        for blob_id in one.blob_ids:
            successors = one.successors
            if one.until is None:
                gone.pop(blob_id, None)
                successors = frozenset({blob_id})
            else:
                gone[blob_id] = one.until if is_certain else None
            if blob_id in places:
                last[places[blob_id]] = one.id, successors
    return Buried(gone, unanswered, last)


async def sweep_tombstones(
    blobs: BlobStore, deletions: Deletions, now: datetime, *, orphan_age: timedelta
) -> int:
    """Remove those that nothing needs any more, and tell how many.

    One is needed as long as blobs are there that it keeps from coming back, also those that no row
    names; one that restores, as long as there is an older one of the same instances. Those that
    contradict the index tell of something that was cut short.
    """
    settled = await _settled(blobs, now)
    found = [one for one in settled if not one.is_unanswered]
    uses = await deletions.uses({blob_id for one in found for blob_id in one.blob_ids})
    stored = frozenset(blob_id for blob_id, use in uses.items() if use is BlobUse.STORED)
    burials = [one for one in found if one.until is not None]
    # Blobs without a row may be twice as old before a sweeper comes by that was held up.
    oldest = now - 2 * orphan_age
    kept = [one for one in burials if not _is_over(one, uses, now, oldest)]
    revivals = [one for one in found if one.until is None]
    needed = [one for one in revivals if any(_undoes(one, older, stored) for older in kept)]
    for one in kept:
        undone = _EMPTY.union(*(_undoes(newer, one, stored) for newer in needed))
        if contradicted := (one.blob_ids & stored) - undone:
            just_after = new_blob_id(int(time_of(one.id).timestamp() * 1000) + 1)
            await add_revival(blobs, sorted(contradicted), just_after)
    # What buries goes first: without what revives, it would count again.
    removed = [one for one in (*burials, *revivals) if one not in kept and one not in needed]
    removed += [one for one in settled if one.is_unanswered and time_of(one.id) <= oldest]
    for one in removed:
        await blobs.delete([tombstone_blob(one.id)])
    _log.info("tombstones: %d of %d removed", len(removed), len(settled))
    return len(removed)


def _is_over(one: Tombstone, uses: Mapping[str, BlobUse], now: datetime, oldest: datetime) -> bool:
    """Whether all its instances are stored (again), or gone with their blobs."""
    is_due = one.until is not None and one.until <= now and time_of(one.id) <= oldest
    return all(
        uses.get(blob_id) is BlobUse.STORED or (is_due and blob_id not in uses)
        for blob_id in one.blob_ids
    )


def _undoes(newer: Tombstone, older: Tombstone, stored: frozenset[str]) -> frozenset[str]:
    """The stored instances that one revives and another one has buried before."""
    if newer.id < older.id:
        return _EMPTY
    return newer.blob_ids & older.blob_ids & stored


async def _settled(blobs: BlobStore, now: datetime) -> list[Tombstone]:
    names = [
        blob.name
        async for blob in blobs.list(TOMBSTONES)
        if (id_ := blob_id_of(blob.name)) and time_of(id_) <= now - _SETTLED
    ]
    found = []
    for name in sorted(names, key=lambda name: name.rpartition("/")[2])[:_MOST_PER_RUN]:
        try:
            found.append(await read_tombstone(blobs, name))
        except UNREADABLE:
            # It is kept: what it tells may be found out by whoever repairs it.
            _log.warning("tombstones: %s cannot be read", name)
    return found
