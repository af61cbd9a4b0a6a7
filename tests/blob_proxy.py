"""A proxy in front of a blob service, which passes requests on unless it is told otherwise."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

type Gate = Callable[[str, str], int | None]
"""Given method and path, says with which status a request is answered, None to pass it on."""

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class BlobProxy:
    """Where the proxy listens, as `host:port`, and what it does with requests."""

    def __init__(self, port: int) -> None:
        self.authority = f"127.0.0.1:{port}"
        self.gate: Gate = lambda _method, _path: None


class _Handler(BaseHTTPRequestHandler):
    proxy: BlobProxy
    service: str

    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status = self.proxy.gate(self.command, urlsplit(self.path).path)
        if status is not None:
            self.give(status, [], b"")
            return
        service = http.client.HTTPConnection(self.service)
        try:
            service.request(self.command, self.path, body, dict(self.headers.items()))
            answer = service.getresponse()
            self.give(answer.status, answer.getheaders(), answer.read())
        finally:
            service.close()

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

    def do_HEAD(self) -> None:
        self.pass_on()

    def do_PUT(self) -> None:
        self.pass_on()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_blob_proxy(service: str) -> Iterator[BlobProxy]:
    """A proxy in front of a service at `host:port`."""

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Handler.proxy, Handler.service = BlobProxy(server.server_port), service
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Handler.proxy
        finally:
            server.shutdown()
            thread.join()
