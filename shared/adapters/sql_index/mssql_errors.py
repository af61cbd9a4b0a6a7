"""Errors of SQL Server and of its ODBC driver: which of them pass, and what they mean for us."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.adapters.sql_index.errors import OUR_MISTAKES, UNAVAILABLE
from shared.errors import StoreUnavailableError

# Microsoft, "Troubleshoot transient connection errors in SQL Database", and the list that
# Microsoft.Data.SqlClient retries (SqlConfigurableRetryFactory), with what SNAPSHOT may meet.
_PASSING = frozenset(
    {
        *(64, 233, 10053, 10054, 10060),  # The connection broke, or was not made.
        *(615, 926, 4060, 4221, 40197, 40501, 40613),  # A failover, a move, or too much to do.
        *(10928, 10929, 10936, 49918, 49919, 49920),  # A limit of the service is reached.
        *(1204, 1205, 1222),  # No lock: none to be had, the victim of a deadlock, too late.
        *(3960, 3961),  # The snapshot is overtaken, by a row or by a change of the schema.
    }
)
_PASSING_STATES = frozenset({"40001", "HYT00", "HYT01"})
_CONNECTION_STATES = "08"
"""Class of the SQLSTATEs of connections (ISO/IEC 9075-2)."""

_NO_DRIVER = frozenset({"01000", "IM002", "IM003"})  # These three are the driver manager's.
_TIMED_OUT = frozenset({"HYT00", "HYT01", "HY008"})

_NATIVE = re.compile(r"\((-?\d+)\) \(SQL\w+\)")
"""How pyodbc ends what it tells of each error: the server's own number, the function called."""

_log = logging.getLogger(__name__)


class PassingError(StoreUnavailableError):
    """Nothing was committed, and the same again may succeed soon."""


class MissingDriverError(StoreUnavailableError):
    """The ODBC driver, or what loads it, is not installed."""

    def __init__(self, driver: str) -> None:
        super().__init__(
            f"The index needs {driver}, which is not installed: Microsoft's package msodbcsql18,"
            " with unixODBC, has it."
        )


@contextmanager
def translated_errors(driver: str) -> Iterator[None]:
    """Turn a database that is away, busy or in the way into one of the errors above.

    What the log gets of it are numbers: a message may name hosts and users.
    """
    try:
        yield
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        state, numbers = sqlstate(error), _numbers(error)
        passes = is_passing(state, numbers)
        if isinstance(error, OUR_MISTAKES) and not passes:
            raise
        _log.warning("SQL Server failed: SQLSTATE %s, errors %s", state or "none", sorted(numbers))
        if state in _NO_DRIVER:
            raise MissingDriverError(driver) from error
        kind = PassingError if passes else StoreUnavailableError
        raise kind(UNAVAILABLE) from error


def is_passing(state: str, numbers: frozenset[int]) -> bool:
    """Whether what failed with a SQLSTATE and errors of the server is worth another try."""
    is_state = state in _PASSING_STATES or state.startswith(_CONNECTION_STATES)
    return is_state or not _PASSING.isdisjoint(numbers)


def is_time_out(error: DBAPIError) -> bool:
    """Whether a statement was broken off because its time was up."""
    return sqlstate(error) in _TIMED_OUT


def sqlstate(error: BaseException) -> str:
    """The five characters that ODBC names an error by, or an empty text."""
    arguments = error.orig.args if isinstance(error, DBAPIError) and error.orig else ()
    return str(arguments[0]) if arguments else ""


def _numbers(error: BaseException) -> frozenset[int]:
    arguments = error.orig.args if isinstance(error, DBAPIError) and error.orig else ()
    found = chain.from_iterable(_NATIVE.findall(str(text)) for text in arguments[1:])
    return frozenset(map(int, found))
