"""Exports to a folder of the machine, for the embedded mode."""

import asyncio
import os
from collections.abc import AsyncIterator, Buffer, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from shared.errors import DestinationRefusedError, StoreUnavailableError

_LOG = "errors.log"
_REFUSALS = (PermissionError, NotADirectoryError, FileNotFoundError, FileExistsError)


class FolderDestination:
    """A folder of an export; `shown` is what clients may know of where it lies."""

    def __init__(self, operation_id: str, folder: Path, shown: str, *, sync: bool) -> None:
        self._folder = folder / operation_id
        self._href = "/".join(filter(None, (shown, operation_id, _LOG)))
        self._is_synced = sync

    @property
    def errors_href(self) -> str:
        """See ExportDestination; relative to the folder that exports are allowed in."""
        return self._href

    async def begin(self) -> None:
        """See ExportDestination."""
        with _translated():
            await asyncio.to_thread(self._begin)

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._append(b"")

    async def write(self, name: str, chunks: AsyncIterator[Buffer]) -> None:
        """See ExportDestination."""
        file = self._folder / name
        # Of a name that nobody asks for, until it is whole.
        part = file.with_name(f".{uuid4().hex}.part")
        with _translated():
            await asyncio.to_thread(self._make_folders, Path(name).parent)
            try:
                with await asyncio.to_thread(part.open, "xb") as opened:
                    async for chunk in chunks:
                        await asyncio.to_thread(opened.write, chunk)
                await asyncio.to_thread(self._publish, part, file)
            finally:
                await asyncio.to_thread(part.unlink, missing_ok=True)

    def _make_folders(self, path: Path) -> None:
        """Make folders below that of the export; what was there is gone if this one is."""
        for part in reversed([path, *path.parents][:-1]):
            (self._folder / part).mkdir(exist_ok=True)

    def _publish(self, part: Path, file: Path) -> None:
        if self._is_synced:
            _sync(part)
        part.replace(file)
        if self._is_synced:
            _sync(file.parent)

    async def log(self, lines: bytes) -> None:
        """See ExportDestination."""
        with _translated():
            await asyncio.to_thread(self._append, lines)

    def _append(self, lines: bytes) -> None:
        with (self._folder / _LOG).open("ab") as file:
            file.write(lines)
        if self._is_synced:
            _sync(self._folder / _LOG)

    async def close(self) -> None:
        """See ExportDestination."""


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _REFUSALS as error:
        raise DestinationRefusedError("The folder cannot be written to.") from error
    except OSError as error:
        raise StoreUnavailableError("The folder cannot be written to now.") from error
