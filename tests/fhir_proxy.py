"""A proxy in front of a FHIR server, which does to requests what networks and servers do."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.passing_on import PassingOn, listening, without


@dataclass(frozen=True)
class Passed:
    """A request that came to the proxy."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def bundle_type(self) -> str:
        """The type of the Bundle that it brings, if it brings one."""
        body: dict[str, Any] = json.loads(self.content) if self.content.startswith(b"{") else {}
        return str(body["type"]) if body.get("resourceType") == "Bundle" else ""


@dataclass(frozen=True)
class Fault:
    """What is done to a request instead of passing it on.

    Attributes:
        status: It is answered so; 0 for no answer, only an end of the connection.
        is_late: The server gets it all the same, before that.
        seconds: How long it is held up.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    is_late: bool = False
    seconds: float = 0


type Gate = Callable[[Passed], Fault | None]


@dataclass
class FhirProxy:
    """Where the proxy listens, what it has seen, and what it does with requests."""

    url: str
    gate: Gate = lambda _: None
    seen: list[Passed] = field(default_factory=list)


class _Handler(PassingOn):
    proxy: FhirProxy

    def pass_on(self) -> None:
        request = Passed(self.command, self.path, dict(self.headers.items()), self.content())
        self.proxy.seen.append(request)
        fault = self.proxy.gate(request)
        if fault is not None:
            time.sleep(fault.seconds)
        answer = None
        if fault is None or fault.is_late:
            answer = self.answered(without(request.headers, "host"), request.content)
        if fault is not None and fault.status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault is not None:
            self.give(fault.status, list(fault.headers.items()), fault.content)
        elif answer is not None:
            self.give(*answer)


@contextmanager
def running_fhir_proxy(url: str) -> Iterator[FhirProxy]:
    """A proxy in front of the FHIR server at a base address."""
    parts = urlsplit(url)

    class Handler(_Handler):
        pass

    Handler.service = parts.netloc
    with listening(Handler) as port:
        Handler.proxy = FhirProxy(f"http://127.0.0.1:{port}{parts.path}")
        yield Handler.proxy
