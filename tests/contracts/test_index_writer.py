"""What the index's one writing thread promises, on SQLite."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from shared.adapters.sql_index.database import Database
from shared.adapters.sql_index.migrate import migrate
from shared.adapters.sql_index.schema import tag_set
from shared.adapters.sql_index.sqlite import WriteLock
from shared.errors import StoreUnavailableError

type Job = Callable[[Connection], int]


def _add(number: int) -> Job:
    def job(connection: Connection) -> int:
        connection.execute(insert(tag_set).values(tag_set_key=number, version=0))
        return number

    return job


async def _numbers(database: Database) -> set[int]:
    found = select(tag_set.c.tag_set_key).where(tag_set.c.tag_set_key > 1)
    return set(await database.read(lambda connection: connection.execute(found).scalars().all()))


class _Gate:
    """A job that holds the writer until it is opened, so that others wait together."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, _connection: Connection) -> None:
        self._entered.set()
        assert self._open.wait(30)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 30)

    def open(self) -> None:
        self._open.set()


async def _together(database: Database, *jobs: Job) -> list[int | BaseException]:
    """Run jobs in one transaction, which is none of the gate's."""
    gate = _Gate()
    await database.write(_add(1000))
    held = asyncio.create_task(database.write(gate))
    await gate.entered()
    tasks = [asyncio.create_task(database.write(job)) for job in jobs]
    await asyncio.sleep(0)
    gate.open()
    await held
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_job_that_fails_harms_no_other(database: Database) -> None:
    def fail(connection: Connection) -> int:
        _add(3)(connection)
        raise ValueError

    one, two, three = await _together(database, _add(2), fail, _add(4))
    assert (one, three) == (2, 4)
    assert isinstance(two, ValueError)
    assert await _numbers(database) == {2, 4, 1000}


async def test_when_the_transaction_is_lost_no_job_of_it_is_acknowledged(
    database: Database,
) -> None:
    def lose(connection: Connection) -> int:
        connection.exec_driver_sql("ROLLBACK")  # As SQLite itself does when it runs out of disk.
        raise ValueError

    outcomes = await _together(database, _add(2), lose, _add(4))
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 3
    assert await _numbers(database) == {1000}
    assert await database.write(_add(5)) == 5


async def test_when_the_disk_is_full_no_job_of_the_transaction_is_acknowledged(
    database: Database,
) -> None:
    def fill(connection: Connection) -> int:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.exec_driver_sql("CREATE TABLE big AS SELECT zeroblob(1000000) AS content")
        return 0

    outcomes = await _together(database, _add(2), fill, _add(4))
    for number, outcome in zip((2, 3, 4), outcomes, strict=True):
        done = not isinstance(outcome, BaseException)
        assert done or isinstance(outcome, StoreUnavailableError)
        assert done == (number in await _numbers(database))
    assert isinstance(outcomes[1], StoreUnavailableError)
    assert await database.write(_add(5)) == 5


async def test_a_job_for_many_is_called_once_for_those_that_wait(database: Database) -> None:
    calls: list[Sequence[int]] = []

    def double(_connection: Connection, numbers: Sequence[int]) -> list[int]:
        calls.append(numbers)
        return [2 * number for number in numbers]

    gate = _Gate()
    await database.write(_add(2))
    held = asyncio.create_task(database.write(gate))
    await gate.entered()
    tasks = [asyncio.create_task(database.write_together(double, number)) for number in range(5)]
    await asyncio.sleep(0)
    gate.open()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8]
    await held
    assert calls == [[0, 1, 2, 3, 4]]


async def test_one_bad_argument_spoils_a_job_for_many_for_no_other(database: Database) -> None:
    def add(connection: Connection, numbers: Sequence[int]) -> list[int]:
        return [_add(number)(connection) for number in numbers if number or int("none")]

    gate = _Gate()
    await database.write(_add(1000))
    held = asyncio.create_task(database.write(gate))
    await gate.entered()
    tasks = [asyncio.create_task(database.write_together(add, number)) for number in (2, 0, 3)]
    await asyncio.sleep(0)
    gate.open()
    one, two, three = await asyncio.gather(*tasks, return_exceptions=True)
    await held
    assert (one, three) == (2, 3)
    assert isinstance(two, ValueError)
    assert await _numbers(database) == {2, 3, 1000}


async def test_a_lock_that_cannot_be_taken_makes_the_index_unavailable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/index.db"
    migrate(url)
    database = Database(url)
    lock = tmp_path / "index.db-writer"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(StoreUnavailableError):
        await database.write(_add(2))
    lock.rmdir()
    assert await database.write(_add(2)) == 2
    await database.close()


async def test_another_program_that_writes_is_waited_for(
    database: Database, database_url: str
) -> None:
    with WriteLock(database_url).held():
        task = asyncio.create_task(database.write(_add(2)))
        assert await _numbers(database) == set()
        assert not task.done()
    assert await task == 2


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailableError):
        await database.read(_add(2))


async def test_what_waits_is_written_before_the_database_closes(database_url: str) -> None:
    first = Database(database_url)
    await first.write(_add(2))
    tasks = [asyncio.create_task(first.write(_add(number))) for number in (3, 4)]
    await asyncio.sleep(0)
    await first.close()
    await asyncio.gather(*tasks)
    second = Database(database_url)
    assert await _numbers(second) == {2, 3, 4}
    await second.close()


def test_an_index_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="file"):
        Database("sqlite://")
