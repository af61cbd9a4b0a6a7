"""Frames as they are stored, read by byte range."""

from collections.abc import AsyncIterator, Buffer, Iterator, Sequence
from contextlib import nullcontext

from shared.dicom.frames import ByteRange, FramePositions, NativeFrames
from shared.dicomweb.multipart import Chunk
from shared.ports import BlobStore, InstanceFile
from shared.services.stored_file import StoredFile, spooled, stored_file

_GROUP_BYTES = 4_194_304


async def stored_frames(
    blobs: BlobStore, file: InstanceFile, positions: FramePositions, frames: Sequence[int]
) -> AsyncIterator[tuple[int, AsyncIterator[Chunk]]]:
    """Each of the frames, counted from 0: its length in bytes, and its content."""
    content = stored_file(blobs, file)
    groups = list(_groups(positions, frames))
    async with spooled(content) if len(groups) > 1 else nullcontext(content) as opened:
        for group in groups:
            async for frame in _group(opened, positions, group):
                yield frame


async def _group(
    content: StoredFile, positions: FramePositions, group: Sequence[int]
) -> AsyncIterator[tuple[int, AsyncIterator[Chunk]]]:
    if (large := _large_frame(positions, group)) is not None:
        yield sum(piece.length for piece in large), _pieces(content, large)
        return
    ranges = [positions.range_of(frame) for frame in group]
    read = iter(await content.read([piece for frame in ranges for piece in frame]))
    for frame, frame_ranges in zip(group, ranges, strict=True):
        held = [next(read) for _ in frame_ranges]
        if isinstance(positions, NativeFrames) and positions.frame_bits % 8:
            held = [_bits(held[0], positions.bit_offset(frame), positions.frame_bits)]
        yield sum(memoryview(piece).nbytes for piece in held), _each(held)


def _groups(positions: FramePositions, frames: Sequence[int]) -> Iterator[Sequence[int]]:
    """Split a list of frames into groups of a few MiB, each read at once."""
    group: list[int] = []
    size = 0
    for frame in frames:
        length = sum(piece.length for piece in positions.range_of(frame))
        if group and size + length > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(frame)
        size += length
    if group:
        yield group


def _large_frame(positions: FramePositions, group: Sequence[int]) -> Sequence[ByteRange] | None:
    """The ranges of a frame that is too large to be held, and needs no shifting of its bits."""
    if len(group) > 1 or (isinstance(positions, NativeFrames) and positions.frame_bits % 8):
        return None
    pieces = positions.range_of(group[0])
    return pieces if sum(piece.length for piece in pieces) >= _GROUP_BYTES else None


async def _pieces(content: StoredFile, pieces: Sequence[ByteRange]) -> AsyncIterator[Chunk]:
    for piece in pieces:
        async for chunk in content.stream(piece.offset, piece.length):
            yield memoryview(chunk)


def _bits(content: Buffer, first: int, count: int) -> bytes:
    """Let a frame of 1-bit pixels, which may begin and end within a byte, stand alone."""
    bits = int.from_bytes(memoryview(content), "little") >> first & (1 << count) - 1
    return bits.to_bytes((count + 7) // 8, "little")


async def _each(pieces: Sequence[Buffer]) -> AsyncIterator[Chunk]:
    for piece in pieces:
        yield memoryview(piece)
