"""What is particular to SQL Server and Azure SQL: connection strings, engines, locks, time."""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import ceil
from time import monotonic
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    QueuePool,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc
from sqlalchemy.exc import DBAPIError

from shared.adapters.sql_index.errors import TOO_LONG, UNAVAILABLE
from shared.adapters.sql_index.mssql_errors import (
    MissingDriverError,
    PassingError,
    is_time_out,
    sqlstate,
    translated_errors,
)
from shared.errors import StoreUnavailableError

DRIVER = "ODBC Driver 18 for SQL Server"

_SQL_COPT_SS_ACCESS_TOKEN = 1256
"""Attribute of a connection (msodbcsql.h), to be set before it is opened."""

_LOGIN_SECONDS = 5
_QUERY_SECONDS = 30
_LOCK_MS = 5000
_RECYCLE_SECONDS = 1500
"""Azure cuts connections that were idle for half an hour."""

_LOCK = text(
    "SET NOCOUNT ON; DECLARE @outcome int; EXEC @outcome = sp_getapplock @Resource = :name,"
    " @LockMode = 'Exclusive', @LockOwner = :owner, @LockTimeout = :milliseconds;"
    " SELECT @outcome; SET NOCOUNT OFF"
)

_ALLOW_SNAPSHOTS = text(
    "IF (SELECT snapshot_isolation_state FROM sys.databases WHERE database_id = DB_ID()) = 0"
    " ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON"
)
_MIGRATION_MS = 600_000

_PAIR = re.compile(r"\s*([^=;{}]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)\s*(?:;|$)")
_SIGNS_IN = frozenset({"uid", "pwd", "user", "password", "authentication"})


class Server:
    """A database of SQL Server or Azure SQL, and how to sign in there."""

    def __init__(self, url: URL, token: Callable[[], str] | None = None) -> None:
        """Read a URL.

        Args:
            url: As SQLAlchemy reads it, also with a connection string as `odbc_connect`.
            token: Gives an access token; asked where the URL names no other way to sign in.

        Raises:
            ValueError: The connection would not be encrypted, or nothing says who signs in.
        """
        pairs = _pairs(url)
        if _value(pairs, "encrypt", "yes").lower() in {"no", "optional", "false"}:
            raise ValueError("The connection to the index must be encrypted: Encrypt=yes.")
        self._token = None if _SIGNS_IN & pairs.keys() else token
        if self._token is not None:
            pairs.pop("trusted_connection", None)  # SQLAlchemy says so where nothing is said.
        self.driver = _value(pairs, "driver", DRIVER)
        defaults = {"driver": f"{{{DRIVER}}}", "encrypt": "yes", "app": "dicom-functions"}
        # A connection that breaks is ours to make anew: the driver would keep the old token.
        chosen = {**defaults, **pairs, "connectretrycount": "0"}
        self._connection_string = ";".join(f"{key}={value}" for key, value in chosen.items())

    def engine(self, isolation_level: str, connections: int) -> Engine:
        """An engine for so many connections, whose transactions are of an isolation level.

        Rows are not sent as arrays (`fast_executemany`): SQLAlchemy makes one statement of many
        rows all the same, and arrays of nvarchar(max) take memory by their longest value.

        Raises:
            MissingDriverError: There is no ODBC.
        """
        try:
            engine = create_engine(
                "mssql+pyodbc://",
                creator=self._connect,
                isolation_level=isolation_level,
                poolclass=QueuePool,
                pool_size=connections,
                max_overflow=0,
                pool_timeout=_LOGIN_SECONDS,
                pool_recycle=_RECYCLE_SECONDS,
                pool_use_lifo=True,  # What few requests do not need may grow old.
                pool_reset_on_return=None,  # Each transaction is ended by whoever began it.
                hide_parameters=True,  # An error that is logged must not tell of patients.
            )
        except ImportError as error:
            raise MissingDriverError(self.driver) from error
        event.listen(engine, "handle_error", _keep_other_connections)
        return engine

    def _connect(self) -> Any:  # noqa: ANN401 - a connection of pyodbc, which has no types
        import pyodbc  # noqa: PLC0415 - it loads ODBC, which whoever uses SQLite may not have

        pyodbc.pooling = False  # The driver manager's pool would keep sessions with their tokens.
        before = {} if self._token is None else {_SQL_COPT_SS_ACCESS_TOKEN: packed(self._token())}
        connection = pyodbc.connect(
            self._connection_string, timeout=_LOGIN_SECONDS, attrs_before=before
        )
        connection.timeout = _QUERY_SECONDS
        connection.execute(f"SET XACT_ABORT ON; SET LOCK_TIMEOUT {_LOCK_MS}")
        connection.commit()
        return connection


def server_url(server: str, database: str) -> str:
    """The URL of a database by its host name, or `host,port`, without a way to sign in."""
    host, _, port = server.removeprefix("tcp:").partition(",")
    url = URL.create("mssql+pyodbc", host=host, port=int(port or 1433), database=database)
    return url.render_as_string(hide_password=False)


def connection_string_url(connection_string: str) -> str:
    """The URL of a database by an ODBC connection string."""
    url = URL.create("mssql+pyodbc", query={"odbc_connect": connection_string})
    return url.render_as_string(hide_password=False)


def packed(token: str) -> bytes:
    """An access token as the driver wants it: its bytes in UTF-16-LE after their number."""
    content = token.encode("utf-16-le")
    return struct.pack(f"<I{len(content)}s", len(content), content)


def _pairs(url: URL) -> dict[str, str]:
    """The keywords of a connection string in lower case; of one that is repeated, the first."""
    if "driver" not in url.query and "odbc_connect" not in url.query:
        url = url.update_query_dict({"driver": DRIVER})
    [connection_string], _ = MSDialect_pyodbc().create_connect_args(url)  # type: ignore[no-untyped-call]
    found = [(key.lower(), value) for key, value in _PAIR.findall(connection_string)]
    return dict(reversed(found))


def _value(pairs: dict[str, str], key: str, default: str) -> str:
    value = pairs.get(key, default)
    return value[1:-1].replace("}}", "}") if value.startswith("{") else value


def _keep_other_connections(context: ExceptionContext) -> None:
    """A statement that is broken off tells nothing of the other connections of the pool."""
    if sqlstate(context.sqlalchemy_exception or context.original_exception) == "HYT00":
        context.invalidate_pool_on_disconnect = False


def take_lock(connection: Connection, name: str, *, owner: str, milliseconds: int) -> None:
    """Have a name for oneself (sp_getapplock), which no table needs to have a row for.

    Args:
        connection: Whose transaction, or session, gets the lock.
        name: At most 255 characters.
        owner: `Transaction` gives the lock back with its end, `Session` when the connection ends.
        milliseconds: After which the wait for another owner is given up.

    Raises:
        PassingError: It was, or would have been a deadlock.
    """
    parameters = {"name": name, "owner": owner, "milliseconds": milliseconds}
    if connection.execute(_LOCK, parameters).scalar_one() < 0:
        raise PassingError(UNAVAILABLE)


@contextmanager
def migrating(server: Server) -> Iterator[Connection]:
    """A connection in a transaction, for one process at a time.

    Snapshots are allowed where they are not yet, as they are on Azure SQL from the beginning.
    """
    engine = server.engine("READ COMMITTED", 1)
    try:
        with translated_errors(server.driver), engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.timeout = 0  # An index on many rows takes its time.
            connection.execution_options(isolation_level="AUTOCOMMIT")
            take_lock(connection, "migrate", owner="Session", milliseconds=_MIGRATION_MS)
            connection.execute(_ALLOW_SNAPSHOTS)
            connection.execute(text(f"SET LOCK_TIMEOUT {_MIGRATION_MS}"))
            connection.commit()
            connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                yield connection
    finally:
        engine.dispose()  # The session ends, and its lock with it.


@contextmanager
def time_limit(connection: Connection, seconds: float) -> Iterator[None]:
    """Break off the statements within that take longer, in all.

    Raises:
        StoreUnavailableError: They did.
    """
    deadline = monotonic() + seconds
    driver: Any = connection.connection.driver_connection

    def leave_what_is_left(*_: object) -> None:
        driver.timeout = max(1, ceil(deadline - monotonic()))  # Whole seconds; 0 is no limit.

    leave_what_is_left()
    event.listen(connection, "before_execute", leave_what_is_left)
    try:
        yield
    except DBAPIError as error:
        if not is_time_out(error):
            raise
        raise StoreUnavailableError(TOO_LONG) from error
    finally:
        with suppress(Exception):  # A connection that is closed by now has no time to limit.
            driver.timeout = _QUERY_SECONDS
