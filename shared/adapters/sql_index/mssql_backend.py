"""Jobs on SQL Server: several connections read and write at once, and try again what passes.

A job that writes locks what it reads before it changes it, so others write beside it. Stores that
wait at the same time share a transaction, and with it the round trips and the log's one write. One
that fails dooms it, for SQL Server knows no way back to a savepoint then (XACT_ABORT): it is rolled
back, and each of them has a transaction of its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import uniform
from threading import Lock
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Engine

from shared.adapters.sql_index.errors import UNAVAILABLE, OutcomeUnknownError
from shared.adapters.sql_index.mssql import Server, time_limit
from shared.adapters.sql_index.mssql_errors import PassingError, translated_errors
from shared.adapters.sql_index.writer import Job, JobForMany, Waiting, settle
from shared.errors import StoreUnavailableError

_TRY_SECONDS = 10
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 2.0
_JOBS_AT_ONCE = 32
_PATIENCE_SECONDS = 45
"""A driver whose server falls silent waits for minutes, whatever its time limits are."""


class MssqlBackend:
    """Runs jobs on a database of SQL Server or Azure SQL."""

    def __init__(
        self, server: Server, *, connections: int, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        """Prepare to use it.

        Args:
            server: The database.
            connections: How many may be open at once; at least one each reads, searches, writes.
            patience_seconds: How long a job is waited for.
        """
        self._patience_seconds = patience_seconds
        writers, searchers = max(1, connections * 3 // 8), max(1, connections // 4)
        readers = max(1, connections - writers - searchers)
        self._reading = _Transactions(server, "SNAPSHOT", readers + searchers)
        self._writing = _Transactions(server, "READ COMMITTED", writers)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="index-reader")
        self._searchers = ThreadPoolExecutor(searchers, thread_name_prefix="index-searcher")
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="index-writer")
        self._waiting: deque[_Impatient] = deque()
        self._taking = Lock()

    async def read[T](self, job: Job[T]) -> T:
        """See Backend."""
        return await self._read(job, self._readers)

    async def search[T](self, job: Job[T], seconds: float | None) -> T:
        """See Backend."""
        if seconds is None:
            return await self._read(job, self._searchers)

        def limited(connection: Connection) -> T:
            with time_limit(connection, seconds):
                return job(connection)

        return await self._read(limited, self._searchers)

    async def write[T](self, job: Job[T]) -> T:
        """See Backend."""
        return await self.write_together(lambda connection, _: [job(connection)], None)

    async def write_together[A, T](self, job: JobForMany[A, T], argument: A) -> T:
        """See Backend."""
        waiting = _Impatient(job, argument)
        self._waiting.append(waiting)
        self._writers.submit(self._write_next)
        try:
            async with asyncio.timeout(self._patience_seconds):
                result: T = await waiting.future
        except TimeoutError as error:
            raise OutcomeUnknownError(UNAVAILABLE) from error
        return result

    async def close(self) -> None:
        """See Backend."""
        for threads in (self._writers, self._searchers, self._readers):
            await asyncio.to_thread(threads.shutdown)
        self._writing.close()
        self._reading.close()

    async def _read[T](self, job: Job[T], threads: ThreadPoolExecutor) -> T:
        deadline = monotonic() + _TRY_SECONDS
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await loop.run_in_executor(threads, self._reading.run, job, deadline)
        except TimeoutError as error:
            raise StoreUnavailableError(UNAVAILABLE) from error

    def _write_next(self) -> None:
        group = self._next()
        if group:
            self._write(group)
            settle(group)

    def _next(self) -> list["_Impatient"]:
        """What waits longest, with all of its kind that come right behind it."""
        group: list[_Impatient] = []
        with self._taking:
            while self._waiting and len(group) < _JOBS_AT_ONCE:
                if group and group[0].job is not self._waiting[0].job:
                    break
                group.append(self._waiting.popleft())
        return group

    def _write(self, group: Sequence["_Impatient"]) -> None:
        job, deadline = group[0].job, max(waiting.deadline for waiting in group)
        arguments = [waiting.argument for waiting in group]
        try:
            results = self._writing.run(lambda c: job(c, arguments), deadline, commit)
        except Exception as error:  # noqa: BLE001 - it is raised where the jobs are waited for
            if len(group) > 1 and not isinstance(error, StoreUnavailableError):
                for waiting in group:
                    self._write([waiting])
                return
            for waiting in group:
                waiting.error = error
        else:
            for waiting, result in zip(group, results, strict=True):
                waiting.result = result


class _Impatient(Waiting):
    """A job that waits, until the end of its patience."""

    def __init__(self, job: JobForMany[Any, Any], argument: object) -> None:
        super().__init__(job, argument)
        self.deadline = monotonic() + _TRY_SECONDS


def commit(connection: Connection) -> None:
    """Commit what was done.

    Raises:
        OutcomeUnknownError: The server said no, or nothing: to do it again could do it twice.
    """
    try:
        connection.commit()
    except Exception as error:
        raise OutcomeUnknownError(UNAVAILABLE) from error


def roll_back(connection: Connection) -> None:
    """End a transaction that only read."""
    connection.rollback()


class _Transactions:
    """Runs jobs in transactions of one isolation level; any number of threads may share it."""

    def __init__(self, server: Server, isolation_level: str, connections: int) -> None:
        self._server = server
        self._isolation_level = isolation_level
        self._connections = connections
        self._made: Engine | None = None
        self._making = Lock()

    def run[T](
        self, job: Job[T], deadline: float, end: Callable[[Connection], None] = roll_back
    ) -> T:
        """Run a job in this thread, again while it fails in passing and there is time.

        Raises:
            OutcomeUnknownError: The commit did not answer; it may have taken effect.
            StoreUnavailableError: Nothing of it is committed.
        """
        for attempt in count():
            if monotonic() > deadline:
                break
            try:
                return self._attempt(job, end)
            except PassingError:
                longest = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2**attempt)
                delay = uniform(longest / 2, longest)  # noqa: S311 - so that not all come at once
                if monotonic() + delay > deadline:
                    raise
                sleep(delay)
        raise StoreUnavailableError(UNAVAILABLE)

    def close(self) -> None:
        """Let go of the connections; no job runs any more."""
        if self._made is not None:
            self._made.dispose()

    def _attempt[T](self, job: Job[T], end: Callable[[Connection], None]) -> T:
        with translated_errors(self._server.driver), self._engine().connect() as connection:
            result = job(connection)
            end(connection)
        return result

    def _engine(self) -> Engine:
        """Made on first use, so that a driver that is missing is told to who asks for the index."""
        with self._making:
            if self._made is None:
                self._made = self._server.engine(self._isolation_level, self._connections)
            return self._made
