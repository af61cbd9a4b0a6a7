"""HTTP as uvicorn speaks it, with bounds on how much a request is, and on how long it takes."""

from asyncio import TimerHandle, Transport
from enum import Enum

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 131_072
"""Request line and headers together; the parser itself holds whatever is sent."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Awaited(Enum):
    """What the client owes."""

    HEAD = "request line and headers"
    BODY = "body"


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers do not end, or whose body does not go on.

    Connections that are held open for nothing would in the end leave none for others.

    Attributes:
        head_seconds: How long a head may take, the first one from when the connection is made.
        silence_seconds: How long nothing may come of a body; it is given up after twice that.
    """

    head_seconds = 20.0
    silence_seconds = 60.0

    _awaited: _Awaited | None = _Awaited.HEAD
    _timer: TimerHandle | None = None
    _head_bytes = 0
    _has_begun = False
    _was_silent = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as uvicorn
        """Wait for the first head."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._await(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count it if it was all of the head and the head goes on."""
        was_in_head, self._was_silent = self._has_begun, False
        super().data_received(data)
        if self._awaited is None and not self._is_answering():
            # Line breaks between requests: uvicorn no longer watches a connection with any.
            self._await(_Awaited.HEAD)
        self._watch()
        if not (was_in_head and self._has_begun):
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._has_begun, self._head_bytes = True, 0
        if self._awaited is not _Awaited.HEAD:
            self._await(_Awaited.HEAD)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its body begins, if it has one."""
        self._has_begun = False
        self._await(_Awaited.BODY)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It ends."""
        self._await(None)
        super().on_message_complete()

    def _is_answering(self) -> bool:
        # Before the first request there is none, whatever uvicorn's types say.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _await(self, awaited: _Awaited | None) -> None:
        """Begin to wait for something else; the clock runs once all that came has been parsed."""
        self._awaited, self._was_silent = awaited, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        """Let the clock run, if it does not yet and the client owes something."""
        if self._awaited is None or self._timer is not None:
            return
        is_head = self._awaited is _Awaited.HEAD
        seconds = self.head_seconds if is_head else self.silence_seconds
        self._timer = self.loop.call_later(seconds, self._end_head if is_head else self._end_body)

    def _end_head(self) -> None:
        """Give up a head, but not before the requests ahead of it are answered."""
        self._timer = None
        if self._is_answering():
            self._watch()
        elif self._has_begun and not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
            self.transport.close()
        else:
            self.transport.abort()

    def _end_body(self) -> None:
        """Give up a body if nothing came since the last look, though the client could have sent."""
        self._timer = None
        can_send = not (self.flow.read_paused or self.cycle.waiting_for_100_continue)
        if can_send and self._was_silent:
            self.transport.abort()
            return
        self._was_silent = can_send
        self._watch()
