"""The server's end of TDS, as far as a driver needs it to sign in and to meet with failures.

It keeps no data: what it is for is to fail at will, in each of the ways in which a server or the
network between can, towards the driver that talks to SQL Server itself. ([MS-TDS], 2.2)
"""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

import trustme

_CALL, _REPLY, _ATTENTION, _TRANSACTION = 0x03, 0x04, 0x06, 0x0E
_LOGIN, _PRELOGIN = 0x10, 0x12
_ERROR, _ACK, _FEATURES, _CHANGE, _DONE = 0xAA, 0xAD, 0xAE, 0xE3, 0xFD
_LAST, _FAILED, _LET_OFF = 0x01, 0x0002, 0x0020

_FLAGS, _HAS_FEATURES, _POINTER_TO_FEATURES, _TOKEN = 27, 0x10, 56, 0x02
_ENCRYPTION, _FEDERATED, _END = 0x01, 0x06, 0xFF

_COLLATION = bytes((0x09, 0x04, 0xD0, 0x00, 0x34))  # SQL_Latin1_General_CP1_CI_AS
_OF_TRANSACTION = b"\x08" + struct.pack("<Q", 1)


def _change(content: bytes) -> bytes:
    """Of what a session is in."""
    return struct.pack("<BH", _CHANGE, len(content)) + content


class SilenceError(Exception):
    """Nothing is answered, and the connection stays."""


class CutError(Exception):
    """The connection is closed instead of an answer."""


def error(number: int, severity: int = 16, *, rolls_back: bool = False) -> bytes:
    """An answer that says no with one of the server's own numbers, and may end a transaction."""
    text = "refused"
    body = struct.pack("<IBBH", number, 1, severity, len(text)) + text.encode("utf-16-le")
    body += b"\x00\x00" + struct.pack("<I", 1)
    end = _change(b"\x0a\x00" + _OF_TRANSACTION) if rolls_back else b""
    return struct.pack("<BH", _ERROR, len(body)) + body + end + done(_FAILED)


def done(status: int = 0) -> bytes:
    """The end of an answer."""
    return struct.pack("<BHHQ", _DONE, status, 0, 0)


def row(text: str) -> bytes:
    """An answer of one row with one nvarchar."""
    column = struct.pack("<BHIHBH", 0x81, 1, 0, 0, 0xE7, 8000) + _COLLATION + b"\x00"
    value = text.encode("utf-16-le")
    return column + struct.pack("<BH", 0xD1, len(value)) + value + done()


_REQUESTS = {5: "BEGIN", 7: "COMMIT", 8: "ROLLBACK"}
_TRANSACTION_CHANGES = {
    5: _change(b"\x08" + _OF_TRANSACTION + b"\x00") + done(),
    7: _change(b"\x09\x00" + _OF_TRANSACTION) + done(),
    8: _change(b"\x0a\x00" + _OF_TRANSACTION) + done(),
}

type Answer = Callable[[str], bytes]
"""What is answered to a batch of SQL, unless it raises SilenceError or CutError."""


def agree(sql: str) -> bytes:
    """What a server says that is asked for its version, for anything else, or for nothing."""
    if "SERVERPROPERTY" in sql:
        return row("16.0.4000.1")
    if "transaction_isolation_level" in sql:
        return row("READ COMMITTED")
    return row("dbo") if sql.lstrip().startswith("SELECT") else done()


@dataclass
class TdsServer:
    """What clients sent, and how they are answered; `log_in` may raise what `answer` may."""

    port: int
    certificate: ssl.SSLContext
    log_in: Callable[[], bytes | None] = lambda: None
    answer: Answer = agree
    logins: list[bytes] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    _connections: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the listener is closed."""
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._connections.append(connection)
                Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError, CutError):
            tls = _Tls(connection, self.certificate)
            tls.write(_REPLY, _greeting(tls.read()[1]))
            tls.start()
            kind, login = tls.read()
            assert kind == _LOGIN
            self.logins.append(login)
            tls.write(_REPLY, self.log_in() or _welcome(login))
            while True:
                kind, body = tls.read()
                with suppress(SilenceError):
                    tls.write(_REPLY, self._answered(kind, body))

    def cut(self) -> None:
        """Close every connection."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _answered(self, kind: int, body: bytes) -> bytes:
        if kind == _ATTENTION:
            self._noted("ATTENTION")
            return done(_LET_OFF)
        [headers] = struct.unpack_from("<I", body)
        if kind == _TRANSACTION:
            [request] = struct.unpack_from("<H", body, headers)
            answer = self._noted(_REQUESTS[request])
            return _TRANSACTION_CHANGES[request] if answer == done() else answer
        if kind == _CALL:  # Nothing of what could be called is here.
            return error(2812)
        return self._noted(body[headers:].decode("utf-16-le"))

    def _noted(self, sql: str) -> bytes:
        self.batches.append(sql)
        return self.answer(sql)


class _Tls:
    """Packets over a connection, from `start` on inside TLS; its handshake lies in packets."""

    def __init__(self, connection: socket.socket, certificate: ssl.SSLContext) -> None:
        self._connection = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = certificate.wrap_bio(self._in, self._out, server_side=True)
        self._is_on = False

    def start(self) -> None:
        while not self._is_on:
            try:
                self._tls.do_handshake()
                self._is_on = True
            except ssl.SSLWantReadError:
                pass
            if content := self._out.read():
                self._connection.sendall(_packet(_PRELOGIN, content))
            if not self._is_on:
                self._in.write(self._packets()[1])

    def read(self) -> tuple[int, bytes]:
        return self._packets()

    def write(self, kind: int, content: bytes) -> None:
        packet = _packet(kind, content)
        if self._is_on:
            self._tls.write(packet)
            packet = self._out.read()
        self._connection.sendall(packet)

    def _packets(self) -> tuple[int, bytes]:
        content, kind, status = b"", 0, 0
        while not status & _LAST:
            kind, status, length = struct.unpack(">BBH4x", self._bytes(8))
            content += self._bytes(length - 8)
        return kind, content

    def _bytes(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            found += self._some(count - len(found))
        return found

    def _some(self, count: int) -> bytes:
        if not self._is_on:
            return _received(self._connection, count)
        while True:
            try:
                return self._tls.read(count)
            except ssl.SSLWantReadError:
                self._in.write(_received(self._connection, 1 << 16))


def _received(connection: socket.socket, count: int) -> bytes:
    content = connection.recv(count)
    if not content:
        raise EOFError
    return content


def _packet(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBHHBB", kind, _LAST, len(content) + 8, 0, 1, 0) + content


def _greeting(asked: bytes) -> bytes:
    """What the server can do: encrypt everything, and take tokens from whoever has one."""
    options = {0x00: bytes((16, 0, 0, 0, 0, 0)), _ENCRYPTION: b"\x01"}
    if _FEDERATED in _options(asked):
        options[_FEDERATED] = b"\x01"
    offset = 5 * len(options) + 1
    head, body = b"", b""
    for number, content in options.items():
        head += struct.pack(">BHH", number, offset + len(body), len(content))
        body += content
    return head + bytes((_END,)) + body


def _options(asked: bytes) -> set[int]:
    found, at = set(), 0
    while asked[at] != _END:
        found.add(asked[at])
        at += 5
    return found


def _welcome(login: bytes) -> bytes:
    name = "Microsoft SQL Server"
    body = b"\x01" + bytes((0x74, 0, 0, 4)) + bytes((len(name),)) + name.encode("utf-16-le")
    body += bytes((16, 0, 0x0F, 0xA0))
    acknowledged = struct.pack("<BH", _ACK, len(body)) + body
    features = _features(login)
    token = bytes((_TOKEN, 0, 0, 0, 0)) if _TOKEN in features else b""
    extensions = bytes((_FEATURES,)) + token + bytes((_END,)) if features else b""
    return _database("index") + acknowledged + extensions + done()


def _database(name: str) -> bytes:
    """Where the session is: its database, the collation there, and the size of packets."""
    changes = (
        bytes((1, len(name))) + name.encode("utf-16-le") + b"\x00",
        bytes((7, len(_COLLATION))) + _COLLATION + b"\x00",
        bytes((2, 10)) + "us_english".encode("utf-16-le") + b"\x00",
        bytes((4, 4)) + "4096".encode("utf-16-le") + b"\x00",
    )
    return b"".join(map(_change, changes))


def _features(login: bytes) -> set[int]:
    if not login[_FLAGS] & _HAS_FEATURES:
        return set()
    [pointer] = struct.unpack_from("<H", login, _POINTER_TO_FEATURES)
    [at] = struct.unpack_from("<I", login, pointer)
    found = set()
    while login[at] != _END:
        found.add(login[at])
        at += 5 + struct.unpack_from("<I", login, at + 1)[0]
    return found


@contextmanager
def tds_server() -> Iterator[TdsServer]:
    """A server on a free port of this machine, with a certificate of its own."""
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.maximum_version = ssl.TLSVersion.TLSv1_2  # As TDS before version 8 has it.
    trustme.CA().issue_cert("localhost").configure_cert(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = TdsServer(listener.getsockname()[1], certificate)
        Thread(target=server.serve, args=(listener,), daemon=True).start()
        yield server
        server.cut()
        listener.shutdown(socket.SHUT_RDWR)
