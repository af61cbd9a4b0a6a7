"""A proxy in front of a FHIR server, which does to requests what networks and servers do."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


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


class _Handler(BaseHTTPRequestHandler):
    proxy: FhirProxy
    server_name: str

    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Passed(self.command, self.path, dict(self.headers.items()), content)
        self.proxy.seen.append(request)
        fault = self.proxy.gate(request)
        if fault is not None:
            time.sleep(fault.seconds)
        answer = self.answered(request) if fault is None or fault.is_late else None
        if fault is not None and fault.status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault is not None:
            self.give(fault.status, list(fault.headers.items()), fault.content)
        elif answer is not None:
            self.give(*answer)

    def answered(self, request: Passed) -> tuple[int, list[tuple[str, str]], bytes]:
        server = http.client.HTTPConnection(self.server_name)
        try:
            headers = {n: v for n, v in request.headers.items() if n.lower() not in _HOP_BY_HOP}
            server.request(request.method, request.path, request.content, headers)
            answer = server.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            server.close()

    def give(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.pass_on()

    def do_POST(self) -> None:
        self.pass_on()

    def do_PUT(self) -> None:
        self.pass_on()

    def do_DELETE(self) -> None:
        self.pass_on()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_fhir_proxy(url: str) -> Iterator[FhirProxy]:
    """A proxy in front of the FHIR server at a base address."""
    parts = urlsplit(url)

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Handler.proxy = FhirProxy(f"http://127.0.0.1:{server.server_port}{parts.path}")
        Handler.server_name = parts.netloc
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Handler.proxy
        finally:
            server.shutdown()
            thread.join()
