"""The bytes of a stored file, as the positions that were noted of it count them."""

import asyncio
import os
from collections.abc import AsyncIterator, Buffer, Sequence
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import Protocol

from shared.dicom.blob_names import dicom_blob
from shared.dicom.deflated import Inflater, data_set_offset
from shared.dicom.file_meta import MAX_META_LENGTH
from shared.dicom.transfer_syntax import transfer_syntax
from shared.ports import BlobStore, InstanceFile

_CHUNK_BYTES = 1 << 20


class StoredFile(Protocol):
    """A file that is read in parts; what lies beyond its end is left out."""

    async def read(self, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        """Read byte ranges, each (offset, length), that are small enough to be held."""

    def stream(self, offset: int = 0, length: int | None = None) -> AsyncIterator[Buffer]:
        """Read `length` bytes from `offset`, or to the end, in chunks of about 1 MiB."""


def stored_file(blobs: BlobStore, file: InstanceFile) -> StoredFile:
    """Open a stored file, inflated if its data set is deflated."""
    if transfer_syntax(file.transfer_syntax_uid).is_deflated:
        return _InflatedFile(blobs, file)
    return _PlainFile(blobs, dicom_blob(file.blob_id))


@asynccontextmanager
async def spooled(content: StoredFile) -> AsyncIterator[StoredFile]:
    """A file of which much will be read: if it has to be inflated, only once, to the disk."""
    if not isinstance(content, _InflatedFile):
        yield content
        return
    with TemporaryFile() as file:
        async for piece in content.stream():
            await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(file.flush)
        yield _SpooledFile(file.fileno())


class _PlainFile:
    def __init__(self, blobs: BlobStore, name: str) -> None:
        self._blobs = blobs
        self._name = name

    async def read(self, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        return await self._blobs.get_ranges(self._name, ranges)

    def stream(self, offset: int = 0, length: int | None = None) -> AsyncIterator[Buffer]:
        return self._blobs.stream(self._name, offset, length)


class _InflatedFile:
    """Inflates from the start at every reading, up to what is asked for, and holds only that."""

    def __init__(self, blobs: BlobStore, file: InstanceFile) -> None:
        self._blobs = blobs
        self._name = dicom_blob(file.blob_id)
        self._length = file.length

    async def read(self, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        found = [bytearray() for _ in ranges]
        end = max((offset + length for offset, length in ranges), default=0)
        at = 0
        async for piece in self.stream(0, end):
            view = memoryview(piece)
            for (offset, length), content in zip(ranges, found, strict=True):
                content.extend(view[max(0, offset - at) : max(0, offset + length - at)])
            at += len(view)
        return list(found)

    async def stream(self, offset: int = 0, length: int | None = None) -> AsyncIterator[Buffer]:
        at, end = 0, None if length is None else offset + length
        async for piece in self._pieces():
            view = memoryview(piece)
            wanted = view[max(0, offset - at) : None if end is None else max(0, end - at)]
            if len(wanted):
                yield wanted
            at += len(view)
            if end is not None and at >= end:
                return

    async def _pieces(self) -> AsyncIterator[bytes]:
        size = min(self._length, MAX_META_LENGTH + 1)
        (start,) = await self._blobs.get_ranges(self._name, [(0, size)])
        head = bytes(start)
        offset = data_set_offset(head)
        yield head[:offset]
        inflater = Inflater()
        async for chunk in self._blobs.stream(self._name, offset):
            pieces = inflater.pieces(chunk)
            while piece := await asyncio.to_thread(next, pieces, b""):
                yield piece


class _SpooledFile:
    """A file on the disk of this machine."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def read(self, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        return [
            await asyncio.to_thread(os.pread, self._descriptor, length, offset)
            for offset, length in ranges
        ]

    async def stream(self, offset: int = 0, length: int | None = None) -> AsyncIterator[Buffer]:
        left = length
        while left is None or left > 0:
            size = _CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES)
            chunk = await asyncio.to_thread(os.pread, self._descriptor, size, offset)
            if not chunk:
                return
            yield chunk
            offset += len(chunk)
            left = None if left is None else left - len(chunk)
