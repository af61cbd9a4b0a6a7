"""An HTTP client that costs little, since it shares the processors with what it measures.

It counts the bytes of an answer as they lie on the wire: nothing is decompressed or kept.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

import httptools

_IDLE_SECONDS = 0.3
"""Orthanc closes a connection that was idle for half a second."""

type Job = Callable[[], Awaitable[object]]


class RequestFailedError(Exception):
    """The server did not answer as the workload needs; the text says how."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long jobs took: all of them together, and each."""

    seconds: float
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, percent: int) -> float:
        """The latency that this share of the jobs did not exceed."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


async def timed(jobs: Iterable[Job], *, clients: int, most_seconds: float = float("inf")) -> Timing:
    """Run jobs one after the other in each of some clients, until none is left or time is up."""
    waiting = iter(jobs)
    latencies: list[float] = []

    async def client() -> None:
        for job in waiting:
            job_began = time.perf_counter()
            await job()
            job_ended = time.perf_counter()
            latencies.append(job_ended - job_began)
            if job_ended - began > most_seconds:
                break

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return Timing(time.perf_counter() - began, latencies)


class Client:
    """Requests to one server over connections that are kept and used again."""

    def __init__(self, base_url: str) -> None:
        url = urlsplit(base_url)
        self._host, self._port, self._root = url.hostname or "", url.port or 80, url.path
        self._idle: list[_Connection] = []

    async def get(self, path: str, *, accept: str) -> int:
        """Get a resource, and the size of its body; JSON may come compressed, as to browsers."""
        headers = {"Accept": accept}
        if "json" in accept:
            headers["Accept-Encoding"] = "gzip, deflate"
        return await self._request("GET", path, headers, ())

    async def post(
        self, path: str, parts: Iterable[bytes], *, length: int, content_type: str
    ) -> None:
        """Post a body of a known length, given in pieces."""
        headers = {
            "Accept": "application/dicom+json",
            "Content-Type": content_type,
            "Content-Length": str(length),
        }
        await self._request("POST", path, headers, parts)

    def close(self) -> None:
        """Close every connection."""
        for connection in self._idle:
            connection.close()

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: Iterable[bytes]
    ) -> int:
        lines = [f"{method} {self._root}{path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join((*lines, "", "")).encode()
        async with self._connection() as connection:
            status, size = await connection.exchange(head, body)
        if status != HTTPStatus.OK:
            raise RequestFailedError(f"{method} is answered {status}")
        return size

    @asynccontextmanager
    async def _connection(self) -> "AsyncIterator[_Connection]":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh:
                break
            connection.close()
        else:
            _, connection = await asyncio.get_running_loop().create_connection(
                _Connection, self._host, self._port
            )
        yield connection
        connection.used_at = time.monotonic()
        self._idle.append(connection)


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.is_open = False
        self.used_at = time.monotonic()
        self._is_writable = asyncio.Event()
        self._is_writable.set()
        self._answer: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._size = 0
        self._ends_with_connection = False

    @property
    def is_fresh(self) -> bool:
        """Whether it may be used again."""
        return self.is_open and time.monotonic() - self.used_at < _IDLE_SECONDS

    async def exchange(self, head: bytes, body: Iterable[bytes]) -> tuple[int, int]:
        """Send a request, read the answer to its end, and give its status and size."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._size = 0
        self._ends_with_connection = False
        self._transport.write(head)
        for piece in body:
            if self._answer.done():
                break
            self._transport.write(piece)
            await self._is_writable.wait()
        return await self._answer

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._is_writable.set()
        if self._ends_with_connection and exc is None:
            self.on_message_complete()
        if not self._answer.done():
            self._answer.set_exception(RequestFailedError(f"the connection was lost: {exc}"))

    def eof_received(self) -> bool:
        self.is_open = False
        return False

    def pause_writing(self) -> None:
        self._is_writable.clear()

    def resume_writing(self) -> None:
        self._is_writable.set()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Orthanc streams large answers so: neither their length is told nor are they in chunks.
        if name.lower() == b"connection" and value.lower() == b"close":
            self._ends_with_connection = True

    def on_body(self, body: bytes) -> None:
        self._size += len(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == HTTPStatus.CONTINUE:
            return
        self.is_open = self.is_open and self._parser.should_keep_alive()
        if not self._answer.done():
            self._answer.set_result((status, self._size))
