"""Searches on SQLite, whose threads may all be at work."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection, text

from shared.adapters.sql_index.migrate import migrate
from shared.adapters.sql_index.sqlite_backend import SqliteBackend
from shared.errors import StoreUnavailableError

ENDLESS = text(
    "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted)"
    " SELECT max(n) FROM counted"
)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    url = f"sqlite:///{tmp_path}/index.db"
    migrate(url)
    opened = SqliteBackend(url, sync=False)
    yield opened
    await opened.close()


async def test_a_search_that_has_no_end_is_broken_off_and_the_next_is_not(
    backend: SqliteBackend,
) -> None:
    def endless(connection: Connection) -> object:
        return connection.execute(ENDLESS).scalar()

    with pytest.raises(StoreUnavailableError, match="takes too long"):
        await backend.search(endless, 0.01)
    one = await backend.search(lambda connection: connection.execute(text("SELECT 1")).scalar(), 30)
    assert one == 1


async def test_a_search_whose_time_is_up_before_a_thread_is_free_does_not_begin(
    backend: SqliteBackend,
) -> None:
    may_go_on, has_begun = Event(), Event()

    def slow(_connection: Connection) -> None:
        assert may_go_on.wait(30)

    def late(_connection: Connection) -> None:
        has_begun.set()

    others = [asyncio.create_task(backend.search(slow, None)) for _ in range(50)]
    await asyncio.sleep(0)
    searching = asyncio.create_task(backend.search(late, 0.01))
    await asyncio.sleep(0.02)
    may_go_on.set()

    with pytest.raises(StoreUnavailableError, match="takes too long"):
        await searching
    assert not has_begun.is_set()
    await asyncio.gather(*others)
