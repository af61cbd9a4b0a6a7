"""Rendering: stored instances as images that any program shows (PS3.18 10.4.1.1.3, 2025b).

Videos and PDF documents are given as they are stored: any program shows them, too.
"""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Buffer, Sequence
from dataclasses import dataclass

from shared.dicom.blob_names import metadata_blob
from shared.dicom.json_model import Document, value
from shared.dicom.pixels.render import GIF, JPEG, Rendering, render, render_thumbnail
from shared.dicom.pixels.viewport import Viewport
from shared.dicom.resource import ResourcePath
from shared.dicom.transfer_syntax import transfer_syntax
from shared.dicomweb.multipart import Chunk
from shared.dicomweb.rendered import IMAGES, PDF, RenderedType
from shared.errors import NotAcceptableError, NotFoundError
from shared.ports import BlobStore, Index, InstanceFile, Partition, StoredInstance
from shared.services.images import Images, OpenImage, frame_positions
from shared.services.metadata_file import unpack
from shared.services.missing import missing
from shared.services.pixel_work import AT_ONCE, PixelWork
from shared.services.read_ahead import read_ahead
from shared.services.stored_file import stored_file
from shared.services.stored_frames import stored_frames

_LARGEST_V1_BYTES = 104_857_600
_THUMBNAIL_CANDIDATES = 64
_SOP_CLASS, _DOCUMENT, _DOCUMENT_LENGTH = "00080016", "00420011", "00420015"
_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants to see.

    Attributes:
        types: The media types it takes, best first.
        frames: Numbers of frames, 1-based; None is for all of a moving image, or else the first.
    """

    types: Sequence[RenderedType]
    rendering: Rendering
    frames: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered resource; `location` is its own path below the service root, length in bytes."""

    location: str
    media_type: str
    is_multipart: bool
    length: int
    body: AsyncIterator[Chunk]


class Render:
    """Renders frames of stored images, away from the event loop."""

    def __init__(self, blobs: BlobStore, index: Index, images: Images, work: PixelWork) -> None:
        self._blobs = blobs
        self._index = index
        self._images = images
        self._work = work

    async def instance(
        self, partition: Partition, path: ResourcePath, wish: Wish, *, version: int
    ) -> AsyncIterator[Rendered]:
        """An instance, or each of the frames asked for; several frames move if that is accepted.

        Raises:
            NotFoundError: There is no such instance or frame, or nothing to be seen in it.
            NotAcceptableError: It can be rendered in none of the ways; in v1 also when it is large.
        """
        instance = await self._index.find_instance(partition, path)
        if instance is None:
            raise await missing(self._index, partition, path, version=version)
        if version == 1 and instance.file.pixel_data_offset is None:
            raise _nothing_to_see(path)
        if version == 1 and instance.file.length > _LARGEST_V1_BYTES:
            raise NotAcceptableError("The instance is too large to be rendered.")
        return await self._rendered(instance, wish)

    async def instances(
        self, partition: Partition, path: ResourcePath, wish: Wish, *, version: int
    ) -> AsyncIterator[Rendered]:
        """Each instance at or below a path in which there is something to be seen.

        Raises:
            NotFoundError: Nothing is there, or nothing to be seen.
        """
        found = self._index.instances(partition, path)
        first = await anext(found, None)
        if first is None:
            raise await missing(self._index, partition, path, version=version)
        load = _Attempt(self, wish)
        is_seen = False
        async for group in read_ahead(_chain(first, found), load.rendered, depth=AT_ONCE):
            for one in group:
                is_seen = True
                yield one
        if not is_seen:
            raise load.refusal or _nothing_to_see(path)

    async def thumbnail(
        self,
        partition: Partition,
        path: ResourcePath,
        frame: int | None,
        viewport: Viewport | None,
        *,
        version: int,
    ) -> bytes:
        """A small JPEG of what represents a study, series, instance or frame (1-based).

        That is the middle frame of an instance in the middle, of the first ones.

        Raises:
            NotFoundError: Nothing is there, or nothing to be seen.
            NotAcceptableError: It cannot be rendered.
        """
        seen: list[InstanceFile] = []
        is_anything = False
        async for instance in self._index.instances(partition, path):
            is_anything = True
            if _is_image(instance.file):
                seen.append(instance.file)
            if len(seen) == _THUMBNAIL_CANDIDATES:
                break
        if not is_anything:
            raise await missing(self._index, partition, path, version=version)
        if not seen:
            raise _nothing_to_see(path)
        image = await self._images.open(seen[len(seen) // 2])
        index = image.positions.count // 2 if frame is None else frame - 1
        if index >= image.positions.count:
            raise NotFoundError("The specified frame cannot be found.")
        stored, description = await image.frame(index), image.description()
        data_set = image.data_set
        if viewport is None:
            return await self._work.run(
                lambda: render_thumbnail(data_set, description, (index, stored))
            )
        asked = Rendering(viewport=viewport)
        return await self._work.run(
            lambda: render(data_set, description, [(index, stored)], JPEG, asked)
        )

    async def rendered_now(self, instance: StoredInstance, wish: Wish) -> list[Rendered]:
        """Everything that an instance gives."""
        return [one async for one in await self._rendered(instance, wish)]

    async def _rendered(self, instance: StoredInstance, wish: Wish) -> AsyncIterator[Rendered]:
        file = instance.file
        if file.pixel_data_offset is None:
            return _only(await self._document(instance, wish))
        if transfer_syntax(file.transfer_syntax_uid).is_video:
            return _only(await self._video(instance, wish))
        type_ = next((type_ for type_ in wish.types if type_.name in IMAGES), None)
        if type_ is None:
            raise NotAcceptableError("Images are rendered as JPEG, PNG and GIF.")
        image = await self._images.open(file)
        count = image.positions.count
        if not count or max(wish.frames or [1]) > count:
            raise NotFoundError("The specified frame cannot be found.")
        return self._pictures(instance, image, type_, wish)

    async def _pictures(
        self, instance: StoredInstance, image: OpenImage, type_: RenderedType, wish: Wish
    ) -> AsyncIterator[Rendered]:
        async with image.for_many_frames() as opened:
            if type_.name == GIF:
                frames = wish.frames or range(1, opened.positions.count + 1)
                yield await self._picture(instance, opened, type_, frames, wish)
                return

            async def load(frame: int) -> Rendered:
                return await self._picture(instance, opened, type_, [frame], wish)

            async for one in read_ahead(_iterate(wish.frames or [1]), load, depth=AT_ONCE):
                yield one

    async def _picture(
        self,
        instance: StoredInstance,
        image: OpenImage,
        type_: RenderedType,
        frames: Sequence[int],
        wish: Wish,
    ) -> Rendered:
        description = image.description()
        loop = asyncio.get_running_loop()
        indexes = [frame - 1 for frame in frames]
        content = await self._work.run(
            lambda: render(
                image.data_set,
                description,
                image.frames_for_thread(loop, indexes),
                type_.name,
                wish.rendering,
            )
        )
        location = str(instance.path)
        if wish.frames is not None:
            location += f"/frames/{','.join(map(str, frames))}"
        return Rendered(
            f"{location}/rendered", type_.name, type_.is_multipart, len(content), _once(content)
        )

    async def _video(self, instance: StoredInstance, wish: Wish) -> Rendered:
        file = instance.file
        name = transfer_syntax(file.transfer_syntax_uid).frame_media_type
        type_ = next((type_ for type_ in wish.types if type_.name == name), None)
        if type_ is None:
            raise NotAcceptableError(f"This video is given as {name}.")
        positions = await frame_positions(self._blobs, file)
        length, body = await anext(stored_frames(self._blobs, file, positions, [0]))
        return Rendered(f"{instance.path}/rendered", name, type_.is_multipart, length, body)

    async def _document(self, instance: StoredInstance, wish: Wish) -> Rendered:
        content = await self._blobs.get(metadata_blob(instance.file.metadata_id))
        metadata = await asyncio.to_thread(unpack, content)
        document = metadata.document
        element = document.get(_DOCUMENT, {})
        is_there = _DOCUMENT in metadata.bulk or "InlineBinary" in element
        if value(document, _SOP_CLASS) != _ENCAPSULATED_PDF or not is_there:
            raise _nothing_to_see(instance.path)
        type_ = next((type_ for type_ in wish.types if type_.name == PDF), None)
        if type_ is None:
            raise NotAcceptableError(f"This document is given as {PDF}.")
        if _DOCUMENT in metadata.bulk:
            offset, padded = metadata.bulk[_DOCUMENT]
            length = _unpadded(document, padded)
            body = _viewed(stored_file(self._blobs, instance.file).stream(offset, length))
        else:
            held = b64decode(element["InlineBinary"])
            length = _unpadded(document, len(held))
            body = _once(held[:length])
        return Rendered(f"{instance.path}/rendered", PDF, type_.is_multipart, length, body)


class _Attempt:
    """Renders instances, and leaves out those that cannot be."""

    def __init__(self, render_: Render, wish: Wish) -> None:
        self._render = render_
        self._wish = wish
        self.refusal: NotAcceptableError | None = None

    async def rendered(self, instance: StoredInstance) -> list[Rendered]:
        try:
            return await self._render.rendered_now(instance, self._wish)
        except NotFoundError:
            return []
        except NotAcceptableError as refusal:
            self.refusal = refusal
            return []


def _is_image(file: InstanceFile) -> bool:
    is_video = transfer_syntax(file.transfer_syntax_uid).is_video
    return file.pixel_data_offset is not None and file.frames is not None and not is_video


def _nothing_to_see(path: ResourcePath) -> NotFoundError:
    name = path.level.name.lower()
    return NotFoundError(f"The specified {name} has no pixel data that can be rendered.")


def _unpadded(document: Document, length: int) -> int:
    """The length of an encapsulated document without the byte that makes it even."""
    told = value(document, _DOCUMENT_LENGTH)
    return told if isinstance(told, int) and told == length - 1 else length


async def _only(one: Rendered) -> AsyncIterator[Rendered]:
    yield one


async def _iterate(frames: Sequence[int]) -> AsyncIterator[int]:
    for frame in frames:
        yield frame


async def _once(content: bytes) -> AsyncIterator[Chunk]:
    yield content


async def _viewed(chunks: AsyncIterator[Buffer]) -> AsyncIterator[Chunk]:
    async for chunk in chunks:
        yield memoryview(chunk)


async def _chain(
    first: StoredInstance, rest: AsyncIterator[StoredInstance]
) -> AsyncIterator[StoredInstance]:
    yield first
    async for instance in rest:
        yield instance
