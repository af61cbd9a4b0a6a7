"""A proxy in front of a blob service, which passes requests on unless it is told otherwise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.passing_on import PassingOn, listening

type Gate = Callable[[str, str], int | None]
"""Given method and path, says with which status a request is answered, None to pass it on."""


class BlobProxy:
    """Where the proxy listens, as `host:port`, and what it does with requests."""

    def __init__(self, port: int) -> None:
        self.authority = f"127.0.0.1:{port}"
        self.gate: Gate = lambda _method, _path: None


class _Handler(PassingOn):
    proxy: BlobProxy

    def pass_on(self) -> None:
        content = self.content()
        status = self.proxy.gate(self.command, urlsplit(self.path).path)
        if status is not None:
            self.give(status, [], b"")
        else:
            self.give(*self.answered(dict(self.headers.items()), content))


@contextmanager
def running_blob_proxy(service: str) -> Iterator[BlobProxy]:
    """A proxy in front of a service at `host:port`."""

    class Handler(_Handler):
        pass

    Handler.service = service
    with listening(Handler) as port:
        Handler.proxy = BlobProxy(port)
        yield Handler.proxy
