"""Removing blobs: those whose time has come, and those that no row names."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from shared.dicom.blob_names import INSTANCE_KINDS, blob_id_of, time_of
from shared.errors import StoreUnavailableError
from shared.ports import BlobStore, DeletedBlobs, Index, StateTable
from shared.services.update_notes import unneeded_notes

_DUE_PER_ROUND = 100
_ROUNDS_PER_RUN = 200
_DAYS_PER_RUN = 60
_NAMES_PER_CHECK = 500
_FAILURES_PER_RUN = 100
_NEXT_TRY = timedelta(days=1)

_log = logging.getLogger(__name__)


class Cleanup:
    """The timers' work; every step may be repeated."""

    def __init__(
        self,
        blobs: BlobStore,
        index: Index,
        state: StateTable,
        *,
        orphan_age: timedelta,
        max_orphans_per_run: int,
    ) -> None:
        self._blobs = blobs
        self._index = index
        self._state = state
        self._orphan_age = orphan_age
        self._max_orphans = max_orphans_per_run

    async def remove_due(self, now: datetime) -> int:
        """Remove blobs whose grace period is over, of 20 000 rows at most, and tell how many.

        What cannot be removed although blob storage answers is tried again a day later.
        """
        removed = failed = 0
        for _ in range(_ROUNDS_PER_RUN):
            due = await self._index.due_blobs(now, _DUE_PER_ROUND)
            if not due or failed >= _FAILURES_PER_RUN:
                break
            kept = await self._remove(due)
            done = [row for row in due if row not in kept]
            await self._index.forget_blobs([row.key for row in done])
            if kept:
                await self._index.postpone_blobs([row.key for row in kept], now + _NEXT_TRY)
            removed += sum(len(row.names) for row in done)
            failed += len(kept)
        _log.info("cleanup: %d blobs removed", removed)
        if failed:
            _log.error("cleanup: the blobs of %d rows cannot be removed", failed)
        return removed

    async def _remove(self, due: Sequence[DeletedBlobs]) -> Sequence[DeletedBlobs]:
        """Remove the blobs of rows, and give the rows whose blobs cannot be removed."""
        if await self._are_removed([name for row in due for name in row.names]):
            return []
        return [row for row in due if not await self._are_removed(row.names)]

    async def _are_removed(self, names: Sequence[str]) -> bool:
        """Remove blobs; False if that does not go although the store answers."""
        try:
            await self._blobs.delete(names)
        except StoreUnavailableError:
            await self._blobs.check()
            return False
        return True

    async def sweep(self, now: datetime) -> int:
        """Remove blobs older than the orphan age that no row names, and tell how many.

        It begins with the day where the last run ended. When there are more than the limit it
        removes none of them and raises an alarm: an index restored to yesterday makes every newer
        blob look orphaned. The notes of updates of which nothing is left go besides.
        """
        leftovers = await self._blobs.remove_leftovers(self._orphan_age)
        orphans = await self._remove_orphans(now - self._orphan_age)
        _log.info("sweeper: %d orphans and %d leftovers removed", orphans, leftovers)
        notes = await unneeded_notes(self._blobs, self._index, self._state, now - self._orphan_age)
        await self._remove_all(notes)
        return orphans

    async def _remove_orphans(self, newest: datetime) -> int:
        row = await self._state.get("maintenance", "sweeper", "days")
        since = date.min if row is None else date.fromisoformat(str(row.values["swept"]))
        orphans: list[str] = []
        days = await self._days(since, newest.date())
        for day in sorted(days)[:_DAYS_PER_RUN]:
            orphans += await self._orphans(days[day], newest)
            if len(orphans) > self._max_orphans:
                _log.error("sweeper: stopped, at least %d blobs have no row", len(orphans))
                return 0
            if not orphans:  # Whatever cuts this run short, the next one goes on from here.
                await self._note_swept(day)
        kept = await self._remove_all(orphans)
        if orphans:
            await self._note_swept(max(sorted(days)[:_DAYS_PER_RUN]))
        return len(orphans) - kept

    async def _remove_all(self, orphans: Sequence[str]) -> int:
        """Remove orphans, let wait what cannot be removed, and tell how many that are."""
        if await self._are_removed(orphans):
            return 0
        kept = [name for name in orphans if not await self._are_removed([name])]
        # With a row each is tried again day by day, and no run stops at it.
        await self._index.add_deleted_blobs(kept, datetime.now(UTC) + _NEXT_TRY)
        if kept:
            _log.error("sweeper: %d blobs cannot be removed", len(kept))
        return len(kept)

    async def _note_swept(self, day: date) -> None:
        # The newest day is looked at again, as the rest of it comes of age.
        await self._state.put("maintenance", "sweeper", "days", {"swept": day.isoformat()})

    async def _days(self, since: date, until: date) -> Mapping[date, Sequence[str]]:
        """The prefixes of the blobs of each day."""
        days: dict[date, list[str]] = {}
        for kind in INSTANCE_KINDS:
            for folder in await self._blobs.list_folders(f"{kind}/"):
                for name in await self._blobs.list_folders(f"{kind}/{folder}/"):
                    with suppress(ValueError):  # No day, so nothing of ours.
                        day = datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC).date()
                        if since <= day <= until:
                            days.setdefault(day, []).append(f"{kind}/{folder}/{name}/")
        return days

    async def _orphans(self, prefixes: Sequence[str], newest: datetime) -> list[str]:
        orphans: list[str] = []
        names: dict[str, str] = {}
        for prefix in prefixes:
            async for blob in self._blobs.list(prefix):
                blob_id = blob_id_of(blob.name)
                if blob_id is not None and time_of(blob_id) <= newest:
                    names[blob.name] = blob_id
            if len(names) >= _NAMES_PER_CHECK:
                orphans += await self._without_row(names)
                names = {}
        return orphans + await self._without_row(names)

    async def _without_row(self, names: Mapping[str, str]) -> list[str]:
        known = await self._index.known_blob_ids(list(names.values()))
        return [name for name, blob_id in names.items() if blob_id not in known]
