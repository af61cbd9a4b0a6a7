"""Bulk data: the values that metadata gives by reference (PS3.18 10.4.1.1.5, 2025b)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import batched
from typing import Any

from shared.dicom.blob_names import metadata_blob
from shared.dicom.dictionary import PIXEL_DATA
from shared.dicom.pixels.native import swap_bytes
from shared.dicom.resource import ResourcePath
from shared.dicom.transfer_syntax import OCTET_STREAM, transfer_syntax
from shared.dicom.value_representation import UNIT_LENGTHS
from shared.dicomweb.multipart import Chunk
from shared.errors import NotAcceptableError, NotFoundError
from shared.ports import BlobStore, Index, InstanceFile, Partition, StoredInstance
from shared.services.images import frame_positions
from shared.services.metadata_file import bulk_of, unpack
from shared.services.missing import missing
from shared.services.stored_file import StoredFile, spooled, stored_file
from shared.services.stored_frames import stored_frames

_PIXELS = "7FE00010"
_WIDTHS = {**UNIT_LENGTHS, "AT": 2, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


@dataclass(frozen=True, slots=True)
class BulkValue:
    """A value in a stored file; `length` in bytes, `watermark` that of its instance."""

    length: int
    watermark: int
    _content: StoredFile
    _offset: int
    _turned_width: int = 1

    async def stream(self, start: int = 0, length: int | None = None) -> AsyncIterator[Chunk]:
        """The value in little endian, or `length` bytes of it from `start`."""
        width = self._turned_width
        end = self.length if length is None else start + length
        first = start // width * width
        last = min(self.length, -(-end // width) * width)
        at = first
        async for piece in _turned(self._content.stream(self._offset + first, last - first), width):
            wanted = memoryview(piece)[max(0, start - at) : max(0, end - at)]
            at += len(piece)
            if len(wanted):
                yield wanted


@dataclass(frozen=True, slots=True)
class BulkPart:
    """A value or frame among others; `location` is its resource, below the service root."""

    location: str
    media_type: str
    body: AsyncIterator[Chunk]


class BulkData:
    """Reads bulk values from stored files."""

    def __init__(self, blobs: BlobStore, index: Index) -> None:
        self._blobs = blobs
        self._index = index

    async def value(
        self, partition: Partition, path: ResourcePath, reference: str, *, version: int
    ) -> BulkValue | int:
        """The value that metadata refers to; of encapsulated pixel data, the number of frames.

        Raises:
            NotFoundError: There is no such instance, or no such bulk value in it.
            NotAcceptableError: It is encapsulated, and its frames cannot be told apart.
        """
        instance = await self._index.find_instance(partition, path)
        if instance is None:
            raise await missing(self._index, partition, path, version=version)
        bulk = await self._bulk(instance.file)
        if reference not in bulk:
            raise NotFoundError("The instance has no such bulk data.")
        if _is_encapsulated(instance.file, reference):
            return (await frame_positions(self._blobs, instance.file)).count
        widths = await self._turned_widths(instance.file, [reference])
        content = stored_file(self._blobs, instance.file)
        offset, length = bulk[reference]
        return BulkValue(length, instance.watermark, content, offset, widths.get(reference, 1))

    async def parts(
        self, partition: Partition, path: ResourcePath, *, version: int
    ) -> AsyncIterator[BulkPart]:
        """Every bulk value at or below a path, and every frame of encapsulated pixel data.

        Raises:
            NotFoundError: Nothing is there, or no bulk data.
        """
        is_anything, is_bulk = False, False
        async for instance in self._index.instances(partition, path):
            is_anything = True
            async for part in self._parts(instance):
                is_bulk = True
                yield part
        if not is_anything:
            raise await missing(self._index, partition, path, version=version)
        if not is_bulk:
            raise NotFoundError(f"The specified {path.level.name.lower()} has no bulk data.")

    async def _parts(self, instance: StoredInstance) -> AsyncIterator[BulkPart]:
        bulk = await self._bulk(instance.file)
        widths = await self._turned_widths(instance.file, list(bulk))
        stored = stored_file(self._blobs, instance.file)
        async with spooled(stored) if len(bulk) > 1 else nullcontext(stored) as content:
            for reference, (offset, length) in bulk.items():
                if _is_encapsulated(instance.file, reference):
                    async for part in self._frames(instance):
                        yield part
                    continue
                width = widths.get(reference, 1)
                value = BulkValue(length, instance.watermark, content, offset, width)
                location = f"{instance.path}/bulkdata/{reference}"
                yield BulkPart(location, OCTET_STREAM, value.stream())

    async def _frames(self, instance: StoredInstance) -> AsyncIterator[BulkPart]:
        file = instance.file
        try:
            positions = await frame_positions(self._blobs, file)
        except NotAcceptableError:
            return  # What cannot be told apart has no resources of its own.
        syntax = transfer_syntax(file.transfer_syntax_uid)
        type_ = f"{syntax.frame_media_type}; transfer-syntax={syntax.uid}"
        frames = stored_frames(self._blobs, file, positions, range(positions.count))
        number = 0
        async for _, body in frames:
            number += 1
            yield BulkPart(f"{instance.path}/frames/{number}", type_, body)

    async def _bulk(self, file: InstanceFile) -> Mapping[str, tuple[int, int]]:
        content = await self._blobs.get(metadata_blob(file.metadata_id))
        places = await asyncio.to_thread(bulk_of, content)
        if transfer_syntax(file.transfer_syntax_uid).is_deflated:
            return places
        # What is noted of files that were cut off may be the length that they declare.
        return {
            path: (offset, min(length, file.length - offset))
            for path, (offset, length) in places.items()
            if offset < file.length
        }

    async def _turned_widths(self, file: InstanceFile, references: list[str]) -> dict[str, int]:
        """How many bytes are turned around in each value, where any are."""
        if transfer_syntax(file.transfer_syntax_uid).is_little_endian or not references:
            return {}
        content = await self._blobs.get(metadata_blob(file.metadata_id))
        document = (await asyncio.to_thread(unpack, content)).document
        return {path: _WIDTHS.get(_vr(document, path), 1) for path in references}


def _is_encapsulated(file: InstanceFile, reference: str) -> bool:
    syntax = transfer_syntax(file.transfer_syntax_uid)
    return reference in PIXEL_DATA and syntax.is_encapsulated


def _vr(document: dict[str, Any], path: str) -> str:
    """The VR of the attribute at a path of tags and 1-based item numbers."""
    *items, tag = path.split("/")
    for sequence, number in batched(items, 2, strict=True):
        document = document[sequence]["Value"][int(number) - 1]
    return str(document[tag]["vr"])


async def _turned(chunks: AsyncIterator[Any], width: int) -> AsyncIterator[Chunk]:
    """Turn around every `width` bytes, however the chunks are cut."""
    rest = b""
    async for chunk in chunks:
        if width == 1:
            yield memoryview(chunk)
            continue
        content = rest + bytes(chunk)
        whole = len(content) // width * width
        rest = content[whole:]
        yield swap_bytes(content[:whole], width)
    if rest:
        yield rest
