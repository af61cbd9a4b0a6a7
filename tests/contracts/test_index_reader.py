"""Jobs that read: each sees one snapshot, whatever connection it runs on."""

import asyncio
from threading import Event

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import ProgrammingError

from shared.adapters.sql_index.database import Database
from shared.adapters.sql_index.partitions import create_partition
from shared.adapters.sql_index.schema import partition
from shared.errors import StoreUnavailableError

_COUNT = select(func.count()).select_from(partition)


def _count(connection: Connection) -> int:
    number: int = connection.execute(_COUNT).scalar_one()
    return number


async def _add(database: Database, name: str) -> None:
    await database.write(lambda connection: create_partition(connection, name))


async def test_a_job_sees_one_snapshot_while_others_write(database: Database) -> None:
    has_begun, may_go_on = Event(), Event()

    def job(connection: Connection) -> tuple[int, int]:
        before = _count(connection)
        has_begun.set()
        may_go_on.wait(10)
        return before, _count(connection)

    reading = asyncio.create_task(database.read(job))
    await asyncio.to_thread(has_begun.wait, 10)
    await _add(database, "A")
    may_go_on.set()
    assert await reading == (1, 1)


async def test_a_job_sees_what_was_committed_before_it_on_any_connection(
    database: Database,
) -> None:
    await asyncio.gather(*(database.read(_count) for _ in range(20)))
    await _add(database, "A")
    assert await asyncio.gather(*(database.read(_count) for _ in range(20))) == [2] * 20


async def test_a_job_that_fails_leaves_no_transaction_behind(database: Database) -> None:
    def job(connection: Connection) -> None:
        _count(connection)
        raise KeyError

    for _ in range(20):
        with pytest.raises(KeyError):
            await database.read(job)
    await _add(database, "A")
    assert await database.read(_count) == 2


async def test_a_statement_that_the_database_refuses_harms_no_later_job(
    database: Database,
) -> None:
    with pytest.raises((StoreUnavailableError, ProgrammingError)):
        await database.read(lambda connection: connection.execute(text("SELECT * FROM nothing")))
    assert await database.read(_count) == 1


async def test_searches_that_take_long_keep_no_one_from_reading(database: Database) -> None:
    may_go_on = Event()

    def slow(connection: Connection) -> int:
        may_go_on.wait(30)
        return _count(connection)

    searches = [asyncio.create_task(database.search(slow)) for _ in range(50)]
    async with asyncio.timeout(20):
        assert await database.read(_count) == 1
    may_go_on.set()
    assert await asyncio.gather(*searches) == [1] * 50
