"""Files as one ZIP archive, written as a stream (APPNOTE.TXT 6.3.10, 4.4.4: data descriptors)."""

import asyncio
from collections.abc import AsyncIterator, Buffer
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from shared.dicomweb.multipart import Chunk

_MAX_LENGTH = 0x7FFFFFFF
_AS_IT_IS = 0


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file for an archive; `length` in bytes, None while it is not known."""

    name: str
    length: int | None
    body: AsyncIterator[Chunk]


async def zip_archive(files: AsyncIterator[ArchivedFile]) -> AsyncIterator[bytes]:
    """The archive of files, of which no more than a chunk is held.

    Nothing is compressed, which would be slower than most networks; yet it is written as deflated,
    as programs that read an archive from a stream take nothing else there.
    """
    sink = _Sink()
    archive = ZipFile(cast("IO[bytes]", sink), "w", ZIP_DEFLATED)
    now = datetime.now(UTC).timetuple()[:6]
    async for file in files:
        entry = ZipInfo(file.name, now)
        entry.compress_type = ZIP_DEFLATED
        entry.compress_level = _AS_IT_IS
        is_large = file.length is None or file.length > _MAX_LENGTH
        with archive.open(entry, "w", force_zip64=is_large) as writer:
            async for chunk in file.body:
                await asyncio.to_thread(writer.write, chunk)
                if written := sink.taken():
                    yield written
    archive.close()
    yield sink.taken()


class _Sink:
    """What is written, until it is taken; it cannot be sought in."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, content: Buffer) -> int:
        self._written.append(bytes(content))
        return len(self._written[-1])

    def flush(self) -> None:
        """Nothing lies anywhere else."""

    def taken(self) -> bytes:
        written, self._written = self._written, []
        return b"".join(written)
