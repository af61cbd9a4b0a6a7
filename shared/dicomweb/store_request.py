"""The instances in the body of a Store request (PS3.18 10.5.1, 2025b)."""

import re
from collections.abc import AsyncIterator, Mapping

from shared.dicomweb.media_type import DICOM, MULTIPART, MediaType, parse_media_type
from shared.dicomweb.metadata_request import METADATA, composed_instances, part_type
from shared.dicomweb.multipart import Chunk, MultipartLimits, MultipartReader, Part
from shared.errors import (
    InvalidRequestError,
    MalformedMultipartError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)

_LENGTH = re.compile(r"\d{1,18}\Z", re.ASCII)


def instance_bodies(
    headers: Mapping[str, str], body: AsyncIterator[bytes], limits: MultipartLimits, *, version: int
) -> AsyncIterator[AsyncIterator[Chunk]]:
    """The bodies of the instances that a request holds, each to be read before the next one.

    What the headers, whose names are in lower case, tell to be wrong is refused before a byte of
    the body is read: a client that waits for 100 (Continue) need not send it.

    v1 takes a single instance only as application/dicom without parameters, and several only as
    application/dicom; v2 also takes metadata and bulk data.

    Raises:
        UnsupportedMediaTypeError: The request, or later one of its parts, is of another type.
        InvalidRequestError: A start parameter is given: there is no root part.
        MalformedMultipartError: Later: the body breaks the grammar of multipart/related.
        PayloadTooLargeError: The declared length is over a limit, or later one is reached.
    """
    media_type = parse_media_type(headers.get("content-type", ""))
    declared = headers.get("content-length", "")
    length = int(declared) if _LENGTH.match(declared) else 0
    if media_type.name == DICOM and not (version == 1 and media_type.parameters):
        limit = min(limits.max_part_bytes, limits.max_total_bytes)
        if length > limit:
            raise _too_large(limit)
        return _single(body, limit)
    if media_type.name != MULTIPART:
        raise UnsupportedMediaTypeError(
            "Instances are stored as application/dicom, alone or in multipart/related."
        )
    if "start" in media_type.parameters:
        raise InvalidRequestError("A start parameter is not supported: there is no root part.")
    try:
        reader = MultipartReader(body, media_type.parameters.get("boundary", ""), limits)
    except MalformedMultipartError as error:
        raise UnsupportedMediaTypeError(
            "The boundary parameter is missing or malformed."
        ) from error
    if length > limits.max_total_bytes:
        raise PayloadTooLargeError(f"The request is over {limits.max_total_bytes} bytes.")
    parts = _parts(reader, media_type)
    return _instances(parts, takes_metadata=version > 1, max_instances=limits.max_parts)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"An instance may have {limit} bytes at most.")


async def _single(body: AsyncIterator[bytes], limit: int) -> AsyncIterator[AsyncIterator[Chunk]]:
    yield _bounded(body, limit)


async def _bounded(body: AsyncIterator[bytes], limit: int) -> AsyncIterator[Chunk]:
    left = limit
    async for chunk in body:
        left -= len(chunk)
        if left < 0:
            raise _too_large(limit)
        yield chunk


async def _parts(
    reader: MultipartReader, whole: MediaType
) -> AsyncIterator[tuple[MediaType, Part]]:
    default = whole.parameters.get("type")
    async for part in reader:
        body = part.body if part.headers else await _begun(part.body)
        if body is None:
            continue  # No part: some clients frame an empty body so.
        yield part_type(part.headers.get("content-type", default)), Part(part.headers, body)
        # Only the first part may leave its type to that of the whole.
        default = None


async def _instances(
    parts: AsyncIterator[tuple[MediaType, Part]], *, takes_metadata: bool, max_instances: int
) -> AsyncIterator[AsyncIterator[Chunk]]:
    async for media_type, part in parts:
        if media_type.name in METADATA and takes_metadata:
            every_part = _again((media_type, part), parts)
            async for body in composed_instances(every_part, max_instances=max_instances):
                yield body
            return
        if media_type.name != DICOM:
            raise UnsupportedMediaTypeError("Every part must be application/dicom.")
        takes_metadata = False  # It would have been the first part.
        yield part.body


async def _again[T](first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    yield first
    async for item in rest:
        yield item


async def _begun(body: AsyncIterator[Chunk]) -> AsyncIterator[Chunk] | None:
    first = await anext(body, None)
    return None if first is None else _again(first, body)
