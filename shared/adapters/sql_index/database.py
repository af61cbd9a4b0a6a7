"""The database behind the index: jobs that read, and jobs that write."""

from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url

from shared.adapters.sql_index.mssql import Server
from shared.adapters.sql_index.mssql_backend import MssqlBackend
from shared.adapters.sql_index.schema import REVISION
from shared.adapters.sql_index.sqlite_backend import SqliteBackend
from shared.adapters.sql_index.writer import Job, JobForMany
from shared.errors import StoreUnavailableError

CONNECTIONS = 8

_APPLIED = text("SELECT version_num FROM alembic_version")


class Backend(Protocol):
    """Runs jobs, each a function of a connection, in transactions away from the event loop."""

    async def read[T](self, job: Job[T]) -> T:
        """Run a job that reads one snapshot."""

    async def search[T](self, job: Job[T], seconds: float | None) -> T:
        """Run a job that reads, in threads of its kind, and break it off when its time is up."""

    async def write[T](self, job: Job[T]) -> T:
        """Run a job, and commit what it did.

        A job whose waiter is cancelled still runs.

        Raises:
            OutcomeUnknownError: The commit did not answer; it may have taken effect.
            StoreUnavailableError: Nothing of it is committed.
        """

    async def write_together[A, T](self, job: JobForMany[A, T], argument: A) -> T:
        """Run a job as `write` does, but at once for all arguments that wait for it in a row."""

    async def close(self) -> None:
        """Finish what waits, and let go of threads and connections."""


class Database:
    """Runs jobs on a backend once its schema is seen to be the right one."""

    def __init__(
        self,
        url: str,
        *,
        sync: bool = True,
        connections: int = CONNECTIONS,
        token: Callable[[], str] | None = None,
    ) -> None:
        """Prepare to use a database whose schema is in place.

        Args:
            url: As SQLAlchemy reads it, of SQLite or of SQL Server.
            sync: Whether what SQLite commits must survive a crash of the machine.
            connections: Most connections to SQL Server.
            token: Gives an access token for SQL Server, where the URL names no way to sign in.
        """
        parsed = make_url(url)
        self._backend: Backend
        match parsed.get_backend_name():
            case "sqlite":
                self._backend = SqliteBackend(url, sync=sync)
            case "mssql":
                self._backend = MssqlBackend(Server(parsed, token), connections=connections)
            case _:
                raise ValueError("The index knows SQLite and SQL Server.")
        self._is_schema_checked = False

    async def read[T](self, job: Job[T]) -> T:
        """Run a job that reads one snapshot.

        Raises:
            StoreUnavailableError: The database does not answer, or its schema is another one.
        """
        await self._check_schema()
        return await self._backend.read(job)

    async def search[T](self, job: Job[T], *, seconds: float | None = None) -> T:
        """Run a job that reads as `read` does, and that may take long.

        Raises:
            StoreUnavailableError: As with `read`, or the job took more than the seconds given.
        """
        await self._check_schema()
        return await self._backend.search(job, seconds)

    async def write[T](self, job: Job[T]) -> T:
        """Run a job whose changes are committed when this returns.

        It may run more than once, where what it did before is undone; on SQL Server others may
        write at the same time, so it locks what it reads to change it.

        Raises:
            StoreUnavailableError: Nothing of it is committed, or that is unknown.
        """
        await self._check_schema()
        return await self._backend.write(job)

    async def write_together[A, T](self, job: JobForMany[A, T], argument: A) -> T:
        """Run a job as `write` does, together with others of its kind that wait."""
        await self._check_schema()
        return await self._backend.write_together(job, argument)

    async def close(self) -> None:
        """Finish what waits, and let go of threads and connections."""
        await self._backend.close()

    async def _check_schema(self) -> None:
        if not self._is_schema_checked:
            await self._backend.read(check_schema)
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
            "run `python -m shared.adapters.sql_index.migrate`, with the settings of the app"
            " or the URL of the database."
        )
