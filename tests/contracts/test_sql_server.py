"""The index's way to SQL Server with the real driver: sign-in, time, failures, transactions."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Barrier, Event
from time import monotonic

import pytest
from sqlalchemy import Connection, make_url, text

from shared.adapters.sql_index.errors import OutcomeUnknownError
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.mssql import Server, connection_string_url, server_url
from shared.adapters.sql_index.mssql_backend import MssqlBackend
from shared.adapters.sql_index.mssql_errors import MissingDriverError
from shared.errors import StoreUnavailableError
from tests.contracts.tds_server import CutError, SilenceError, TdsServer, agree, error, tds_server

ROOT = Path(__file__).parents[2]
USER, PASSWORD = "archivist", "s3cret-word"
VICTIM_OF_DEADLOCK, FAILOVER, LOGIN_FAILED = 1205, 40613, 18456


pytestmark = pytest.mark.usefixtures("odbc_driver")


@pytest.fixture
def server() -> Iterator[TdsServer]:
    with tds_server() as found:
        yield found


def url_of(port: int, sign_in: str = f"{USER}:{PASSWORD}@", trust: str = "yes") -> str:
    return f"mssql+pyodbc://{sign_in}127.0.0.1:{port}/index?TrustServerCertificate={trust}"


@asynccontextmanager
async def backend_of(
    url: str,
    connections: int = 3,
    token: Callable[[], str] | None = None,
    patience_seconds: float = 45,
) -> AsyncIterator[MssqlBackend]:
    backend = MssqlBackend(
        Server(make_url(url), token), connections=connections, patience_seconds=patience_seconds
    )
    try:
        yield backend
    finally:
        await backend.close()


def ask(connection: Connection) -> str:
    return str(connection.exec_driver_sql("SELECT schema_name()").scalar_one())


def change(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE tag_set SET version = 2")


# --- a server that is not there -----------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def closing() -> Iterator[int]:
    def close_each(listener: socket.socket) -> None:
        try:
            while True:
                listener.accept()[0].close()
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=close_each, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_a_server_that_does_not_answer_is_given_up_in_time_without_a_trace(
    server: TdsServer, silent: int, closed: int, closing: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def seconds_until_unavailable(url: str) -> float:
        start = monotonic()
        index = SqlIndex(url)
        with pytest.raises(StoreUnavailableError) as refused:
            await index.check()
        elapsed = monotonic() - start
        assert refused.value.message == "The index does not answer now; try again later."
        await index.close()
        return elapsed

    unproven = url_of(server.port, trust="no")
    urls = [*map(url_of, (silent, closed, closing)), unproven]
    with caplog.at_level(logging.DEBUG):
        *waited, behind = await asyncio.gather(
            *map(seconds_until_unavailable, urls), _seconds_of_many(url_of(silent))
        )
    assert all(5 < seconds < 20 for seconds in waited), waited
    assert behind < 25
    assert server.logins == []
    assert "SQLSTATE" in caplog.text
    for secret in (USER, PASSWORD, "127.0.0.1"):
        assert secret not in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("index-")]


async def _seconds_of_many(url: str) -> float:
    """How long jobs take to fail that wait for each other behind a server that is away."""
    start = monotonic()
    async with backend_of(url) as backend:
        jobs = [*(backend.read(ask) for _ in range(9)), *(backend.write(change) for _ in range(9))]
        for outcome in await asyncio.gather(*jobs, return_exceptions=True):
            assert isinstance(outcome, StoreUnavailableError)
    return monotonic() - start


# --- signing in ---------------------------------------------------------------------------------


async def test_a_token_signs_in_where_nothing_else_does(server: TdsServer) -> None:
    async with backend_of(url_of(server.port, ""), token=lambda: "t.o.k.e.n") as backend:
        assert await backend.read(ask) == "dbo"
    assert "t.o.k.e.n".encode("utf-16-le") in server.logins[0]


async def test_a_password_signs_in_without_a_token(server: TdsServer) -> None:
    async with backend_of(url_of(server.port), token=lambda: "t.o.k.e.n") as backend:
        assert await backend.read(ask) == "dbo"
    assert "t.o.k.e.n".encode("utf-16-le") not in server.logins[0]
    assert USER.encode("utf-16-le") in server.logins[0]


async def test_each_connection_is_opened_with_the_token_of_its_time(server: TdsServer) -> None:
    tokens = iter(["first", "second"])
    async with backend_of(url_of(server.port, ""), token=lambda: next(tokens)) as backend:
        await backend.read(ask)
        await backend.read(ask)  # Over the same connection.
        await backend.write(change)
    assert ["first".encode("utf-16-le") in login for login in server.logins] == [True, False]
    assert "second".encode("utf-16-le") in server.logins[1]


async def test_a_login_that_is_refused_is_not_tried_again(
    server: TdsServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.log_in = lambda: error(LOGIN_FAILED, severity=14)
    async with backend_of(url_of(server.port)) as backend:
        with pytest.raises(StoreUnavailableError):
            await backend.read(ask)
    assert len(server.logins) == 1
    assert str(LOGIN_FAILED) in caplog.text


async def test_an_odbc_connection_string_is_taken_as_it_is(server: TdsServer) -> None:
    connection_string = (
        f"Server=tcp:127.0.0.1,{server.port}; Database={{index}};UID={USER};PWD={{a;b}}}}c}};"
        "TrustServerCertificate=yes"
    )
    async with backend_of(connection_string_url(connection_string)) as backend:
        assert await backend.read(ask) == "dbo"
    assert USER.encode("utf-16-le") in server.logins[0]


def test_a_connection_that_is_not_encrypted_is_refused() -> None:
    for word in ("no", "Optional", "{no}"):
        with pytest.raises(ValueError, match="encrypted"):
            Server(make_url(connection_string_url(f"Server=a;Database=b;Encrypt={word}")))


def test_the_port_of_a_server_follows_a_comma() -> None:
    assert server_url("tcp:a.example,1444", "b") == "mssql+pyodbc://a.example:1444/b"
    assert server_url("a.example", "b") == "mssql+pyodbc://a.example:1433/b"


# --- failures -----------------------------------------------------------------------------------


async def test_a_server_that_is_moved_is_signed_in_to_again(server: TdsServer) -> None:
    server.log_in = lambda: error(FAILOVER) if len(server.logins) < 3 else None
    async with backend_of(url_of(server.port)) as backend:
        assert await backend.read(ask) == "dbo"
    assert len(server.logins) == 3


async def test_the_victim_of_a_deadlock_is_run_again(server: TdsServer) -> None:
    def choose_twice(sql: str) -> bytes:
        if "UPDATE" in sql and sum("UPDATE" in batch for batch in server.batches) < 3:
            return error(VICTIM_OF_DEADLOCK, rolls_back=True)
        return agree(sql)

    server.answer = choose_twice
    async with backend_of(url_of(server.port)) as backend:
        await backend.write(change)
    attempt = ["BEGIN", "UPDATE tag_set SET version = 2"]
    assert server.batches[-7:] == [*attempt, *attempt, *attempt, "COMMIT"]


async def test_a_connection_that_breaks_before_the_commit_is_made_anew(server: TdsServer) -> None:
    def break_once(sql: str) -> bytes:
        if "UPDATE" in sql and len(server.logins) == 1:
            raise CutError
        return agree(sql)

    server.answer = break_once
    async with backend_of(url_of(server.port)) as backend:
        await backend.write(change)
    assert len(server.logins) == 2


async def test_a_commit_whose_reply_is_lost_is_not_repeated(server: TdsServer) -> None:
    def lose_reply(sql: str) -> bytes:
        if sql == "COMMIT" and any("UPDATE" in batch for batch in server.batches):
            raise CutError
        return agree(sql)

    server.answer = lose_reply
    async with backend_of(url_of(server.port)) as backend:
        with pytest.raises(OutcomeUnknownError):
            await backend.write(change)
    assert sum("UPDATE" in sql for sql in server.batches) == 1


async def test_a_search_is_broken_off_when_its_time_is_up(server: TdsServer) -> None:
    def work_on(sql: str) -> bytes:
        if "slow" in sql:
            raise SilenceError
        return agree(sql)

    server.answer = work_on
    start = monotonic()
    async with backend_of(url_of(server.port)) as backend:
        with pytest.raises(StoreUnavailableError, match="takes too long"):
            await backend.search(lambda c: c.execute(text("SELECT slow")), 1)
        assert "ATTENTION" in server.batches
        assert await backend.search(ask, 1) == "dbo"
    assert monotonic() - start < 20


async def test_who_waits_for_a_server_that_fell_silent_does_not_wait_as_long_as_the_driver(
    server: TdsServer,
) -> None:
    def fall_silent(sql: str) -> bytes:
        if "slow" in sql or "UPDATE" in sql or sql == "ATTENTION":
            raise SilenceError
        return agree(sql)

    server.answer = fall_silent
    start = monotonic()
    async with backend_of(url_of(server.port), patience_seconds=4) as backend:
        outcomes = await asyncio.gather(
            backend.search(lambda c: c.execute(text("SELECT slow")), 1),
            backend.write(change),
            return_exceptions=True,
        )
        waited = monotonic() - start
        server.answer = agree
        server.cut()  # The driver's threads would wait on.
    assert list(map(type, outcomes)) == [StoreUnavailableError, OutcomeUnknownError]
    assert waited < 20


# --- transactions -------------------------------------------------------------------------------


async def test_readers_have_snapshots_and_writers_locks(server: TdsServer) -> None:
    async with backend_of(url_of(server.port)) as backend:
        await backend.read(ask)
        reading = list(server.batches)
        await backend.write(change)
        writing = server.batches[len(reading) :]
    assert "SET TRANSACTION ISOLATION LEVEL SNAPSHOT" in reading
    assert "COMMIT" not in reading[reading.index("SELECT schema_name()", 4) :]
    assert "SET TRANSACTION ISOLATION LEVEL READ COMMITTED" in writing
    assert writing[-2:] == ["UPDATE tag_set SET version = 2", "COMMIT"]
    for batches in (reading, writing):
        assert "SET XACT_ABORT ON; SET LOCK_TIMEOUT 5000" in batches


async def test_jobs_that_write_run_beside_each_other(server: TdsServer) -> None:
    together = Barrier(3, timeout=10)
    async with backend_of(url_of(server.port), connections=8) as backend:
        await asyncio.gather(*(backend.write(lambda _: together.wait()) for _ in range(3)))


async def test_stores_that_wait_share_a_transaction_and_one_that_fails_harms_no_other(
    server: TdsServer,
) -> None:
    calls: list[Sequence[int]] = []
    may_go_on = Event()

    def double(connection: Connection, numbers: Sequence[int]) -> list[int]:
        change(connection)
        calls.append(numbers)
        return [2 * number for number in numbers if number or int("none")]

    async with backend_of(url_of(server.port)) as backend:
        held = asyncio.create_task(backend.write(lambda _: may_go_on.wait(10)))
        await asyncio.sleep(0.2)
        good = [asyncio.create_task(backend.write_together(double, n)) for n in (1, 2)]
        await asyncio.sleep(0)
        may_go_on.set()
        assert await asyncio.gather(held, *good) == [True, 2, 4]
        may_go_on.clear()
        held = asyncio.create_task(backend.write(lambda _: may_go_on.wait(10)))
        await asyncio.sleep(0.2)
        mixed = [asyncio.create_task(backend.write_together(double, n)) for n in (1, 0, 3)]
        await asyncio.sleep(0)
        may_go_on.set()
        one, two, three = await asyncio.gather(*mixed, return_exceptions=True)
        await held
    assert (one, three) == (2, 6)
    assert isinstance(two, ValueError)
    assert calls == [[1, 2], [1, 0, 3], [1], [0], [3]]


# --- without the driver -------------------------------------------------------------------------

SENTENCE = "which is not installed: Microsoft's package msodbcsql18, with unixODBC, has it."


async def test_a_driver_that_is_not_registered_is_named(closed: int) -> None:
    index = SqlIndex(f"{url_of(closed)}&driver=ODBC+Driver+99+for+SQL+Server")
    with pytest.raises(MissingDriverError) as refused:
        await index.check()
    await index.close()
    assert refused.value.message == f"The index needs ODBC Driver 99 for SQL Server, {SENTENCE}"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["-c", "import shared.wiring; shared.wiring.prepare()"], 1),
        (["-m", "shared.adapters.sql_index.migrate"], 1),
    ],
    ids=["prepare", "migrate"],
)
def test_without_odbc_what_starts_says_what_is_missing(
    tmp_path: Path, command: list[str], status: int
) -> None:
    settings = {
        "SQL_CONNECTION_STRING": "Server=127.0.0.1;Database=a;UID=b;PWD=c;Driver={No such one}",
        "DATA_DIRECTORY": str(tmp_path),
        "ODBCSYSINI": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status
    assert done.stderr.splitlines()[-1] == f"The index needs No such one, {SENTENCE}"
