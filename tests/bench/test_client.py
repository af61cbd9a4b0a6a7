"""The load generator must report what a server does, above all when it does it badly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from bench.client import Client, RequestFailedError, timed


@asynccontextmanager
async def _server(answer: bytes, *, closes: bool = False) -> AsyncIterator[Client]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer)
            await writer.drain()
            if closes:
                break
        writer.close()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    client = Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/root")
    try:
        yield client
    finally:
        client.close()
        server.close()
        await server.wait_closed()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "closes"),
    [
        (OK + b"Content-Length: 5\r\n\r\nabcde", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", False),
        (OK + b"Connection: close\r\n\r\nabcde", True),
    ],
)
async def test_the_size_of_an_answer_is_known_however_its_end_is_told(
    answer: bytes, *, closes: bool
) -> None:
    async with _server(answer, closes=closes) as client:
        for _ in range(3):
            assert await client.get("/a", accept="*/*") == 5


async def test_a_refusal_is_a_failure() -> None:
    async with _server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as client:
        with pytest.raises(RequestFailedError, match="404"):
            await client.get("/a", accept="*/*")


async def test_an_answer_that_is_cut_short_is_a_failure() -> None:
    async with _server(OK + b"Content-Length: 9\r\n\r\nabcde", closes=True) as client:
        with pytest.raises(RequestFailedError, match="lost"):
            await client.get("/a", accept="*/*")


async def test_every_job_is_done_once_however_many_clients_there_are() -> None:
    done: list[int] = []

    async def job(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    timing = await timed((partial(job, number) for number in range(20)), clients=3)
    assert sorted(done) == list(range(20))
    assert len(timing.latencies) == 20
