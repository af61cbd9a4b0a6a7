"""pydicom without its warnings, which quote attribute values."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

# The filters of warnings belong to the whole process: one reading at a time may change them.
_FILTERS = RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Let no warning out while pydicom reads or writes."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
