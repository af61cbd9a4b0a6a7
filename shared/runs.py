"""What is told of each run by the clock, by a file or by an operation: an audit record, a trace."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from shared.audit import write_record
from shared.logs import told
from shared.telemetry import Telemetry

_log = logging.getLogger(__name__)


class RunFailedError(Exception):
    """A run by the clock or by a file failed; why is in the log, without the values it is about."""


class Run:
    """What a run did, for its audit record; without anything there is none."""

    def __init__(self) -> None:
        self.done: dict[str, object] = {}

    def did(self, **facts: str | int | None) -> None:
        """Note counts and identifiers; 0 and None are nothing."""
        self.done.update({name: fact for name, fact in facts.items() if fact})


@contextmanager
def observed_run(telemetry: Telemetry, name: str) -> Iterator[Run]:
    """Observe what is done by the clock or for a file, and tell it if anything was done.

    Raises:
        RunFailedError: In place of any exception, for the host to log and to try again.
    """
    run, started = Run(), time.perf_counter()
    trace = telemetry.trace(name)
    error: str | None = None
    try:
        if trace is None:
            yield run
        else:
            with trace.current():
                yield run
    except Exception as failure:  # noqa: BLE001 - whatever it is, the host would log its message
        error = type(failure).__name__
        _log.error("%s failed: %s", name, told(failure))
        raise RunFailedError(error) from None
    finally:
        if error is not None or run.done:
            write_record(_run_record(name, run, error, time.perf_counter() - started))
        if trace is not None:
            trace.end({"dicom.transaction": name}, error)


def _run_record(name: str, run: Run, error: str | None, seconds: float) -> dict[str, object]:
    record: dict[str, object] = {
        "time": datetime.now(UTC),
        "transaction": name,
        **run.done,
        "milliseconds": round(seconds * 1000, 1),
    }
    return record if error is None else {**record, "error": error}
