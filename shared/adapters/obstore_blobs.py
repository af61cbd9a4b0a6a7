"""Blobs over obstore, which has one API for a folder, memory and a storage account.

obstore's calls block a thread of this adapter's own, which costs less than its event loop does.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Buffer, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, ObjectStore

from shared.adapters.own_threads import OwnThreads
from shared.adapters.synced_folder import SyncedFolder
from shared.errors import (
    BlobExistsError,
    BlobNotFoundError,
    InvalidBlobNameError,
    StoreUnavailableError,
)
from shared.ports import BlobInfo

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore import GetOptions, WritableFile

_THREADS = 8
_CHUNK_BYTES = 1_048_576
_WRITE_BUFFER_BYTES = 4_194_304
_COALESCE_BYTES = 65_536
_LISTED_AT_ONCE = 1000
_STAGING = "staging/"
_UNNAMABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LONGEST_NAME = 1024
"""On Azure; and obstore puts a mark behind the name of a file under way."""
_LONGEST_FILE_NAME_BYTES = 240
MISSING = (NotFoundError, FileNotFoundError)
"""obstore documents the first, and raises the second."""

_log = logging.getLogger(__name__)


class ObstoreBlobs:
    """Blobs in any store that obstore speaks to; `folder` is what a local store must sync."""

    def __init__(
        self, store: ObjectStore, folder: SyncedFolder | None = None, *, threads: int = _THREADS
    ) -> None:
        self._store = store
        self._folder = folder
        self._threads = OwnThreads("blobs", threads)

    @classmethod
    def in_folder(cls, path: Path, *, sync: bool = True) -> Self:
        """Blobs as files below a folder; without `sync` a power cut may lose the newest ones."""
        path.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(path), SyncedFolder(path, is_synced=sync))

    @classmethod
    def in_memory(cls) -> Self:
        """Blobs that end with the process."""
        return cls(MemoryStore())

    async def put(self, name: str, content: Buffer) -> None:
        """See BlobStore."""
        await self._run(self._put, self._checked(name), content)

    def _put(self, name: str, content: Buffer) -> None:
        obstore.put(self._store, name, memoryview(content), mode="create", use_multipart=False)
        if self._folder is not None:
            self._folder.settle(name)

    async def put_stream(self, name: str, chunks: AsyncIterator[Buffer]) -> int:
        """See BlobStore."""
        self._checked(name)
        # Written aside first: a write cut short must not show, and a name is taken only once.
        staged = f"{_STAGING}{uuid4().hex}.tmp"
        writer = obstore.open_writer(
            self._store, staged, buffer_size=_WRITE_BUFFER_BYTES, max_concurrency=1
        )
        length = 0
        async for batch in gathered(chunks, _CHUNK_BYTES):
            length += sum(memoryview(chunk).nbytes for chunk in batch)
            await self._run(_write_all, writer, batch)
        # Until here the staged file goes with the writer; a kill leaves it to remove_leftovers.
        await self._run(self._publish, writer, staged, name)
        return length

    def _publish(self, writer: "WritableFile", staged: str, name: str) -> None:
        writer.close()
        try:
            obstore.rename(self._store, staged, name, overwrite=False)
        except AlreadyExistsError:
            obstore.delete(self._store, staged)
            raise
        if self._folder is not None:
            self._folder.settle(name)

    async def get(self, name: str) -> Buffer:
        """See BlobStore."""
        self._checked(name)
        return await self._run(lambda: obstore.get(self._store, name).bytes())

    async def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        """See BlobStore."""
        self._checked(name)
        return await self._run(self._get_ranges, name, ranges)

    def _get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        # obstore knows no range of no bytes; a damaged file may have such frames.
        asked = [(offset, length) for offset, length in ranges if length]
        if not asked:
            return [b"" for _ in ranges]
        starts, lengths = zip(*asked, strict=True)
        read = iter(
            obstore.get_ranges(
                self._store, name, starts=starts, lengths=lengths, coalesce=_COALESCE_BYTES
            )
        )
        return [next(read) if length else b"" for _, length in ranges]

    async def length(self, name: str) -> int:
        """See BlobStore."""
        self._checked(name)
        return await self._run(lambda: obstore.head(self._store, name)["size"])

    async def stream(
        self, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[Buffer]:
        """See BlobStore."""
        self._checked(name)
        if length == 0:
            return
        chunks = await self._run(self._open, name, offset, length)
        coming = asyncio.ensure_future(self._run(next, chunks, None))
        try:
            while (chunk := await coming) is not None:
                coming = asyncio.ensure_future(self._run(next, chunks, None))
                yield chunk
        finally:
            coming.cancel()

    def _open(self, name: str, offset: int, length: int | None) -> Iterator[Buffer]:
        range_: Any = {"offset": offset} if length is None else (offset, offset + length)
        options: GetOptions = {"range": range_} if offset or length is not None else {}
        result = obstore.get(self._store, name, options=options)
        return iter(result.stream(min_chunk_size=_CHUNK_BYTES))

    async def delete(self, names: Sequence[str]) -> None:
        """See BlobStore."""
        checked = [self._checked(name) for name in names]
        await asyncio.gather(*(self._run(self._delete, batch) for batch in _shares(checked)))

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            with suppress(*MISSING):
                obstore.delete(self._store, name)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """See BlobStore."""
        pages = iter(obstore.list(self._store, prefix=prefix, chunk_size=_LISTED_AT_ONCE))
        while (page := await self._run(next, pages, None)) is not None:
            for entry in page:
                yield BlobInfo(entry["path"], entry["size"])

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """See BlobStore."""
        listed = await self._run(lambda: obstore.list_with_delimiter(self._store, prefix=prefix))
        return [folder.rstrip("/").rpartition("/")[2] for folder in listed["common_prefixes"]]

    async def remove_leftovers(self, older_than: timedelta) -> int:
        """See BlobStore."""
        if self._folder is None:
            return 0
        return await self._run(self._folder.remove_leftovers, older_than)

    async def check(self) -> None:
        """See BlobStore."""
        await self._run(lambda: next(iter(obstore.list(self._store, chunk_size=1)), None))

    def _checked(self, name: str) -> str:
        if not _is_name(name) or (self._folder is not None and not _is_file_name(name)):
            raise InvalidBlobNameError("This is no name of a blob.")
        return name

    async def _run[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def translated() -> R:
            with self._translated():
                return function(*args, **kwargs)

        return await self._threads.run(translated)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except AlreadyExistsError as error:
            raise BlobExistsError("A blob of this name exists.") from error
        except MISSING as error:
            raise BlobNotFoundError("There is no such blob.") from error
        except (BaseError, OSError) as error:
            raise unavailable(error) from error


async def gathered(
    chunks: AsyncIterator[Buffer], size_bytes: int
) -> AsyncIterator[Sequence[Buffer]]:
    """Gather small chunks, as a thread hop for each would cost more than writing it.

    The last batch may be empty.
    """
    batch: list[Buffer] = []
    size = 0
    async for chunk in chunks:
        batch.append(chunk)
        size += memoryview(chunk).nbytes
        if size >= size_bytes:
            yield batch
            batch, size = [], 0
    yield batch


def _write_all(writer: "WritableFile", chunks: Sequence[Buffer]) -> None:
    for chunk in chunks:
        writer.write(memoryview(chunk))


def _shares(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(min(_THREADS, len(names))):
        yield names[first::_THREADS]


def _is_name(name: str) -> bool:
    """Whether a name is one on Azure and cannot lead out of the store.

    Empty segments, which Azure allows, are read by obstore as if they were not there.
    """
    parts = name.split("/")
    return (
        len(name) <= _LONGEST_NAME
        and _UNNAMABLE.search(name) is None
        and not any(part in ("", ".", "..") for part in parts)
    )


def _is_file_name(name: str) -> bool:
    # A "#" marks the files of writes under way, which listings leave out.
    return "#" not in name and all(
        len(part.encode()) <= _LONGEST_FILE_NAME_BYTES for part in name.split("/")
    )


def unavailable(error: Exception) -> StoreUnavailableError:
    """Say to the operator why, and to the client only that the store does not answer."""
    _log.warning("blob storage does not answer: %s", type(error).__name__)
    return StoreUnavailableError("Blob storage does not answer.")
