"""An instance as a whole file: as it was stored, or behind the head that an update has given it."""

from collections.abc import AsyncIterator, Buffer, Sequence

from shared.dicom.blob_names import dicom_blob
from shared.dicom.preamble import harmless
from shared.dicomweb.multipart import Chunk
from shared.ports import BlobStore, InstanceFile
from shared.services.stored_file import StoredFile, stored_file

_SMALL_BYTES = 1_048_576


async def version_file(blobs: BlobStore, file: InstanceFile) -> AsyncIterator[Chunk]:
    """The bytes of the newest version of an instance, `file.version_length` of them.

    A preamble that makes the file a program is given as zeros. A small file is read before this
    returns, so that one which is missing is told at once.

    Raises:
        BlobNotFoundError: It is gone, as after a deletion.
    """
    if file.version_length <= _SMALL_BYTES:
        start, *rest = await _parts(blobs, file)
        return _each([*harmless(start), *rest])
    return _harmless(_pieces(blobs, file))


def head_file(blobs: BlobStore, file: InstanceFile) -> StoredFile:
    """The head of an updated instance; one that stands for the whole file is a file of its own."""
    if file.head is None:
        raise ValueError(file.blob_id)
    head = InstanceFile(file.head.blob_id, file.head.length, file.sha256, file.transfer_syntax_uid)
    return stored_file(blobs, head)


async def _parts(blobs: BlobStore, file: InstanceFile) -> Sequence[Buffer]:
    if file.head is None:
        return [await blobs.get(dicom_blob(file.blob_id))]
    head = await blobs.get(dicom_blob(file.head.blob_id))
    offset = file.head.body_offset
    if file.head.is_whole(file.length):
        return [head]
    body = await blobs.get_ranges(dicom_blob(file.blob_id), [(offset, file.length - offset)])
    return [head, *body]


async def _pieces(blobs: BlobStore, file: InstanceFile) -> AsyncIterator[Buffer]:
    offset = 0
    if file.head is not None:
        offset = file.head.body_offset
        async for piece in blobs.stream(dicom_blob(file.head.blob_id)):
            yield piece
    if offset < file.length:
        async for piece in blobs.stream(dicom_blob(file.blob_id), offset):
            yield piece


async def _harmless(pieces: AsyncIterator[Buffer]) -> AsyncIterator[Chunk]:
    for piece in harmless(await anext(pieces, b"")):
        yield memoryview(piece)
    async for piece in pieces:
        yield memoryview(piece)


async def _each(pieces: Sequence[Buffer]) -> AsyncIterator[Chunk]:
    for piece in pieces:
        yield memoryview(piece)
