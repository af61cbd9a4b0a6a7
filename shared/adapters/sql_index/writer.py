"""The one thread of a process that writes to SQLite.

Jobs that wait at the same time share a transaction, so that many stores cost one synchronised
commit; each runs in a savepoint, so that one that fails harms no other.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from sqlalchemy import Connection, Engine, RootTransaction

from shared.adapters.sql_index.errors import OutcomeUnknownError, translated_errors
from shared.adapters.sql_index.sqlite import WriteLock, is_in_transaction
from shared.errors import StoreUnavailableError

type Job[T] = Callable[[Connection], T]

type JobForMany[A, T] = Callable[[Connection, Sequence[A]], Sequence[T]]
"""Does for each of many arguments what it would do if called with each in turn, but cheaper."""

_JOBS_AT_ONCE = 32


class Waiting:
    """A job with its argument, and the task that waits for what it returns or raises."""

    def __init__(self, job: JobForMany[Any, Any], argument: object) -> None:
        self.job = job
        self.argument = argument
        self.result: Any = None
        self.error: Exception | None = None
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def settle(self) -> None:
        """Wake the task; called in its own event loop."""
        if self.future.done():  # Cancelled; the job ran all the same.
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


def settle(jobs: Sequence[Waiting]) -> None:
    """Wake the tasks together, so that what they write next can share a transaction again."""
    for loop in {waiting.loop for waiting in jobs}:
        woken = [waiting for waiting in jobs if waiting.loop is loop]
        with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(_settle_here, woken)


def _settle_here(jobs: Sequence[Waiting]) -> None:
    for waiting in jobs:
        waiting.settle()


class Writer:
    """Runs jobs one after the other in transactions of the writer engine."""

    def __init__(self, engine: Engine, lock: WriteLock) -> None:
        self._engine = engine
        self._lock = lock
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="index-writer", daemon=True)
        self._thread.start()

    async def run[T](self, job: Job[T]) -> T:
        """Run a job and give what it returns once that is committed.

        A job whose waiter is cancelled still runs.

        Raises:
            OutcomeUnknownError: The commit did not answer; it may have taken effect.
            StoreUnavailableError: Nothing of it is committed.
        """
        return await self.run_together(lambda connection, _: [job(connection)], None)

    async def run_together[A, T](self, job: JobForMany[A, T], argument: A) -> T:
        """Run a job as `run` does, but at once for all arguments that wait for it in a row."""
        waiting = Waiting(job, argument)
        self._queue.put(waiting)
        result: T = await waiting.future
        return result

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _work(self) -> None:
        is_open = True
        while is_open:
            items = self._next()
            jobs = [item for item in items if item is not None]
            is_open = len(jobs) == len(items)
            self._write(jobs)
            settle(jobs)

    def _next(self) -> list[Waiting | None]:
        items = [self._queue.get()]
        with suppress(Empty):
            while items[-1] is not None and len(items) < _JOBS_AT_ONCE:
                items.append(self._queue.get_nowait())
        return items

    def _write(self, jobs: list[Waiting]) -> None:
        if not jobs:
            return
        try:
            with translated_errors(), self._lock.held(), self._engine.connect() as connection:
                transaction = connection.begin()
                for _, group in groupby(jobs, key=lambda waiting: waiting.job):
                    _attempt(connection, list(group))
                _commit(transaction)
        except Exception as error:  # noqa: BLE001 - it is raised where the jobs are waited for
            for waiting in jobs:
                waiting.error = error
            self._engine.dispose()  # Whatever is wrong with the connection, the next is a new one.


def _commit(transaction: RootTransaction) -> None:
    try:
        with translated_errors():
            transaction.commit()
    except StoreUnavailableError as error:
        raise OutcomeUnknownError(error.message) from error


def _attempt(connection: Connection, group: Sequence[Waiting]) -> None:
    """Run a job for all that wait for it, or one by one when one spoils it for the others."""
    try:
        with translated_errors(), connection.begin_nested():
            results = group[0].job(connection, [waiting.argument for waiting in group])
    except Exception as error:
        if not is_in_transaction(connection):
            raise  # What the jobs before did is rolled back too.
        if len(group) == 1:
            group[0].error = error
            return
        for waiting in group:
            _attempt(connection, [waiting])
    else:
        for waiting, result in zip(group, results, strict=True):
            waiting.result = result
