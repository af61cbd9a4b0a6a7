"""The port of telemetry: what operators watch, and what may be told of it.

No fact holds a value of an attribute, a UID, a query or the name of a file.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import Enum
from typing import Protocol

type Fact = str | int | float | bool


class MeasureKind(Enum):
    """How a measure is summed up: counts add up, of levels the newest holds."""

    COUNT = "count"
    DURATION = "duration"
    LEVEL = "level"


class Measure(Enum):
    """What is measured: its name, how it is summed up, and its unit in UCUM."""

    REQUESTS = ("dicom.requests", MeasureKind.COUNT, "{request}")
    REQUEST_DURATION = ("dicom.request.duration", MeasureKind.DURATION, "s")
    STORED_INSTANCES = ("dicom.stored.instances", MeasureKind.COUNT, "{instance}")
    STORED_BYTES = ("dicom.stored.bytes", MeasureKind.COUNT, "By")
    INGEST_LAG = ("dicom.ingest.lag", MeasureKind.DURATION, "s")
    CHANGE_FEED_SEQUENCE = ("dicom.change_feed.sequence", MeasureKind.LEVEL, "{change}")
    CHANGE_FEED_BACKLOG = ("dicom.change_feed.backlog", MeasureKind.LEVEL, "{change}")
    BLOBS_WAITING = ("dicom.deleted_blobs.waiting", MeasureKind.LEVEL, "{row}")
    BLOBS_REMOVED = ("dicom.deleted_blobs.removed", MeasureKind.COUNT, "{blob}")
    ORPHANS_REMOVED = ("dicom.orphans.removed", MeasureKind.COUNT, "{blob}")
    FHIR_LAG = ("dicom.fhir.lag", MeasureKind.LEVEL, "{change}")
    FHIR_WRITTEN = ("dicom.fhir.studies.written", MeasureKind.COUNT, "{study}")
    FHIR_REFUSED = ("dicom.fhir.studies.refused", MeasureKind.COUNT, "{study}")


class Trace(Protocol):
    """A request or run that is being traced."""

    @property
    def id(self) -> str:
        """Of the whole trace, 32 hexadecimal digits."""

    def current(self) -> AbstractContextManager[None]:
        """Make the calls of stores a part of it, for as long as this lasts."""

    def end(self, facts: Mapping[str, Fact], error: str | None = None) -> None:
        """Say what it was and that it is over; `error` is a code."""


class Telemetry(Protocol):
    """Takes traces and measures; it never waits for who receives them, nor fails without."""

    def trace(self, name: str, caller: str | None = None) -> Trace | None:
        """Begin to trace; `caller` is a traceparent (W3C Trace Context). None: nobody looks."""

    def measure(
        self, measure: Measure, amount: float, facts: Mapping[str, Fact] | None = None
    ) -> None:
        """Count, or say how long it took or how much there is."""

    def close(self) -> None:
        """Send what is not sent yet, within bounds."""
