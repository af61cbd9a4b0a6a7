"""Transcoding: stored instances and frames in another transfer syntax (PS3.18 8.7.3.5, 2025b)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile

from shared.dicom.pixels.decode import DEFLATED_IMAGE_FRAME
from shared.dicom.pixels.encode import TARGETS
from shared.dicom.pixels.transcode import is_native, transcode_frame
from shared.dicom.pixels.transcoded_file import transcode_file
from shared.dicom.reencoding import reencode
from shared.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from shared.errors import NotAcceptableError
from shared.ports import InstanceFile
from shared.services.images import Images, OpenImage
from shared.services.pixel_work import PixelWork

HELD_LENGTH = 8 << 20
"""Bytes of a transcoded file that are held in memory until it is whole; more go to the disk."""

MAX_SPOOLED_LENGTH = 256 << 20
"""Bytes that are kept of a transcoded file until it is whole: beyond, it is given as it comes."""

_CHUNK_LENGTH = 1 << 20
_DECODED_MEDIA_TYPES = frozenset(
    {"image/jpeg", "image/jls", "image/jp2", "image/jphc", "image/dicom-rle"}
)


def can_decode(syntax_uid: str) -> bool:
    """Whether there is a decoder for frames in a transfer syntax."""
    known = transfer_syntax(syntax_uid)
    return (
        is_native(syntax_uid)
        or known.frame_media_type in _DECODED_MEDIA_TYPES
        or syntax_uid == DEFLATED_IMAGE_FRAME
    )


def can_transcode(syntax_uid: str, target: str, *, has_pixels: bool) -> bool:
    """Whether an instance in a transfer syntax may be given in another.

    Whether it can is known when its first frame is decoded.
    """
    if not has_pixels:
        return target == EXPLICIT_VR_LITTLE_ENDIAN
    return target in TARGETS and can_decode(syntax_uid)


class Transcoding:
    """Gives frame by frame what is stored in one transfer syntax in another."""

    def __init__(self, images: Images, work: PixelWork) -> None:
        self._images = images
        self._work = work

    async def frame(self, image: OpenImage, index: int, target: str) -> bytes:
        """A frame, counted from 0, in another transfer syntax.

        Raises:
            NotAcceptableError: It cannot be decoded, or not be encoded so.
        """
        stored = await image.frame(index)
        description = image.description()
        encoded = await self._work.run(lambda: transcode_frame(stored, description, target))
        return encoded.content

    async def instance(
        self, file: InstanceFile, target: str, *, is_whole: bool = False
    ) -> AsyncIterator[bytes]:
        """A file in another transfer syntax, begun: what fails at once has failed.

        With `is_whole`, all of it has been transcoded then, up to `MAX_SPOOLED_LENGTH`.

        Raises:
            NotAcceptableError: It cannot be decoded, or not be encoded so; or there is no room to
                keep it until it is whole.
        """
        pieces = self._pieces(file, target)
        if is_whole:
            pieces = _spooled(pieces)
        return _chain(await anext(pieces), pieces)

    async def _pieces(self, file: InstanceFile, target: str) -> AsyncIterator[bytes]:
        if file.pixel_data_offset is None:
            dataset = await self._images.data_set(file)
            yield await self._work.run(lambda: reencode(dataset))
            return
        async with self._images.open_whole(file) as image:
            if image.positions.count != image.description().number_of_frames:
                raise NotAcceptableError("The instance has not as many frames as it declares.")
            loop, indexes = asyncio.get_running_loop(), range(image.positions.count)
            steps = transcode_file(
                image.data_set,
                (frame for _, frame in image.frames_for_thread(loop, indexes)),
                target,
                pixel_data=image.pixel_data,
            )
            async for piece in self._work.steps(steps):
                yield piece


async def _spooled(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give nothing of the pieces before the last is there, or as many as are kept on the disk."""
    with SpooledTemporaryFile(HELD_LENGTH) as file:
        length = 0
        async for piece in pieces:
            with _room():
                await asyncio.to_thread(file.write, piece)
            length += len(piece)
            if length > MAX_SPOOLED_LENGTH:
                break
        with _room():
            await asyncio.to_thread(file.seek, 0)
        while chunk := await asyncio.to_thread(file.read, _CHUNK_LENGTH):
            yield chunk
    async for piece in pieces:
        yield piece


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotAcceptableError("There is no room to transcode the instance now.") from error


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
