"""Reading from SQLite over connections that are kept.

To check a connection out and in, and to begin and end a transaction, costs SQLAlchemy more than
most reads cost; so here the connections stay out, and the transactions are SQLite's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from shared.adapters.sql_index.errors import translated_errors
from shared.adapters.sql_index.writer import Job


class Reader:
    """Runs jobs in transactions that each read one snapshot; any number of threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: list[Connection] = []

    def run[T](self, job: Job[T]) -> T:
        """Run a job in this thread.

        Raises:
            StoreUnavailableError: The database does not answer.
        """
        with translated_errors(), self._connection() as connection:
            return job(connection)

    def close(self) -> None:
        """Let go of the connections; no job runs any more."""
        for connection in self._idle:
            connection.close()
        self._engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            statements = connection.connection.cursor()
            statements.execute("BEGIN")
            yield connection
            statements.execute("ROLLBACK")
        except BaseException:
            connection.close()  # What is wrong with it need not be known: the next is a new one.
            raise
        self._idle.append(connection)
