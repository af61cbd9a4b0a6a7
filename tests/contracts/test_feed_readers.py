"""Readers of the change feed, each with a database of its own, while processes write to it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from shared.adapters.sql_index.index import SqlIndex
from shared.dicom.resource import ResourcePath
from shared.ports import Change, ChangeAction
from tests.contracts.feed_writer import CHANGES, batches

ROOT = Path(__file__).parents[2]
WRITERS = 4
TOTAL = WRITERS * CHANGES

type Pass = AsyncIterator[Sequence[Change]]
"""The pages of all that is new since the pass before."""


class BySequence:
    """Follows as clients of v1 do."""

    def __init__(self, index: SqlIndex) -> None:
        self.index = index
        self._last = 0

    async def read(self) -> Pass:
        while page := await self.index.changes(self._last, 100):
            self._last = page[-1].sequence
            yield page


class ByWindow:
    """Follows as clients of v2 do, window after window."""

    def __init__(self, index: SqlIndex) -> None:
        self.index = index
        self._start = datetime.min.replace(tzinfo=UTC)

    async def read(self) -> Pass:
        end, offset = datetime.now(UTC), 0
        while page := await self.index.changes_in_window(self._start, end, offset, 200):
            offset += len(page)
            yield page
        self._start = end


async def _follow(reader: BySequence | ByWindow, are_done: Callable[[], bool]) -> list[Change]:
    """Read until two passes in a row find nothing once all is written."""
    seen: list[Change] = []
    empty = 0
    while empty < 2:
        was_done, before = are_done(), len(seen)
        async for page in reader.read():
            seen += page
        empty = empty + 1 if was_done and len(seen) == before else 0
        await asyncio.sleep(0.01)
    return seen


def _writer(url: str, number: int) -> Awaitable[asyncio.subprocess.Process]:
    module = "tests.contracts.feed_writer"
    return asyncio.create_subprocess_exec(sys.executable, "-m", module, url, str(number), cwd=ROOT)


def _assert_in_the_order_written(feed: list[Change], writer: int) -> None:
    """A transaction's changes stand in the feed together, and transactions as they were made."""
    position: dict[tuple[ChangeAction, ResourcePath], int] = {
        (change.action, change.path): change.sequence for change in feed
    }
    places = [sorted(position.pop(change) for change in batch) for batch in batches(writer)]
    assert all(place[-1] - place[0] == len(place) - 1 for place in places)
    assert all(one[-1] < other[0] for one, other in pairwise(places))


@pytest.mark.timeout(120)
async def test_no_reader_misses_or_repeats_a_change_while_many_write(database_url: str) -> None:
    indexes = [SqlIndex(database_url, sync=False) for _ in range(2)]
    readers = BySequence(indexes[0]), ByWindow(indexes[1])
    writers = [await _writer(database_url, number + 1) for number in range(WRITERS)]

    def are_done() -> bool:
        return all(writer.returncode is not None for writer in writers)

    ended = asyncio.gather(*(writer.wait() for writer in writers))
    feed, by_window = await asyncio.gather(*(_follow(reader, are_done) for reader in readers))
    await ended
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    for index in indexes:
        await index.close()

    assert [change.sequence for change in feed] == list(range(1, TOTAL + 1))
    assert [(c.sequence, c.timestamp, c.action, c.path) for c in by_window] == [
        (c.sequence, c.timestamp, c.action, c.path) for c in feed
    ]
    assert all(one.timestamp <= other.timestamp for one, other in pairwise(feed))
    assert len({(change.action, change.path) for change in feed}) == TOTAL >= 20_000
    for number in range(WRITERS):
        _assert_in_the_order_written(feed, number + 1)
