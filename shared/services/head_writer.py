"""Writing the head that gives an instance new values, and the metadata of that version."""

import asyncio
from collections.abc import AsyncIterator, Buffer, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

from shared.dicom.blob_names import dicom_blob, metadata_blob
from shared.dicom.extended_query_tag import TagSet
from shared.dicom.searchable import indexed_attributes
from shared.dicom.stored_data_set import pixel_data_start
from shared.dicom.tag_reading import read_tags
from shared.dicom.transfer_syntax import transfer_syntax
from shared.dicom.update import (
    NeedsWholeFileError,
    Update,
    UpdatedFile,
    update_document,
    update_file,
)
from shared.errors import NotAcceptableError, StoreUnavailableError
from shared.ports import BlobStore, Head, InstanceFile, NewInstance, StoredInstance, UpdatedInstance
from shared.services.images import MAX_HEAD_LENGTH
from shared.services.kept_instance import UNREADABLE
from shared.services.metadata_file import MetadataFile, unpack, unpacked_length
from shared.services.stored_file import stored_file
from shared.services.version_file import head_file, version_file

_MAX_WHOLE_LENGTH = 256 << 20
_SMALL_BYTES = 1 << 20


type _Made = tuple[MetadataFile, tuple[UpdatedFile, int]]
"""The metadata of an instance as it was, what its version begins with, and where that goes on."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What all instances of a study are given.

    Attributes:
        tag_set: What instances are indexed by besides.
    """

    partition_name: str
    update: Update
    tag_set: TagSet


class HeadWriter:
    """Writes heads; of instances that take much memory for it, one at a time."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._large = asyncio.Semaphore(1)

    async def write(
        self, instance: StoredInstance, head_id: str, writing: Writing
    ) -> UpdatedInstance:
        """Write the blobs of a head; what replaced values and new ones are is in its metadata.

        Bulk values stay where they are in the stored file, so their places do not change.

        Raises:
            NotAcceptableError: The file cannot be read or written anew, or has too much to hold, or
                a blob of the instance is damaged.
            BlobNotFoundError: A blob of the instance is gone.
        """
        async with _Turn(self._large) as turn:
            packed = await self._blobs.get(metadata_blob(instance.file.metadata_id))
            if max(unpacked_length(packed), _beginning_length(instance.file)) > _SMALL_BYTES:
                await turn.take()
            with _readable_metadata():
                metadata = await asyncio.to_thread(unpack, packed)
            read = replace(metadata, path=instance.path, file=instance.file)
            updated = await self._updated(read, writing.update, turn)
            return await self._write(instance.watermark, head_id, writing, (read, updated))

    async def _write(
        self, watermark: int, head_id: str, writing: Writing, made: _Made
    ) -> UpdatedInstance:
        metadata, (updated, offset) = made
        update = writing.update
        with _readable_metadata():
            document, moved = update_document(metadata.document, update, is_utf_8=updated.is_utf_8)
            version = MetadataFile(
                writing.partition_name,
                metadata.path,
                replace(metadata.file, head=Head(head_id, len(updated.content), offset)),
                {moved.get(path, path): place for path, place in metadata.bulk.items()},
                document,
            )
            described = await asyncio.to_thread(version.pack)
            tags = read_tags(document, writing.tag_set)
            attributes = indexed_attributes(document)
        await asyncio.gather(
            self._blobs.put(dicom_blob(head_id), updated.content),
            self._blobs.put(metadata_blob(head_id), described),
        )
        new = NewInstance(version.path, version.file, attributes, tags.values, tags.sentences)
        return UpdatedInstance(watermark, head_id, new)

    async def _updated(
        self, metadata: MetadataFile, update: Update, turn: "_Turn"
    ) -> tuple[UpdatedFile, int]:
        """What the version begins with, and where in the stored file it goes on."""
        try:
            beginning = await self._updated_beginning(metadata, update)
            return beginning or await self._updated_whole(metadata, update, turn)
        except StoreUnavailableError:
            # A store that is asked for bytes behind the end of a blob says no more than that.
            if await self._is_cut_off(metadata.file):
                raise _damaged() from None
            raise

    async def _updated_beginning(
        self, metadata: MetadataFile, update: Update
    ) -> tuple[UpdatedFile, int] | None:
        """As _updated, None if what follows the beginning changes with it."""
        beginning = await self._beginning(metadata.file)
        if beginning is None:
            return None
        content, offset = beginning
        try:
            return await _in_thread(content, metadata, update), offset
        except NeedsWholeFileError:
            return None

    async def _updated_whole(
        self, metadata: MetadataFile, update: Update, turn: "_Turn"
    ) -> tuple[UpdatedFile, int]:
        file = metadata.file
        if file.version_length > _MAX_WHOLE_LENGTH:
            raise NotAcceptableError("The instance is too large to be written anew as a whole.")
        if file.version_length > _SMALL_BYTES:
            await turn.take()
        content = await _held(self._whole(file), _MAX_WHOLE_LENGTH)
        await self._demand_whole(file, content)
        try:
            return await _in_thread(content, metadata, update), file.length
        except NeedsWholeFileError as error:
            raise _damaged() from error

    async def _beginning(self, file: InstanceFile) -> tuple[bytes, int] | None:
        """The file up to its pixel data and how long that is; None if they cannot be parted."""
        if file.head is not None:
            if file.head.is_whole(file.length):
                return None
            content = await _held(head_file(self._blobs, file).stream(), MAX_HEAD_LENGTH)
            _demand(content, file.head.length)
            return content, file.head.body_offset
        end = file.pixel_data_offset
        if end is None or transfer_syntax(file.transfer_syntax_uid).is_deflated:
            return None
        if end > MAX_HEAD_LENGTH:
            raise NotAcceptableError("The instance has too much before its pixel data.")
        [held] = await self._blobs.get_ranges(dicom_blob(file.blob_id), [(0, end)])
        content = bytes(held)
        _demand(content, end)
        start = pixel_data_start(content, file.transfer_syntax_uid)
        return content[:start], start

    async def _whole(self, file: InstanceFile) -> AsyncIterator[Buffer]:
        """The version as it is, its data set inflated if it is deflated."""
        if file.head is None:
            pieces = stored_file(self._blobs, file).stream()
        elif file.head.is_whole(file.length):
            pieces = head_file(self._blobs, file).stream()
        else:
            pieces = await version_file(self._blobs, file)
        async for piece in pieces:
            yield piece

    async def _demand_whole(self, file: InstanceFile, content: bytes) -> None:
        if not transfer_syntax(file.transfer_syntax_uid).is_deflated:
            _demand(content, file.version_length)
            return
        # What was inflated does not tell whether something lacks.
        blob_id = file.blob_id if file.head is None else file.head.blob_id
        if not await self._reaches(blob_id, file.version_length - 1):
            raise _damaged()

    async def _is_cut_off(self, file: InstanceFile) -> bool:
        """Whether a blob ends before what is read of it begins."""
        offset, head = 0, file.head
        if head is not None:
            offset = head.body_offset
            if not await self._reaches(head.blob_id, 0):
                return True
        is_read = head is None or not head.is_whole(file.length)
        return is_read and not await self._reaches(file.blob_id, offset)

    async def _reaches(self, blob_id: str, offset: int) -> bool:
        return await self._blobs.length(dicom_blob(blob_id)) > offset


class _Turn:
    """The turn of an instance to take much memory, which lasts until it is done with."""

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore = semaphore
        self._is_taken = False

    async def take(self) -> None:
        """Wait for it, if it has not come yet."""
        if not self._is_taken:
            await self._semaphore.acquire()
            self._is_taken = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._is_taken:
            self._semaphore.release()


def _beginning_length(file: InstanceFile) -> int:
    """How much is read of a file at first, in bytes."""
    if file.head is not None:
        return file.head.length
    return file.length if file.pixel_data_offset is None else file.pixel_data_offset


async def _in_thread(content: bytes, metadata: MetadataFile, update: Update) -> UpdatedFile:
    syntax_uid, document = metadata.file.transfer_syntax_uid, metadata.document
    return await asyncio.to_thread(update_file, content, syntax_uid, update, document)


@contextmanager
def _readable_metadata() -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise NotAcceptableError("The metadata of the instance cannot be read.") from error


def _damaged() -> NotAcceptableError:
    return NotAcceptableError("The file of the instance is damaged.")


def _demand(content: bytes, length: int) -> None:
    """See that all was read, as what is cut off must not be written anew as if it were whole."""
    if len(content) < length:
        raise _damaged()


async def _held(pieces: AsyncIterator[Buffer], most: int) -> bytes:
    held = bytearray()
    async for piece in pieces:
        held += piece
        if len(held) > most:
            raise NotAcceptableError("The instance has more than can be held to write it anew.")
    return bytes(held)
