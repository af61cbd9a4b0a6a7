"""Transcoding: stored instances and frames in another transfer syntax (PS3.18 8.7.3.5, 2025b)."""

import asyncio
from collections.abc import AsyncIterator

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

    async def instance(self, file: InstanceFile, target: str) -> AsyncIterator[bytes]:
        """A whole file in another transfer syntax, begun: what fails at once has failed.

        Raises:
            NotAcceptableError: It cannot be decoded, or not be encoded so.
        """
        pieces = self._pieces(file, target)
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


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
