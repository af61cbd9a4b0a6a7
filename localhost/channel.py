"""Messages between the parent and a worker over a pair of sockets, pickled, each with its length.

Only processes of ours hold an end of such a pair, so pickling is safe.
"""

import asyncio
import pickle
import socket
from typing import Any

_LENGTH_BYTES = 8


class Channel:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> "Channel":
        """Use one of the two sockets."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def send(self, message: object) -> None:
        """Send a message; one to a peer that is gone is lost."""
        content = pickle.dumps(message)
        try:
            self._writer.write(len(content).to_bytes(_LENGTH_BYTES) + content)
            await self._writer.drain()
        except ConnectionError:
            return

    async def receive(self) -> Any:
        """The next message, None when the peer is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
            return pickle.loads(await self._reader.readexactly(length))  # noqa: S301
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Let the peer see the end."""
        self._writer.close()
