"""What is particular to SQLite: connections, transactions, and one writer among processes."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from shared.adapters.sql_index.errors import TOO_LONG, translated_errors
from shared.errors import StoreUnavailableError

if sys.platform != "win32":
    import fcntl

_BUSY_TIMEOUT_MS = 30_000
_STEPS_BETWEEN_LOOKS = 20_000
"""Of SQLite's machine, between looks at the clock: less than a millisecond."""

_READER_PRAGMAS = (
    "query_only = ON",
    "cache_size = -8000",
    "mmap_size = 268435456",
    "temp_store = MEMORY",
)
_WRITER_PRAGMAS = (
    "journal_mode = WAL",
    "foreign_keys = ON",
    "cache_size = -64000",
    "temp_store = MEMORY",
    "wal_autocheckpoint = 4000",
    "journal_size_limit = 67108864",
)


def reader_engine(url: str | URL, *, connections: int) -> Engine:
    """An engine that cannot write, and leaves transactions to its user."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"check_same_thread": False, "cached_statements": 256},
        hide_parameters=True,  # An error that is logged must not tell of patients.
    )
    _prepare(engine, _READER_PRAGMAS)
    return engine


def writer_engine(url: str | URL, *, sync: bool) -> Engine:
    """An engine whose transactions take the write lock when they begin.

    Args:
        url: Of the database.
        sync: Whether what is committed must survive a crash of the machine.
    """
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"check_same_thread": False, "cached_statements": 256},
        hide_parameters=True,  # An error that is logged must not tell of patients.
    )
    synchronous = "synchronous = FULL" if sync else "synchronous = OFF"
    _prepare(engine, (*_WRITER_PRAGMAS, synchronous))

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _prepare(engine: Engine, pragmas: tuple[str, ...]) -> None:
    # The driver's own transactions begin late and lose updates; with isolation_level None it
    # leaves them to us.
    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")


@contextmanager
def time_limit(connection: Connection, deadline: float) -> Iterator[None]:
    """Break off the statements within at a moment of the monotonic clock, or begin none after it.

    Raises:
        StoreUnavailableError: They were not done by then.
    """
    if monotonic() > deadline:
        raise StoreUnavailableError(TOO_LONG)
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
            raise
        raise StoreUnavailableError(TOO_LONG) from error
    finally:
        driver.set_progress_handler(None, 0)


def is_in_transaction(connection: Connection) -> bool:
    """Whether the transaction still stands: a full disk makes SQLite roll all of it back."""
    return bool(connection.connection.in_transaction)


class WriteLock:
    """Lets one process at a time write; the others are woken, where SQLite alone would poll."""

    def __init__(self, url: str | URL) -> None:
        database = make_url(url).database
        if not database or database == ":memory:":
            raise ValueError("The index needs a database in a file.")
        self._path = Path(f"{database}-writer")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it."""
        with self._path.open("ab") as file:  # Closing the file gives the lock back.
            if sys.platform != "win32":  # There SQLite's own busy timeout has to do.
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextmanager
def migrating(url: URL) -> Iterator[Connection]:
    """A connection in a transaction, for one process at a time; what is missing is made."""
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = writer_engine(url, sync=True)
    try:
        with translated_errors(), WriteLock(url).held(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
