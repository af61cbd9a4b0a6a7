"""A blob as a seekable file, for libraries that read files."""

import asyncio
import io
from typing import BinaryIO, cast

from shared.ports import BlobStore

_BUFFER_BYTES = 1_048_576


def open_blob(
    blobs: BlobStore, name: str, length: int, loop: asyncio.AbstractEventLoop
) -> BinaryIO:
    """Open a blob of `length` bytes for reading from a thread, never from the loop itself."""
    raw = cast("io.RawIOBase", _BlobFile(blobs, name, length, loop))
    return cast("BinaryIO", io.BufferedReader(raw, _BUFFER_BYTES))


class _BlobFile(io.RawIOBase):
    """Reads byte ranges as they are asked for."""

    def __init__(
        self, blobs: BlobStore, name: str, length: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__()
        self._blobs = blobs
        self._name = name
        self._length = length
        self._loop = loop
        self._position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Bytes before the next one read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Choose the next byte read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # any writable buffer
        """Read what fits."""
        size = min(len(buffer), self._length - self._position)
        if size <= 0:
            return 0
        reading = self._blobs.get_ranges(self._name, [(self._position, size)])
        (content,) = asyncio.run_coroutine_threadsafe(reading, self._loop).result()
        buffer[:size] = memoryview(content)
        self._position += size
        return size
