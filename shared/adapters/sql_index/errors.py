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


class OutcomeUnknownError(StoreUnavailableError):
    """Everything was done, and the commit did not answer: it may have taken effect."""


_OUR_MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn a database that is locked, full, broken or away into StoreUnavailableError."""
    try:
        yield
    except _OUR_MISTAKES:
        raise
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        raise StoreUnavailableError("The index does not answer now; try again later.") from error
