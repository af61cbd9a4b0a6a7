"""The bytes of an instance as an export gives them: those of Retrieve, or de-identified."""

import asyncio
from collections.abc import AsyncIterator, Buffer, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, cast

from shared.dicom.deidentification.deidentifier import Deidentifier
from shared.dicom.deidentification.file import DeidentifiedFile, deidentify_file
from shared.dicom.deidentification.profile import Profile
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.dicom.resource import ResourcePath
from shared.errors import StoreUnavailableError
from shared.ports import BlobStore, InstanceFile, StoredInstance
from shared.services.version_file import version_file

_HELD_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """What is exported of an instance; `path` is what it is called there."""

    path: ResourcePath
    chunks: AsyncIterator[Buffer]


@dataclass(frozen=True, slots=True)
class Contents:
    """What one export gives of instances.

    Attributes:
        open: Raises BlobNotFoundError for an instance that is gone, InvalidInstanceError for one
            that cannot or must not be de-identified, and StoreUnavailableError.
        named: What the export calls a path, whether there is anything at it or not.
    """

    open: Callable[[StoredInstance], AbstractAsyncContextManager[Content]]
    named: Callable[[ResourcePath], ResourcePath]


class ExportContent:
    """Reads the newest versions of instances."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def of(self, profile: Profile | None, key: bytes) -> Contents:
        """What one export gives."""
        if profile is None:
            return Contents(self._as_stored, lambda path: path)
        deidentifier = Deidentifier(profile, Pseudonyms(key))
        opened = partial(self._deidentified, deidentifier, profile.keeps_burned_in)
        return Contents(opened, deidentifier.path)

    @asynccontextmanager
    async def _as_stored(self, instance: StoredInstance) -> AsyncIterator[Content]:
        yield Content(instance.path, await version_file(self._blobs, instance.file))

    @asynccontextmanager
    async def _deidentified(
        self,
        deidentifier: Deidentifier,
        keeps_burned_in: bool,  # noqa: FBT001
        instance: StoredInstance,
    ) -> AsyncIterator[Content]:
        with SpooledTemporaryFile(_HELD_BYTES) as spooled:
            file = cast("IO[bytes]", spooled)
            with _room():
                await self._spool(instance.file, file)
                found = await asyncio.to_thread(
                    deidentify_file,
                    file,
                    instance.file.transfer_syntax_uid,
                    deidentifier,
                    keeps_burned_in=keeps_burned_in,
                )
            with found.content:
                yield Content(found.path, _chunks(found))

    async def _spool(self, instance: InstanceFile, file: IO[bytes]) -> None:
        async for chunk in await version_file(self._blobs, instance):
            await asyncio.to_thread(file.write, chunk)


@contextmanager
def _room() -> Iterator[None]:
    """Tell of temporary files that cannot be written as of a store: there may be room later."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError("There is no room for the instance now.") from error


async def _chunks(found: DeidentifiedFile) -> AsyncIterator[Buffer]:
    for span in (found.header, found.pixels):
        async for chunk in _span(found.content, *span):
            yield chunk


async def _span(file: IO[bytes], offset: int, left: int) -> AsyncIterator[Buffer]:
    await asyncio.to_thread(file.seek, offset)
    while left:
        chunk = await asyncio.to_thread(file.read, min(left, _CHUNK_BYTES))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk
