"""Errors of the database as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.errors import StoreUnavailableError

UNAVAILABLE = "The index does not answer now; try again later."
TOO_LONG = "The search takes too long; ask for less of it, or try again later."


class OutcomeUnknownError(StoreUnavailableError):
    """Everything was done, and the commit did not answer: it may have taken effect."""


OUR_MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn a database that is locked, full, broken or away into StoreUnavailableError."""
    try:
        yield
    except OUR_MISTAKES:
        raise
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        raise StoreUnavailableError(UNAVAILABLE) from error
