"""Removing blobs: those whose time has come, and those that no row names."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from shared.dicom.blob_names import INSTANCE_KINDS, blob_id_of, time_of
from shared.ports import BlobStore, Index, StateTable

_DUE_PER_ROUND = 100
_ROUNDS_PER_RUN = 200
_DAYS_PER_RUN = 60
_NAMES_PER_CHECK = 500

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
        """Remove blobs whose grace period is over, of 20 000 rows at most, and tell how many."""
        removed = 0
        for _ in range(_ROUNDS_PER_RUN):
            due = await self._index.due_blobs(now, _DUE_PER_ROUND)
            if not due:
                break
            names = [name for row in due for name in row.names]
            await self._blobs.delete(names)
            await self._index.forget_blobs([row.key for row in due])
            removed += len(names)
        _log.info("cleanup: %d blobs removed", removed)
        return removed

    async def sweep(self, now: datetime) -> int:
        """Remove blobs older than the orphan age that no row names, and tell how many.

        It begins with the day where the last run ended. When there are more than the limit it
        removes none of them and raises an alarm: an index restored to yesterday makes every newer
        blob look orphaned.
        """
        leftovers = await self._blobs.remove_leftovers(self._orphan_age)
        orphans = await self._remove_orphans(now - self._orphan_age)
        _log.info("sweeper: %d orphans and %d leftovers removed", orphans, leftovers)
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
        await self._blobs.delete(orphans)
        if orphans:
            await self._note_swept(max(sorted(days)[:_DAYS_PER_RUN]))
        return len(orphans)

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
