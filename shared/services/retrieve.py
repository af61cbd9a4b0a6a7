"""Retrieve: give back instances and frames, as they are stored if that is acceptable.

Standard: PS3.18 10.4 (2025b).
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Buffer, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from shared.dicom.frames import FramePositions
from shared.dicom.resource import ResourcePath
from shared.dicom.transfer_syntax import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
from shared.dicomweb.media_type import AS_STORED, Representation
from shared.dicomweb.multipart import Chunk
from shared.errors import NotAcceptableError, NotFoundError
from shared.ports import BlobStore, Index, InstanceFile, Partition, StoredInstance
from shared.services.images import Images, OpenImage, frame_positions
from shared.services.missing import missing
from shared.services.pixel_work import AT_ONCE
from shared.services.read_ahead import read_ahead
from shared.services.stored_frames import stored_frames
from shared.services.transcoding import Transcoding, can_transcode
from shared.services.version_file import version_file

_READS_AT_ONCE = 4
_LARGEST_TRANSCODED_V1_BYTES = 104_857_600


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of an instance, or of a frame of it.

    `length` in bytes, None while it is not known.
    """

    path: ResourcePath
    transfer_syntax_uid: str
    length: int | None
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


@dataclass(frozen=True, slots=True)
class _Kind:
    """What decides whether instances can be given in a transfer syntax."""

    transfer_syntax_uid: str
    has_pixels: bool

    @classmethod
    def of(cls, file: InstanceFile) -> "_Kind":
        return cls(file.transfer_syntax_uid, file.pixel_data_offset is not None)

    def is_given_in(self, syntax_uid: str) -> bool:
        """Whether they are stored so, or may be transcoded."""
        return self.is_stored_in(syntax_uid) or can_transcode(
            self.transfer_syntax_uid, syntax_uid, has_pixels=self.has_pixels
        )

    def is_stored_in(self, syntax_uid: str) -> bool:
        return syntax_uid in (AS_STORED, self.transfer_syntax_uid)


class Retrieve:
    """Streams stored files, and frames by byte range; transcodes them where it must."""

    def __init__(
        self, blobs: BlobStore, index: Index, images: Images, transcoding: Transcoding
    ) -> None:
        self._blobs = blobs
        self._index = index
        self._images = images
        self._transcoding = transcoding

    async def instances(
        self,
        partition: Partition,
        path: ResourcePath,
        ways: Sequence[Representation],
        *,
        version: int,
        original: bool = False,
    ) -> Retrieval:
        """The files at or below a path, in the way that gives the most of them.

        Of ways that give as many, the one that transcodes the fewest is taken, then the first.
        With `original`, they are given as they were stored, whatever has been updated since.

        Raises:
            NotFoundError: Nothing is there.
            NotAcceptableError: None of them can be given in any of the ways; in v1 also when a
                transfer syntax is asked for and there are several instances, or a large one.
        """
        instances = self._versions(partition, path, original=original)
        if ways[0].transfer_syntax_uid == AS_STORED:
            first = await anext(instances, None)
            if first is None:
                raise await missing(self._index, partition, path, version=version)
            return Retrieval(ways[0], self._contents(_chain(first, instances), self._as_stored))
        stored: Counter[_Kind] = Counter()
        async for instance in instances:
            stored[_Kind.of(instance.file)] += 1
            if version == 1 and stored.total() > 1:
                raise _not_given("instances")
            if version == 1:
                _check_length(instance.file, ways[0].transfer_syntax_uid)
        if not stored:
            raise await missing(self._index, partition, path, version=version)
        way = max(ways, key=lambda way: _given(way.transfer_syntax_uid, stored))
        given, _ = _given(way.transfer_syntax_uid, stored)
        if not given:
            raise _not_given("instances")
        syntax_uid = way.transfer_syntax_uid
        wanted = (
            instance
            async for instance in self._versions(partition, path, original=original)
            if _Kind.of(instance.file).is_given_in(syntax_uid)
        )
        load = partial(self._given, syntax_uid, is_only=stored.total() == 1)
        return Retrieval(way, self._contents(wanted, load), stored.total() - given)

    async def frames(
        self,
        partition: Partition,
        path: ResourcePath,
        numbers: Sequence[int],
        ways: Sequence[Representation],
        *,
        version: int,
    ) -> Retrieval:
        """Frames of an instance, 1-based, in the order asked; all are checked before any is read.

        The representation that is given names the transfer syntax that the frames are sent in.

        Raises:
            NotFoundError: There is no such instance, it has no pixel data, or no such frame.
            NotAcceptableError: It can be given in none of the ways, or its frames cannot be told
                apart; in v1 also when it is large and would have to be transcoded.
        """
        instance = await self._index.find_instance(partition, path)
        if instance is None:
            raise await missing(self._index, partition, path, version=version)
        file = instance.file
        positions = await frame_positions(self._blobs, file)
        if max(numbers) > positions.count:
            raise NotFoundError("The specified frame cannot be found.")
        frames = [number - 1 for number in numbers]
        stored = file.transfer_syntax_uid
        # The Standard knows frames only in little endian (PS3.18 8.7.3.3.2, 2025b).
        is_turned = version > 1 and stored == EXPLICIT_VR_BIG_ENDIAN
        sent = EXPLICIT_VR_LITTLE_ENDIAN if is_turned else stored
        way = next((way.given_from(sent) for way in ways if way.is_given_in(sent)), None)
        if way is None:
            way = _transcoded(ways, stored)
        elif not is_turned:
            contents = self._stored_frames(instance, way.transfer_syntax_uid, positions, frames)
            return Retrieval(way, contents)
        if version == 1:
            _check_length(file, way.transfer_syntax_uid)
        image = await self._images.open(file)
        return Retrieval(way, self._transcoded_frames(path, image, way, frames))

    async def _versions(
        self, partition: Partition, path: ResourcePath, *, original: bool
    ) -> AsyncIterator[StoredInstance]:
        async for instance in self._index.instances(partition, path):
            yield replace(instance, file=instance.file.as_stored) if original else instance

    async def _stored_frames(
        self,
        instance: StoredInstance,
        syntax_uid: str,
        positions: FramePositions,
        frames: Sequence[int],
    ) -> AsyncIterator[Content]:
        async for length, body in stored_frames(self._blobs, instance.file, positions, frames):
            yield Content(instance.path, syntax_uid, length, body)

    async def _transcoded_frames(
        self, path: ResourcePath, image: OpenImage, way: Representation, frames: Sequence[int]
    ) -> AsyncIterator[Content]:
        target = way.transfer_syntax_uid
        async with image.for_many_frames() as opened:

            async def load(index: int) -> Content:
                content = await self._transcoding.frame(opened, index, target)
                return Content(path, target, len(content), _each([content]))

            async for content in read_ahead(_iterate(frames), load, depth=AT_ONCE):
                yield content

    async def _contents(
        self,
        instances: AsyncIterator[StoredInstance],
        load: Callable[[StoredInstance], Awaitable[Content]],
    ) -> AsyncIterator[Content]:
        async for content in read_ahead(instances, load, depth=_READS_AT_ONCE):
            yield content

    async def _given(self, syntax_uid: str, instance: StoredInstance, *, is_only: bool) -> Content:
        file = instance.file
        if _Kind.of(file).is_stored_in(syntax_uid):
            return await self._as_stored(instance)
        try:
            body = await self._transcoding.instance(file, syntax_uid, is_whole=not is_only)
        except NotAcceptableError:
            if is_only:
                raise
            # The answer is on its way: the file itself, named as what it is, loses nothing.
            return await self._as_stored(instance)
        return Content(instance.path, syntax_uid, None, body)

    async def _as_stored(self, instance: StoredInstance) -> Content:
        file = instance.file
        body = await version_file(self._blobs, file)
        return Content(instance.path, file.transfer_syntax_uid, file.version_length, body)


def _not_given(what: str) -> NotAcceptableError:
    return NotAcceptableError(
        f"The {what} cannot be given in the transfer syntax asked for; "
        "transfer-syntax=* gives them as they are."
    )


def _check_length(file: InstanceFile, syntax_uid: str) -> None:
    is_stored = syntax_uid in (AS_STORED, file.transfer_syntax_uid)
    if not is_stored and file.length > _LARGEST_TRANSCODED_V1_BYTES:
        raise NotAcceptableError("The instance is too large to be transcoded.")


def _given(syntax_uid: str, stored: Mapping[_Kind, int]) -> tuple[int, int]:
    """How many instances can be given in a transfer syntax, and how many of them as stored."""
    given = sum(count for kind, count in stored.items() if kind.is_given_in(syntax_uid))
    as_stored = sum(count for kind, count in stored.items() if kind.is_stored_in(syntax_uid))
    return given, as_stored


def _transcoded(ways: Sequence[Representation], stored_syntax_uid: str) -> Representation:
    """The first way that frames can be transcoded for, with the transfer syntax they get."""
    for way in ways:
        target = way.transcoded_to
        if target is not None and can_transcode(stored_syntax_uid, target, has_pixels=True):
            return replace(way, transfer_syntax_uid=target)
    raise _not_given("frames")


async def _iterate(frames: Sequence[int]) -> AsyncIterator[int]:
    for frame in frames:
        yield frame


async def _each(pieces: Sequence[Buffer]) -> AsyncIterator[Chunk]:
    for piece in pieces:
        yield memoryview(piece)


async def _chain(
    first: StoredInstance, rest: AsyncIterator[StoredInstance]
) -> AsyncIterator[StoredInstance]:
    yield first
    async for instance in rest:
        yield instance
