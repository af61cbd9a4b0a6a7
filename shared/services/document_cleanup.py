"""Removing series documents that no series has or will have."""

import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.ports import BlobStore, SeriesTable, StateTable

_PREFIX = "series-metadata/"
_NAME = re.compile(r"series-metadata/([0-9]+)/([0-9]+)\.json\.gz", re.ASCII)
_NAMES_PER_CHECK = 500
_MOST_PER_RUN = 500
_SETTLED = timedelta(hours=1)
"""After which nobody still makes, or reads, a document of a state that is over."""

_log = logging.getLogger(__name__)


class DocumentCleanup:
    """Finds documents that were written and never recorded, and removes them in the next run.

    A document of the present state of its series may be recorded yet, so it is left; one of a
    state that is over can only be recorded by who began before that. Documents are made anew as
    they are needed, so no harm is done to an index that is restored to yesterday.
    """

    def __init__(
        self, blobs: BlobStore, series: SeriesTable, state: StateTable, *, grace: timedelta
    ) -> None:
        self._blobs = blobs
        self._series = series
        self._state = state
        self._age = max(grace, _SETTLED)

    async def sweep(self, now: datetime) -> int:
        """Remove what an earlier run found and nothing has needed since; tell how many."""
        row = await self._state.get("maintenance", "sweeper", "documents")
        found: Sequence[str] = ()
        if row is not None:
            if now - datetime.fromisoformat(str(row.values["found"])) < self._age:
                return 0
            found = str(row.values["names"]).split()
        removed = await self._unneeded(found)
        await self._blobs.delete(removed)
        values = {"names": " ".join(await self._candidates()), "found": now.isoformat()}
        await self._state.put("maintenance", "sweeper", "documents", values)
        _log.info("sweeper: %d series documents removed", len(removed))
        return len(removed)

    async def _candidates(self) -> list[str]:
        candidates: list[str] = []
        names: list[str] = []
        async for blob in self._blobs.list(_PREFIX):
            names.append(blob.name)
            if len(names) == _NAMES_PER_CHECK:
                candidates += await self._unneeded(names)
                names = []
            if len(candidates) >= _MOST_PER_RUN:
                break
        return [*candidates, *await self._unneeded(names)][:_MOST_PER_RUN]

    async def _unneeded(self, names: Sequence[str]) -> list[str]:
        parsed = {name: found for name in names if (found := _NAME.fullmatch(name))}
        series = await self._series.revisions({int(found[1]) for found in parsed.values()})
        unneeded = []
        for name, found in parsed.items():
            there = series.get(int(found[1]))
            if there is None or int(found[2]) not in (there.revision, there.document_revision):
                unneeded.append(name)
        return unneeded
