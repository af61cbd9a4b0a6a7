"""The instances in the body of a Store request (PS3.18 10.5.1, 2025b)."""

from collections.abc import AsyncIterator, Mapping

from shared.dicomweb.media_type import DICOM, MULTIPART, MediaType, parse_media_type
from shared.dicomweb.multipart import Chunk, MultipartLimits, MultipartReader
from shared.errors import (
    InvalidRequestError,
    MalformedMultipartError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)


def instance_bodies(
    content_type: str | None, body: AsyncIterator[bytes], limits: MultipartLimits, *, version: int
) -> AsyncIterator[AsyncIterator[Chunk]]:
    """The bodies of the instances that a request holds, each to be read before the next one.

    v1 takes a single instance only as application/dicom without parameters.

    Raises:
        UnsupportedMediaTypeError: The request, or later one of its parts, is of another type than
            application/dicom.
        InvalidRequestError: A start parameter is given: there is no root part.
        MalformedMultipartError: Later: the body breaks the grammar of multipart/related.
        PayloadTooLargeError: Later: a limit is reached.
    """
    media_type = parse_media_type(content_type or "")
    if media_type.name == DICOM and not (version == 1 and media_type.parameters):
        return _single(body, limits)
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
    return _parts(reader, media_type)


async def _single(
    body: AsyncIterator[bytes], limits: MultipartLimits
) -> AsyncIterator[AsyncIterator[Chunk]]:
    yield _bounded(body, min(limits.max_part_bytes, limits.max_total_bytes))


async def _bounded(body: AsyncIterator[bytes], limit: int) -> AsyncIterator[Chunk]:
    left = limit
    async for chunk in body:
        left -= len(chunk)
        if left < 0:
            raise PayloadTooLargeError(f"An instance may have {limit} bytes at most.")
        yield chunk


async def _parts(reader: MultipartReader, whole: MediaType) -> AsyncIterator[AsyncIterator[Chunk]]:
    default = whole.parameters.get("type")
    async for part in reader:
        body = part.body if part.headers else await _begun(part.body)
        if body is None:
            continue  # No part: some clients frame an empty body so.
        if _type_of(part.headers, default) != DICOM:
            raise UnsupportedMediaTypeError("Every part must be application/dicom.")
        # Only the first part may leave its type to that of the whole.
        default = None
        yield body


async def _begun(body: AsyncIterator[Chunk]) -> AsyncIterator[Chunk] | None:
    first = await anext(body, None)
    return None if first is None else _chain(first, body)


async def _chain(first: Chunk, rest: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    yield first
    async for chunk in rest:
        yield chunk


def _type_of(headers: Mapping[str, str], default: str | None) -> str:
    return parse_media_type(headers.get("content-type") or default or "").name
