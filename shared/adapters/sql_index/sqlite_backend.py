"""Jobs on SQLite: threads that read, each over a connection of its own, and one that writes."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from sqlalchemy import Connection

from shared.adapters.sql_index.reader import Reader
from shared.adapters.sql_index.sqlite import WriteLock, reader_engine, time_limit, writer_engine
from shared.adapters.sql_index.writer import Job, JobForMany, Writer

_READERS = 8
_SEARCHERS = 4
"""Threads of their own for searches: slow ones must not keep others from reading."""


class SqliteBackend:
    """Runs jobs on a database in a file."""

    def __init__(self, url: str, *, sync: bool) -> None:
        """Prepare to use it.

        Args:
            url: As SQLAlchemy reads it.
            sync: Whether what is committed must survive a crash of the machine.
        """
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="index-reader")
        self._searchers = ThreadPoolExecutor(_SEARCHERS, thread_name_prefix="index-searcher")
        self._reader = Reader(reader_engine(url, connections=_READERS + _SEARCHERS))
        self._writer = Writer(writer_engine(url, sync=sync), WriteLock(url))

    async def read[T](self, job: Job[T]) -> T:
        """See Backend."""
        return await self._run(job, self._readers)

    async def search[T](self, job: Job[T], seconds: float | None) -> T:
        """See Backend."""
        if seconds is None:
            return await self._run(job, self._searchers)
        deadline = monotonic() + seconds  # To wait for a thread takes time too.

        def limited(connection: Connection) -> T:
            with time_limit(connection, deadline):
                return job(connection)

        return await self._run(limited, self._searchers)

    async def write[T](self, job: Job[T]) -> T:
        """See Backend."""
        return await self._writer.run(job)

    async def write_together[A, T](self, job: JobForMany[A, T], argument: A) -> T:
        """See Backend."""
        return await self._writer.run_together(job, argument)

    async def close(self) -> None:
        """See Backend."""
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._searchers.shutdown)
        self._reader.close()

    async def _run[T](self, job: Job[T], threads: ThreadPoolExecutor) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, self._reader.run, job)
