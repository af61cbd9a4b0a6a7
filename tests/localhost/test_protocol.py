"""How long a client may take for its requests; the limits are short here, and no answer has one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from localhost.protocol import BoundedProtocol

type App = Callable[[Any, Any, Any], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
LONGER_SECONDS = 0.3


class Impatient(BoundedProtocol):
    head_seconds = 0.05
    silence_seconds = 0.05


class ImpatientWithHeads(BoundedProtocol):
    head_seconds = 0.05


class ImpatientWithBodies(BoundedProtocol):
    silence_seconds = 0.05


async def _answer(send: Any, text: str) -> None:
    headers = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def _length(receive: Any) -> int:
    """How long the body is; of one that is cut off, -1."""
    length, goes_on = 0, True
    while goes_on:
        message = await receive()
        if message["type"] == "http.disconnect":
            return -1
        length += len(message["body"])
        goes_on = message["more_body"]
    return length


async def measures(_: Any, receive: Any, send: Any) -> None:
    await _answer(send, str(await _length(receive)))


async def hesitates(_: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(LONGER_SECONDS)
    await _answer(send, str(await _length(receive)))


@asynccontextmanager
async def connected(
    app: App, protocol: type[BoundedProtocol]
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server of its own."""
    config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.001)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            server.should_exit = True
            await serving


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc", b"\r\n"])
async def test_a_head_that_does_not_end_is_given_up(sent: bytes) -> None:
    async with connected(measures, ImpatientWithHeads) as (reader, writer):
        writer.write(sent)
        said = await reader.read()
    assert said.startswith(b"HTTP/1.1 408 ") == (len(sent) > 2)


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: loc", b"\r\n"])
async def test_so_is_that_of_a_later_request(sent: bytes) -> None:
    async with connected(measures, ImpatientWithHeads) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(sent)
        said = await reader.read()
    assert said.startswith(b"HTTP/1.1 408 ") == (len(sent) > 2)


@pytest.mark.parametrize(
    "begun",
    [
        b"Content-Length: 9\r\n\r\n",
        b"Content-Length: 9\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc",
    ],
)
async def test_a_body_of_which_no_more_comes_is_cut_off(begun: bytes) -> None:
    lengths: list[int] = []

    async def notes(_: Any, receive: Any, __: Any) -> None:
        lengths.append(await _length(receive))

    async with connected(notes, ImpatientWithBodies) as (reader, writer):
        writer.write(POST + begun)
        assert await reader.read() == b""
    assert lengths == [-1]


async def test_an_answer_may_take_its_time() -> None:
    async with connected(hesitates, Impatient) as (reader, writer):
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_it_may_while_the_head_of_the_next_request_has_begun() -> None:
    async with connected(hesitates, Impatient) as (reader, writer):
        writer.write(GET + b"GET / HT")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_is_not_read_yet_is_waited_for() -> None:
    body = b"x" * 20_000_000
    async with connected(hesitates, Impatient) as (reader, writer):
        writer.write(POST + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(8) == b"20000000"


async def test_a_body_that_is_not_asked_for_yet_is_waited_for() -> None:
    async with connected(hesitates, Impatient) as (reader, writer):
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(1) == b"3"
