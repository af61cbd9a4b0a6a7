"""What is told of each request: an audit record, a trace and measures."""

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from shared.access import ANYBODY, DataAction, Principal
from shared.audit import write_record
from shared.telemetry import Fact, Measure, Telemetry, Trace

REQUEST_ID = "x-request-id"

_MOST_STUDIES = 100
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_IDENTIFIER = re.compile(r"[0-9.]{1,64}\Z|[0-9a-f-]{32,36}\Z", re.ASCII)
"""UIDs, and the ids that we give: what else clients write into paths may be anything."""


@dataclass(slots=True, kw_only=True)
class Observation:
    """What is known of a request or run so far.

    Attributes:
        name: The registered function.
        request_id: 32 hexadecimal digits, those of the caller's trace where it sends one.
        identifiers: The path's UIDs and ids by the names of the route's segments.
        studies: Those that were stored.
        error: The code of the error that it ends with.
        received: Bytes of the body read so far.
        sent: Bytes of the answer's body so far.
    """

    name: str
    action: DataAction
    method: str
    telemetry: Telemetry
    trace: Trace | None
    request_id: str
    started: float
    version: int | None = None
    partition: str | None = None
    caller: Principal = ANYBODY
    identifiers: Mapping[str, str] = field(default_factory=dict)
    studies: tuple[str, ...] = ()
    error: str | None = None
    received: int = 0
    sent: int = 0
    _before: "Token[Observation]" = field(init=False)
    _traced: AbstractContextManager[None] | None = field(init=False, default=None)

    def __enter__(self) -> Self:
        """Let what happens from now on be told of this."""
        self._before = _CURRENT.set(self)
        if self.trace is not None:
            self._traced = self.trace.current()
            self._traced.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Go back to what was observed before, and note what kind of exception ends it."""
        if kind is not None:
            self.error = kind.__name__
        if self._traced is not None:
            self._traced.__exit__(None, None, None)
        _CURRENT.reset(self._before)

    def finish(self, status: int) -> None:
        """Tell it, once."""
        seconds = time.perf_counter() - self.started
        if self.action is not DataAction.ANONYMOUS:
            write_record(self._record(status, seconds))
        if self.trace is None:
            return
        key: dict[str, Fact] = {"dicom.transaction": self.name, "http.response.status_code": status}
        self.telemetry.measure(Measure.REQUESTS, 1, key)
        self.telemetry.measure(Measure.REQUEST_DURATION, seconds, key)
        facts: dict[str, Fact] = {
            **key,
            "http.request.method": self.method,
            "http.request.body.size": self.received,
            "http.response.body.size": self.sent,
        }
        if self.version is not None:
            facts["dicom.version"] = self.version
        self.trace.end(facts, self.error or (str(status) if status >= _SERVER_ERROR else None))

    def _record(self, status: int, seconds: float) -> dict[str, object]:
        record: dict[str, object] = {
            "time": datetime.now(UTC),
            "requestId": self.request_id,
            "caller": self.caller.object_id or "anonymous",
            "action": self.action.value,
            "transaction": self.name,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "received": self.received,
            "sent": self.sent,
            **self.identifiers,
        }
        if self.caller.client_id:
            record["client"] = self.caller.client_id
        if self.partition is not None:
            record["partition"] = self.partition
        if self.studies:
            record["studies"] = self.studies
        if self.error is not None:
            record["error"] = self.error
        return record


_SERVER_ERROR = 500
_CURRENT: ContextVar[Observation] = ContextVar("observation")


def observe_request(  # noqa: PLR0913 - all of it is known at the same place
    telemetry: Telemetry,
    name: str,
    action: DataAction,
    *,
    method: str,
    path: Mapping[str, str],
    traceparent: str | None,
) -> Observation:
    """Begin to observe a request."""
    trace = telemetry.trace(name, traceparent)
    return Observation(
        name=name,
        action=action,
        method=method,
        telemetry=telemetry,
        trace=trace,
        request_id=_request_id(traceparent) if trace is None else trace.id,
        started=time.perf_counter(),
        identifiers={k: path[k] for k in _PATH & path.keys() if _IDENTIFIER.match(path[k])},
    )


_PATH = frozenset({"study", "series", "instance", "workitem", "operation"})


def current() -> Observation:
    """The request that is being answered here."""
    return _CURRENT.get()


def tell_studies(uids: Iterable[str]) -> None:
    """Name more of the studies that a request is about, 100 in all at most."""
    observed = current()
    observed.studies = tuple(dict.fromkeys((*observed.studies, *uids)))[:_MOST_STUDIES]


def _request_id(traceparent: str | None) -> str:
    found = _TRACEPARENT.match(traceparent) if traceparent else None
    return secrets.token_hex(16) if found is None else found[1]
