"""One port for several processes: each binds it, and the system shares out the connections."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from localhost.errors import StartError


def shared_port(host: str, port: int) -> socket.socket:
    """A socket bound to a port that other processes of ours bind too."""
    return _bound(host, port, socket.SO_REUSEADDR, socket.SO_REUSEPORT)


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Keep a port ours while workers come and go; the socket that does it never listens.

    Raises:
        StartError: Somebody else has the port.
    """
    try:
        if port:
            # Fails where another host of ours holds the port, which sharing would let pass.
            _bound(host, port, socket.SO_REUSEADDR).close()
        # Not SO_REUSEADDR, or else the probe of another host would not fail.
        held = _bound(host, port, socket.SO_REUSEPORT)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    with held:
        yield held.getsockname()[1]


def _bound(host: str, port: int, *options: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
