"""The database behind the index: jobs that read, and jobs that write."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url

from shared.adapters.sql_index.reader import Reader
from shared.adapters.sql_index.schema import REVISION
from shared.adapters.sql_index.sqlite import WriteLock, reader_engine, writer_engine
from shared.adapters.sql_index.writer import Job, JobForMany, Writer
from shared.errors import StoreUnavailableError

_READERS = 8
_SEARCHERS = 4
"""Threads of their own for searches: slow ones must not keep others from reading."""

_APPLIED = text("SELECT version_num FROM alembic_version")


class Database:
    """Runs jobs, each a function of a connection, in transactions away from the event loop."""

    def __init__(self, url: str, *, sync: bool = True) -> None:
        """Prepare to use a database whose schema is in place.

        Args:
            url: As SQLAlchemy reads it.
            sync: Whether what is committed must survive a crash of the machine.
        """
        if make_url(url).get_backend_name() != "sqlite":
            raise ValueError("The index knows only SQLite.")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="index-reader")
        self._searchers = ThreadPoolExecutor(_SEARCHERS, thread_name_prefix="index-searcher")
        self._reader = Reader(reader_engine(url, connections=_READERS + _SEARCHERS))
        self._writer = Writer(writer_engine(url, sync=sync), WriteLock(url))
        self._is_schema_checked = False

    async def read[T](self, job: Job[T]) -> T:
        """Run a job that reads one snapshot.

        Raises:
            StoreUnavailableError: The database does not answer, or its schema is another one.
        """
        await self._check_schema()
        return await self._run(job, self._readers)

    async def search[T](self, job: Job[T]) -> T:
        """Run a job that reads as `read` does, and that may take long.

        Raises:
            StoreUnavailableError: The database does not answer, or its schema is another one.
        """
        await self._check_schema()
        return await self._run(job, self._searchers)

    async def write[T](self, job: Job[T]) -> T:
        """Run a job whose changes are committed when this returns.

        Raises:
            StoreUnavailableError: Nothing of it is committed, or that is unknown.
        """
        await self._check_schema()
        return await self._writer.run(job)

    async def write_together[A, T](self, job: JobForMany[A, T], argument: A) -> T:
        """Run a job as `write` does, together with others of its kind that wait."""
        await self._check_schema()
        return await self._writer.run_together(job, argument)

    async def close(self) -> None:
        """Finish what waits, and let go of threads and connections."""
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._searchers.shutdown)
        self._reader.close()

    async def _run[T](self, job: Job[T], threads: ThreadPoolExecutor) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, self._reader.run, job)

    async def _check_schema(self) -> None:
        if not self._is_schema_checked:
            await self._run(check_schema, self._readers)
            self._is_schema_checked = True


def check_schema(connection: Connection) -> None:
    """See that the database has the schema that this code is written for.

    Raises:
        StoreUnavailableError: It has another; the message says what to run.
    """
    applied = None
    if inspect(connection).has_table("alembic_version"):
        applied = connection.execute(_APPLIED).scalar()
    if applied != REVISION:
        raise StoreUnavailableError(
            f"The schema of the index is {applied or 'missing'}, and {REVISION} is needed: "
            "run `python -m shared.adapters.sql_index.migrate URL`."
        )
