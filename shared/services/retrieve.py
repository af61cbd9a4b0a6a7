"""Retrieve: give back instances and frames as they are stored (PS3.18 10.4, 2025b)."""

from collections import Counter
from collections.abc import AsyncIterator, Buffer, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.dicom.blob_names import dicom_blob, frames_blob
from shared.dicom.frames import ByteRange, FramePositions, NativeFrames, from_json
from shared.dicom.resource import ResourcePath
from shared.dicomweb.media_type import AS_STORED, Representation
from shared.dicomweb.multipart import Chunk
from shared.errors import NotAcceptableError, NotFoundError
from shared.ports import BlobStore, Index, Partition, StoredInstance
from shared.services.metadata_file import decompress
from shared.services.read_ahead import read_ahead

_SMALL_BYTES = 1_048_576
_READS_AT_ONCE = 4
_FRAME_GROUP_BYTES = 4_194_304


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of an instance or a frame; `length` in bytes."""

    transfer_syntax_uid: str
    length: int
    body: AsyncIterator[Chunk]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What is sent, and in which of the acceptable ways.

    Attributes:
        omitted: How many instances cannot be given in this way.
    """

    representation: Representation
    contents: AsyncIterator[Content]
    omitted: int = 0


class Retrieve:
    """Streams stored files, and frames by byte range."""

    def __init__(self, blobs: BlobStore, index: Index) -> None:
        self._blobs = blobs
        self._index = index

    async def instances(
        self,
        partition: Partition,
        path: ResourcePath,
        ways: Sequence[Representation],
        *,
        version: int,
    ) -> Retrieval:
        """The files at or below a path, in the first of the ways that gives the most of them.

        Raises:
            NotFoundError: Nothing is there.
            NotAcceptableError: None of them can be given in any of the ways; in v1 also when a
                transfer syntax is asked for and there are several instances.
        """
        instances = self._index.instances(partition, path)
        if ways[0].transfer_syntax_uid == AS_STORED:
            first = await anext(instances, None)
            if first is None:
                raise _not_found(path)
            return Retrieval(ways[0], self._contents(_chain(first, instances)))
        stored: Counter[str] = Counter()
        async for instance in instances:
            stored[instance.file.transfer_syntax_uid] += 1
            if version == 1 and stored.total() > 1:
                raise _not_given("instances")
        if not stored:
            raise _not_found(path)
        way = max(ways, key=lambda way: _given(way, stored))
        given = _given(way, stored)
        if not given:
            raise _not_given("instances")
        wanted = (
            instance
            async for instance in self._index.instances(partition, path)
            if way.transfer_syntax_uid in (AS_STORED, instance.file.transfer_syntax_uid)
        )
        return Retrieval(way, self._contents(wanted), stored.total() - given)

    async def frames(
        self,
        partition: Partition,
        path: ResourcePath,
        numbers: Sequence[int],
        ways: Sequence[Representation],
    ) -> Retrieval:
        """Frames of an instance, 1-based, in the order asked; all are checked before any is read.

        The representation that is given names the transfer syntax that the frames are sent in.

        Raises:
            NotFoundError: There is no such instance, it has no pixel data, or no such frame.
            NotAcceptableError: It is stored in another transfer syntax, or its frames cannot be
                told apart.
        """
        instance = await self._index.find_instance(partition, path)
        if instance is None:
            raise _not_found(path)
        positions = await self._positions(instance)
        if max(numbers) > positions.count:
            raise NotFoundError("The specified frame cannot be found.")
        stored = instance.file.transfer_syntax_uid
        way = next((way for way in ways if way.is_given_in(stored)), None)
        if way is None:
            raise _not_given("frames")
        way = way.given_from(stored)
        name = dicom_blob(instance.file.blob_id)
        frames = [number - 1 for number in numbers]
        return Retrieval(way, self._frames(name, way.transfer_syntax_uid, positions, frames))

    async def _positions(self, instance: StoredInstance) -> FramePositions:
        file = instance.file
        if file.pixel_data_offset is None:
            raise NotFoundError("The specified instance has no pixel data.")
        if file.frames is None:
            raise NotAcceptableError("The frames of this instance cannot be told apart.")
        text = file.frames
        if text == "blob":
            text = decompress(await self._blobs.get(frames_blob(file.blob_id))).decode()
        return from_json(text)

    async def _frames(
        self, name: str, syntax: str, positions: FramePositions, frames: Sequence[int]
    ) -> AsyncIterator[Content]:
        for group in _groups(positions, frames):
            if (large := _large_frame(positions, group)) is not None:
                length = sum(piece.length for piece in large)
                yield Content(syntax, length, self._pieces(name, large))
                continue
            ranges = [positions.range_of(frame) for frame in group]
            read = await self._blobs.get_ranges(
                name, [piece for frame in ranges for piece in frame]
            )
            pieces = iter(read)
            for frame, frame_ranges in zip(group, ranges, strict=True):
                content = [next(pieces) for _ in frame_ranges]
                if isinstance(positions, NativeFrames) and positions.frame_bits % 8:
                    content = [_bits(content[0], positions.bit_offset(frame), positions.frame_bits)]
                length = sum(memoryview(piece).nbytes for piece in content)
                yield Content(syntax, length, _each(content))

    async def _pieces(self, name: str, pieces: Sequence[ByteRange]) -> AsyncIterator[Chunk]:
        for piece in pieces:
            async for chunk in self._blobs.stream(name, piece.offset, piece.length):
                yield memoryview(chunk)

    async def _contents(self, instances: AsyncIterator[StoredInstance]) -> AsyncIterator[Content]:
        async for content in read_ahead(instances, self._content, depth=_READS_AT_ONCE):
            yield content

    async def _content(self, instance: StoredInstance) -> Content:
        file = instance.file
        name = dicom_blob(file.blob_id)
        if file.length <= _SMALL_BYTES:
            body = _each([await self._blobs.get(name)])
        else:
            body = _stream(self._blobs.stream(name))
        return Content(file.transfer_syntax_uid, file.length, body)


def _not_found(path: ResourcePath) -> NotFoundError:
    return NotFoundError(f"The specified {path.level.name.lower()} cannot be found.")


def _not_given(what: str) -> NotAcceptableError:
    return NotAcceptableError(
        f"The {what} are not stored in the transfer syntax asked for; "
        "transfer-syntax=* gives them as they are."
    )


def _given(way: Representation, stored: Mapping[str, int]) -> int:
    """How many instances a way gives, of as many as are stored in each transfer syntax."""
    if way.transfer_syntax_uid == AS_STORED:
        return sum(stored.values())
    return stored.get(way.transfer_syntax_uid, 0)


def _large_frame(positions: FramePositions, group: Sequence[int]) -> Sequence[ByteRange] | None:
    """The ranges of a frame that is too large to be held, and needs no shifting of its bits."""
    if len(group) > 1 or (isinstance(positions, NativeFrames) and positions.frame_bits % 8):
        return None
    pieces = positions.range_of(group[0])
    return pieces if sum(piece.length for piece in pieces) >= _FRAME_GROUP_BYTES else None


def _groups(positions: FramePositions, frames: Sequence[int]) -> Iterator[Sequence[int]]:
    """Split a list of frames into groups of a few MiB, each read at once."""
    group: list[int] = []
    size = 0
    for frame in frames:
        length = sum(piece.length for piece in positions.range_of(frame))
        if group and size + length > _FRAME_GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(frame)
        size += length
    if group:
        yield group


def _bits(content: Buffer, first: int, count: int) -> bytes:
    """Let a frame of 1-bit pixels, which may begin and end within a byte, stand alone."""
    bits = int.from_bytes(memoryview(content), "little") >> first & (1 << count) - 1
    return bits.to_bytes((count + 7) // 8, "little")


async def _each(pieces: Sequence[Buffer]) -> AsyncIterator[Chunk]:
    for piece in pieces:
        yield memoryview(piece)


async def _chain(
    first: StoredInstance, rest: AsyncIterator[StoredInstance]
) -> AsyncIterator[StoredInstance]:
    yield first
    async for instance in rest:
        yield instance


async def _stream(pieces: AsyncIterator[Buffer]) -> AsyncIterator[Chunk]:
    async for piece in pieces:
        yield memoryview(piece)
