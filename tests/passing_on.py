"""What proxies of tests have in common: requests are taken, passed on, and answered."""

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

type Answer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers and content."""

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class PassingOn(BaseHTTPRequestHandler):
    """A request on its way to a service at `host:port`; what is done to it, a proxy says."""

    service: str

    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        """Answer the request."""
        raise NotImplementedError

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def answered(self, headers: Mapping[str, str], content: bytes) -> Answer:
        """What the service answers."""
        service = http.client.HTTPConnection(self.service)
        try:
            service.request(self.command, self.path, content, dict(headers))
            answer = service.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            service.close()

    def give(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_THE_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.pass_on()

    def do_HEAD(self) -> None:
        self.pass_on()

    def do_POST(self) -> None:
        self.pass_on()

    def do_PUT(self) -> None:
        self.pass_on()

    def do_DELETE(self) -> None:
        self.pass_on()

    def log_message(self, *_: object) -> None:
        pass


def without(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    """The headers that are not of the connection, nor of some names."""
    left_out = _OF_THE_CONNECTION | set(names)
    return {name: value for name, value in headers.items() if name.lower() not in left_out}


@contextmanager
def listening(handler: type[PassingOn]) -> Iterator[int]:
    """Take requests by a handler, on the port that is given."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
