"""Writing the blobs of one instance while its bytes arrive, and learning what it is."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from shared.dicom.blob_names import (
    dicom_blob,
    frames_blob,
    instance_blobs,
    metadata_blob,
    new_blob_id,
)
from shared.dicom.header import Header, Limits, NeedsPydicom
from shared.dicom.part10 import Part10Scanner, scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.dicom.searchable import indexed_attributes
from shared.dicom.validation import Verdict
from shared.errors import InvalidInstanceError
from shared.ports import BlobStore, InstanceFile, NewInstance
from shared.services.blob_file import open_blob
from shared.services.metadata_file import MetadataFile, compress

SMALL_BYTES = 1_048_576
"""Up to here a file is held in memory; a bigger one passes through to its blob."""

_LARGEST_FOR_PYDICOM_BYTES = 268_435_456
_LARGEST_INLINE_FRAME_MAP = 4096


@dataclass(frozen=True, slots=True)
class WrittenInstance:
    """An instance whose blobs are durable and that no index names yet."""

    instance: NewInstance
    header: Header
    verdict: Verdict

    @property
    def blob_names(self) -> tuple[str, ...]:
        """The blobs that were written."""
        file = self.instance.file
        return instance_blobs(file.blob_id, has_frames_blob=file.frames == "blob")

    def checked_again(self, check: "Check") -> "WrittenInstance | RefusedInstance":
        """What comes of it when it is checked for other extended query tags than before."""
        verdict = check(self.header)
        if verdict.failures:
            return RefusedInstance(self.header, verdict)
        instance = replace(self.instance, tag_values=verdict.tag_values)
        return WrittenInstance(instance, self.header, replace(verdict, document={}))


@dataclass(frozen=True, slots=True)
class RefusedInstance:
    """A data set that was read and found wanting; none of its blobs is left."""

    header: Header
    verdict: Verdict


type Check = Callable[[Header], Verdict]
type Chunk = bytes | memoryview


class InstanceWriter:
    """Writes DICOM files, their metadata and frame maps to blob storage."""

    def __init__(self, blobs: BlobStore, *, bulk_data_threshold_bytes: int) -> None:
        self._blobs = blobs
        self._limits = Limits(bulk_threshold=bulk_data_threshold_bytes)

    async def write_small(
        self, chunks: Sequence[Chunk], partition_name: str, check: Check
    ) -> WrittenInstance | RefusedInstance:
        """Write a file that is held in memory.

        Raises:
            InvalidInstanceError: These bytes are no DICOM file.
        """
        prepared = await asyncio.to_thread(self._prepare, chunks, partition_name, check)
        if isinstance(prepared, RefusedInstance):
            return prepared
        content, written, side_blobs = prepared
        name = dicom_blob(written.instance.file.blob_id)
        await asyncio.gather(
            self._blobs.put(name, content),
            *(self._blobs.put(side, data) for side, data in side_blobs),
        )
        return written

    async def write_large(
        self, chunks: AsyncIterator[Chunk], partition_name: str, check: Check
    ) -> WrittenInstance | RefusedInstance:
        """Write a file of any size in constant memory.

        Raises:
            InvalidInstanceError: These bytes are no DICOM file; nothing is left of them.
        """
        blob_id = new_blob_id()
        name = dicom_blob(blob_id)
        reading = _Reading(self._limits)
        length = await self._blobs.put_stream(name, reading.passing(chunks))
        try:
            header = await self._header(reading, name, length)
            received = _Received(blob_id, length, reading.sha256)
            outcome = await asyncio.to_thread(_describe, header, received, partition_name, check)
        except BaseException:
            await asyncio.shield(self._blobs.delete([name]))
            raise
        if isinstance(outcome, RefusedInstance):
            await self._blobs.delete([name])
            return outcome
        written, side_blobs = outcome
        await asyncio.gather(*(self._blobs.put(side, data) for side, data in side_blobs))
        return written

    def _prepare(
        self, chunks: Sequence[Chunk], partition_name: str, check: Check
    ) -> "tuple[Chunk, WrittenInstance, _SideBlobs] | RefusedInstance":
        content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            header = scan(content, self._limits)
        except NeedsPydicom:
            header = read_with_pydicom(io.BytesIO(content), self._limits)
        received = _Received(new_blob_id(), len(content), hashlib.sha256(content).hexdigest())
        outcome = _describe(header, received, partition_name, check)
        if isinstance(outcome, RefusedInstance):
            return outcome
        return content, *outcome

    async def _header(self, reading: "_Reading", name: str, length: int) -> Header:
        try:
            return await asyncio.to_thread(reading.finish)
        except NeedsPydicom as reason:
            _check_length(length, reason)
            file = open_blob(self._blobs, name, length, asyncio.get_running_loop())
            return await asyncio.to_thread(read_with_pydicom, file, self._limits)


type _SideBlobs = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class _Received:
    blob_id: str
    length: int
    sha256: str


class _Reading:
    """Scans and digests a file while its chunks pass through."""

    def __init__(self, limits: Limits) -> None:
        self._scanner = Part10Scanner(limits)
        self._digest = hashlib.sha256()
        self._gave_up: NeedsPydicom | None = None
        self._length = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    async def passing(self, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        waiting: list[Chunk] = []
        size = 0
        async for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            if size >= SMALL_BYTES:
                # A thread hop costs more than it saves for a single chunk off the socket.
                await asyncio.to_thread(self._feed, waiting)
                for item in waiting:
                    yield item
                waiting, size = [], 0
        await asyncio.to_thread(self._feed, waiting)
        for item in waiting:
            yield item

    def _feed(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self._digest.update(chunk)
            self._length += len(chunk)
            if self._gave_up is not None:
                _check_length(self._length, self._gave_up)
            else:
                try:
                    self._scanner.feed(chunk)
                except NeedsPydicom as reason:
                    self._gave_up = reason

    def finish(self) -> Header:
        if self._gave_up is not None:
            raise self._gave_up
        return self._scanner.finish()


def _check_length(length: int, reason: NeedsPydicom) -> None:
    if length > _LARGEST_FOR_PYDICOM_BYTES:
        raise InvalidInstanceError("A file of this size is not taken in this encoding.") from reason


def _describe(
    header: Header, received: _Received, partition_name: str, check: Check
) -> tuple[WrittenInstance, _SideBlobs] | RefusedInstance:
    verdict = check(header)
    if verdict.failures or verdict.path is None:
        return RefusedInstance(header, verdict)
    side_blobs: _SideBlobs = []
    frames = None if header.frames is None else header.frames.to_json()
    if frames is not None and len(frames) > _LARGEST_INLINE_FRAME_MAP:
        side_blobs.append((frames_blob(received.blob_id), compress(frames.encode())))
        frames = "blob"
    for bulk in header.bulk_values:
        bulk.element["BulkDataURI"] = f"{verdict.path}/bulkdata/{bulk.path}"
    file = InstanceFile(
        blob_id=received.blob_id,
        length=received.length,
        sha256=received.sha256,
        transfer_syntax_uid=header.transfer_syntax_uid,
        pixel_data_offset=None if header.pixel_data is None else header.pixel_data.offset,
        frames=frames,
    )
    document = verdict.document
    metadata = MetadataFile(
        partition_name=partition_name,
        path=verdict.path,
        file=file,
        bulk={bulk.path: (bulk.offset, bulk.length) for bulk in header.bulk_values},
        document=document,
    )
    side_blobs.append((metadata_blob(received.blob_id), metadata.pack()))
    instance = NewInstance(verdict.path, file, indexed_attributes(document), verdict.tag_values)
    return WrittenInstance(instance, header, replace(verdict, document={})), side_blobs
