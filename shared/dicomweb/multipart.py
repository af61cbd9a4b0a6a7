"""multipart/related bodies, read and written as streams.

Standard: RFC 2046 5.1, RFC 2387; PS3.18 8.6.1.2 (2025b).
"""

import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from shared.dicomweb.media_type import MediaType, parse_media_type
from shared.errors import MalformedMultipartError, PayloadTooLargeError

type Chunk = bytes | memoryview

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]\Z", re.ASCII)
_NEEDS_QUOTES = re.compile(r"[^0-9A-Za-z'+_\-.]", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z", re.ASCII)
_SPLITS_HEADERS = re.compile(r"[\r\n\0]")
_HEADER_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:([^\r\0]*)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipartLimits:
    """What a body may hold; `max_header_bytes` and `max_headers` count for each part."""

    max_parts: int = 10_000
    max_part_bytes: int = 4_294_967_295
    max_total_bytes: int = 4_294_967_295
    max_headers: int = 32
    max_header_bytes: int = 8192
    max_preamble_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Part:
    """One part; the names of `headers` are in lower case.

    Attributes:
        body: Chunks as they arrive; reading it after the next part was asked for is an error.
    """

    headers: Mapping[str, str]
    body: AsyncIterator[Chunk]

    @property
    def content_type(self) -> MediaType | None:
        """The media type of the part, None when it does not say.

        Raises:
            UnsupportedMediaTypeError: It is malformed.
        """
        text = self.headers.get("content-type")
        return None if text is None else parse_media_type(text)


class MultipartReader:
    """Iterates over the parts of a body whose chunks may be cut anywhere.

    Bodies are slices of the chunks; only what may be the beginning of a delimiter at the end of a
    chunk is copied. Whatever of a part was not read is skipped. Iteration raises
    MalformedMultipartError where the framing is broken or over its limits, and
    PayloadTooLargeError where there is too much.
    """

    def __init__(
        self, chunks: AsyncIterable[Chunk], boundary: str, limits: MultipartLimits
    ) -> None:
        """Read `chunks`.

        Raises:
            MalformedMultipartError: The boundary is not one.
        """
        if not _BOUNDARY.match(boundary):
            raise MalformedMultipartError("The multipart boundary is malformed.")
        self._chunks = aiter(chunks)
        self._limits = limits
        self._boundary = b"--" + boundary.encode()
        # A body may open with its first boundary: this stands for the line break before it.
        self._buffer = b"\n"
        self._position = 0
        self._delimiter = b"\n" + self._boundary
        self._total = 0
        self._part_number = 0
        self._is_in_body = True

    def __aiter__(self) -> AsyncIterator[Part]:
        """The parts, in order."""
        return self

    async def __anext__(self) -> Part:
        """The next part; the rest of the present one is skipped."""
        await self._skip_body()
        self._part_number += 1
        await self._has(2)
        if self._buffer.startswith(b"--", self._position):
            await self._skip_epilogue()
            raise StopAsyncIteration
        await self._end_delimiter_line()
        if self._part_number > self._limits.max_parts:
            raise PayloadTooLargeError(f"The request has more than {self._limits.max_parts} parts.")
        headers = await self._headers()
        self._is_in_body = True
        return Part(headers, self._body(self._part_number))

    async def _skip_body(self) -> None:
        """Skip to behind the next delimiter; before the first part, that is the preamble."""
        skipped = 0
        while self._is_in_body:
            skipped += len(await self._body_chunk())
            if self._part_number == 0 and skipped > self._limits.max_preamble_bytes:
                raise MalformedMultipartError("The multipart body does not begin with a boundary.")

    async def _body(self, number: int) -> AsyncIterator[Chunk]:
        size = 0
        while True:
            if number != self._part_number:
                raise RuntimeError("the part was skipped before its body was read")
            if not self._is_in_body:
                return
            chunk = await self._body_chunk()
            size += len(chunk)
            if size > self._limits.max_part_bytes:
                raise PayloadTooLargeError(
                    f"A part of the request is over {self._limits.max_part_bytes} bytes."
                )
            if len(chunk):
                yield chunk

    async def _body_chunk(self) -> Chunk:
        """What of the body is at hand; the chunk before a delimiter may be empty."""
        while True:
            buffer, start = self._buffer, self._position
            end = buffer.find(self._delimiter, start)
            if end >= 0:
                self._position = end + len(self._delimiter)
                self._is_in_body = False
                return memoryview(buffer)[start:end]
            end = self._possible_delimiter()
            if end > start:
                self._position = end
                return buffer if end - start == len(buffer) else memoryview(buffer)[start:end]
            await self._read_more()

    def _possible_delimiter(self) -> int:
        """Where a delimiter may begin that the buffer has only a part of."""
        buffer = self._buffer
        tail = max(self._position, len(buffer) - len(self._delimiter) + 1)
        # A delimiter has its first byte nowhere else, so only the last one can begin it.
        start = buffer.rfind(self._delimiter[:1], tail)
        if start >= 0 and self._delimiter.startswith(buffer[start:]):
            return start
        return len(buffer)

    async def _end_delimiter_line(self) -> None:
        line, line_break = await self._line(self._limits.max_header_bytes)
        if line.strip(b" \t"):
            raise MalformedMultipartError("A multipart boundary is followed by other text.")
        if self._part_number == 1:
            # Whoever ends the first boundary line with LF alone does so everywhere.
            self._delimiter = line_break + self._boundary

    async def _headers(self) -> Mapping[str, str]:
        lines: list[bytes] = []
        size = 0
        while True:
            line, line_break = await self._line(self._limits.max_header_bytes - size)
            if not line:
                break
            size += len(line) + len(line_break)
            if line[:1] in b" \t" and lines:
                lines[-1] += line
            else:
                lines.append(line)
            if len(lines) > self._limits.max_headers:
                raise MalformedMultipartError("A part of the request has too many headers.")
        await self._unread_shared_break(line_break)
        return _parsed(lines)

    async def _unread_shared_break(self, line_break: bytes) -> None:
        """Without a body, the line break of the empty line is that of the delimiter after it."""
        self._position -= len(line_break)
        await self._has(len(self._delimiter))
        if not self._buffer.startswith(self._delimiter, self._position):
            self._position += len(line_break)

    async def _line(self, max_bytes: int) -> tuple[bytes, bytes]:
        """The next line, and the line break that ended it."""
        while True:
            end = self._buffer.find(b"\n", self._position)
            length = (end if end >= 0 else len(self._buffer)) - self._position
            if length > max_bytes:
                raise MalformedMultipartError("The headers of a part of the request are too long.")
            if end >= 0:
                break
            await self._read_more()
        line = self._buffer[self._position : end]
        self._position = end + 1
        return (line[:-1], b"\r\n") if line.endswith(b"\r") else (line, b"\n")

    async def _has(self, count: int) -> None:
        while len(self._buffer) - self._position < count:
            await self._read_more()

    async def _skip_epilogue(self) -> None:
        async for chunk in self._chunks:
            self._count(chunk)

    async def _read_more(self) -> None:
        chunk = await anext(self._chunks, None)
        if chunk is None:
            raise MalformedMultipartError("The multipart body ends before its final boundary.")
        self._count(chunk)
        rest = self._buffer[self._position :]
        self._buffer = b"".join((rest, chunk)) if rest else bytes(chunk)
        self._position = 0

    def _count(self, chunk: Chunk) -> None:
        self._total += len(chunk)
        if self._total > self._limits.max_total_bytes:
            raise PayloadTooLargeError(f"The request is over {self._limits.max_total_bytes} bytes.")


def _parsed(lines: Iterable[bytes]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER_LINE.match(line)
        if not found:
            raise MalformedMultipartError("A part of the request has a malformed header.")
        name = found[1].decode().lower()
        if name in headers:
            raise MalformedMultipartError("A part of the request repeats a header.")
        headers[name] = found[2].decode("latin-1").strip(" \t")
    return headers


class MultipartWriter:
    """Frames parts as one body; the bodies of the parts pass through as they are."""

    def __init__(self, boundary: str | None = None) -> None:
        """Begin a body; without a boundary, one is drawn that no content can foresee."""
        self._boundary = secrets.token_hex(16) if boundary is None else boundary
        if not _BOUNDARY.match(self._boundary):
            raise ValueError("malformed boundary")
        self._line_break = b""

    def content_type(self, part_type: str | None = None) -> str:
        """The Content-Type of the body; `part_type` is the media type of its parts."""
        boundary = self._boundary
        if _NEEDS_QUOTES.search(boundary):
            boundary = f'"{boundary}"'
        of_parts = "" if part_type is None else f'; type="{_checked(part_type)}"'
        return f"multipart/related{of_parts}; boundary={boundary}"

    def part_header(self, headers: Mapping[str, str]) -> bytes:
        """What comes before the content of a part.

        Raises:
            ValueError: A header would split into several.
        """
        lines = [f"--{self._boundary}"]
        for name, value in headers.items():
            if not _HEADER_NAME.match(name):
                raise ValueError("malformed header name")
            lines.append(f"{name}: {_checked(value)}")
        header = self._line_break + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self._line_break = b"\r\n"
        return header

    def end(self) -> bytes:
        """What comes after the last part."""
        return self._line_break + f"--{self._boundary}--\r\n".encode()

    async def write(
        self, parts: AsyncIterable[tuple[Mapping[str, str], AsyncIterable[Chunk]]]
    ) -> AsyncIterator[Chunk]:
        """The whole body."""
        async for headers, body in parts:
            yield self.part_header(headers)
            async for chunk in body:
                yield chunk
        yield self.end()


def _checked(value: str) -> str:
    if _SPLITS_HEADERS.search(value):
        raise ValueError("a header value may not hold line breaks or NUL")
    return value
