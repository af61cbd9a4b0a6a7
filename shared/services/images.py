"""Stored images, opened for decoding: the data set, and frames as they are stored."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from pydicom import Dataset

from shared.dicom.blob_names import frames_blob
from shared.dicom.frames import FramePositions, from_json
from shared.dicom.header import PixelDataElement
from shared.dicom.pixels.image import MAX_FRAME_LENGTH, ImageDescription, StoredFrame
from shared.dicom.stored_data_set import (
    add_attributes_behind,
    pixel_data_element,
    read_data_set,
    read_without_pixels,
)
from shared.dicom.transfer_syntax import EXPLICIT_VR_BIG_ENDIAN, transfer_syntax
from shared.errors import NotAcceptableError, NotFoundError, StoreUnavailableError
from shared.ports import BlobStore, InstanceFile
from shared.services.metadata_file import decompress
from shared.services.stored_file import StoredFile, spooled, stored_file
from shared.services.version_file import head_file

MAX_HEAD_LENGTH = 64 << 20
"""Bytes of a file beside its pixel data that are held to decode or re-encode it."""

_REMEMBERED_BYTES = 16 << 20
_READ_SECONDS = 30


async def frame_positions(blobs: BlobStore, file: InstanceFile) -> FramePositions:
    """Where the frames of an instance lie.

    Raises:
        NotFoundError: It has no pixel data.
        NotAcceptableError: Its frames cannot be told apart.
    """
    if file.pixel_data_offset is None:
        raise NotFoundError("The specified instance has no pixel data.")
    if file.frames is None:
        raise NotAcceptableError("The frames of this instance cannot be told apart.")
    text = file.frames
    if text == "blob":
        text = decompress(await blobs.get(frames_blob(file.blob_id))).decode()
    return from_json(text)


@dataclass(frozen=True, slots=True)
class OpenImage:
    """An image whose frames can be read; `data_set` is without its pixel data."""

    data_set: Dataset
    pixel_data: PixelDataElement
    positions: FramePositions
    content: StoredFile
    transfer_syntax_uid: str

    def description(self) -> ImageDescription:
        """How its frames are made.

        Raises:
            NotAcceptableError: Its description is impossible, or a frame too large.
            NotFoundError: It is described as no image.
        """
        return ImageDescription.of(self.data_set, self.pixel_data)

    async def frame(self, index: int) -> StoredFrame:
        """A frame as it is stored, counted from 0.

        Raises:
            NotAcceptableError: It is too large to be decoded.
        """
        ranges = self.positions.range_of(index)
        if sum(piece.length for piece in ranges) > MAX_FRAME_LENGTH:
            raise NotAcceptableError("A frame of the image is larger than this service decodes.")
        if self.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN:
            # Words are turned around: the last byte of an odd frame is the one after it.
            ranges = tuple(
                piece._replace(length=piece.length + piece.length % 2) for piece in ranges
            )
        read = await self.content.read(ranges)
        whole = bytes(read[0]) if len(read) == 1 else b"".join(bytes(piece) for piece in read)
        return StoredFrame(whole, self.transfer_syntax_uid, self.positions.bit_offset(index))

    def frames_for_thread(
        self, loop: asyncio.AbstractEventLoop, indexes: Iterable[int]
    ) -> Iterator[tuple[int, StoredFrame]]:
        """Frames as they are stored, with their indexes, for a thread that is not the loop's.

        Raises:
            StoreUnavailableError: The loop does not answer, as when it has been stopped.
        """
        for index in indexes:
            reading = asyncio.run_coroutine_threadsafe(self.frame(index), loop)
            try:
                yield index, reading.result(_READ_SECONDS)
            except TimeoutError as error:
                raise StoreUnavailableError("A frame could not be read in time.") from error

    @asynccontextmanager
    async def for_many_frames(self) -> "AsyncIterator[OpenImage]":
        """The image, so opened that a deflated file is inflated once, and not for each frame."""
        async with spooled(self.content) as content:
            yield replace(self, content=content)


class Images:
    """Opens stored images, and remembers the last ones: viewers ask for frame after frame."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._remembered: OrderedDict[str, tuple[OpenImage, int]] = OrderedDict()
        self._size = 0
        self._opening: dict[str, asyncio.Future[OpenImage]] = {}

    async def open(self, file: InstanceFile) -> OpenImage:
        """Open an image; what it gives is shared and must not be changed.

        Raises:
            NotFoundError: It has no pixel data.
            NotAcceptableError: It cannot be read again, or has too much beside its pixel data.
        """
        known = self._remembered.get(file.blob_id)
        if known is not None:
            self._remembered.move_to_end(file.blob_id)
            return known[0]
        opening = self._opening.get(file.blob_id)
        if opening is None:
            # Viewers ask for many frames at once: the first request reads for all of them.
            opening = asyncio.ensure_future(self._read(file, stored_file(self._blobs, file)))
            opening.add_done_callback(lambda _: self._opening.pop(file.blob_id))
            self._opening[file.blob_id] = opening
        image = await asyncio.shield(opening)
        self._remember(file.blob_id, image, file.pixel_data_offset or 0)
        return image

    @asynccontextmanager
    async def open_whole(self, file: InstanceFile) -> AsyncIterator[OpenImage]:
        """Open an image of which all frames are read, with the attributes that follow its pixels.

        Raises:
            NotFoundError: It has no pixel data.
            NotAcceptableError: It cannot be read again, or has too much beside its pixel data.
        """
        async with spooled(stored_file(self._blobs, file)) as content:
            image = await self._read(file, content)
            if file.head is not None:
                image = replace(image, data_set=await self._updated(file))
            end = _end_of_pixels(image)
            is_complete = file.head is not None and file.head.is_whole(file.length)
            is_deflated = transfer_syntax(file.transfer_syntax_uid).is_deflated
            if not is_complete and (end < file.length or is_deflated):
                behind = await _held(content, end)
                is_encapsulated = image.pixel_data.length is None
                await asyncio.to_thread(
                    add_attributes_behind, image.data_set, behind, is_encapsulated=is_encapsulated
                )
            yield image

    async def data_set(self, file: InstanceFile) -> Dataset:
        """The data set of an instance without pixel data.

        Raises:
            NotAcceptableError: It cannot be read again, or is too large.
        """
        if file.head is not None:
            return await self._updated(file)
        content = await _held(stored_file(self._blobs, file), 0)
        return await asyncio.to_thread(read_data_set, content, file.transfer_syntax_uid)

    async def _updated(self, file: InstanceFile) -> Dataset:
        """The data set of an updated instance, without its pixel data."""
        content = await _held(head_file(self._blobs, file), 0)
        syntax_uid = file.transfer_syntax_uid
        return await asyncio.to_thread(read_without_pixels, content, syntax_uid)

    async def _read(self, file: InstanceFile, content: StoredFile) -> OpenImage:
        positions = await frame_positions(self._blobs, file)
        length = file.pixel_data_offset or 0
        if length > MAX_HEAD_LENGTH:
            raise _too_large()
        (head,) = await content.read([(0, length)])
        return await asyncio.to_thread(_opened, bytes(head), file, positions, content)

    def _remember(self, blob_id: str, image: OpenImage, size: int) -> None:
        if size > _REMEMBERED_BYTES or blob_id in self._remembered:
            return
        self._remembered[blob_id] = image, size
        self._size += size
        while self._size > _REMEMBERED_BYTES:
            _, (_, oldest) = self._remembered.popitem(last=False)
            self._size -= oldest


def _opened(
    head: bytes, file: InstanceFile, positions: FramePositions, content: StoredFile
) -> OpenImage:
    syntax_uid = file.transfer_syntax_uid
    return OpenImage(
        read_data_set(head, syntax_uid),
        pixel_data_element(head, syntax_uid),
        positions,
        content,
        syntax_uid,
    )


def _end_of_pixels(image: OpenImage) -> int:
    element = image.pixel_data
    if element.length is not None:
        return element.offset + element.length
    last = image.positions.range_of(image.positions.count - 1)[-1]
    # A fragment is of even length; what the offset table does not count of it is padding.
    return last.offset + last.length + last.length % 2


async def _held(content: StoredFile, offset: int) -> bytes:
    held = bytearray()
    async for chunk in content.stream(offset):
        held += chunk
        if len(held) > MAX_HEAD_LENGTH:
            raise _too_large()
    return bytes(held)


def _too_large() -> NotAcceptableError:
    return NotAcceptableError("The instance has more beside its pixel data than is held.")
