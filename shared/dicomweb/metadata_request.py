"""Instances that come as metadata and bulk data, each in parts of their own.

The metadata parts come first: a JSON part may hold several instances, an XML part holds one. Each
other part is a bulk value, or a frame of one, and its Content-Location is what a BulkDataURI of the
metadata says. All of it is held until the request has ended, as any instance may need any part.

Standard: PS3.18 10.5.1.1 and 10.5.2 (2025b).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

from shared.dicom import xml_model
from shared.dicom.composition import BulkPart, ComposedFile, compose
from shared.dicom.header import Limits
from shared.dicom.json_model import value
from shared.dicom.resource import ResourcePath
from shared.dicom.validation import SOP_CLASS_UID, instance_path
from shared.dicomweb.media_type import DICOM, DICOM_JSON, OCTET_STREAM, MediaType, parse_media_type
from shared.dicomweb.multipart import Chunk, Part
from shared.errors import (
    InvalidInstanceError,
    InvalidRequestError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)

DICOM_XML = "application/dicom+xml"
METADATA = frozenset({DICOM_JSON, DICOM_XML})
"""The media types that metadata is taken in."""

MAX_HELD_BYTES = 268_435_456
_CHUNK_BYTES = 1_048_576
_LIMITS = Limits()

type _Metadata = Mapping[str, Any] | InvalidInstanceError
type _Bulk = Mapping[str, Sequence[BulkPart]]


class UnfitInstanceError(InvalidInstanceError):
    """Metadata and bulk data that make no instance; tells which one, where that is known."""

    def __init__(
        self, message: str, path: ResourcePath | None = None, sop_class_uid: str | None = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.sop_class_uid = sop_class_uid


async def composed_instances(
    parts: AsyncIterator[tuple[MediaType, Part]],
    max_held_bytes: int = MAX_HELD_BYTES,
    *,
    max_instances: int = 10_000,
) -> AsyncIterator[AsyncIterator[Chunk]]:
    """The bodies of the instances that parts make; one that they do not make raises in its body.

    Raises:
        InvalidRequestError: Metadata is not well-formed or comes after bulk data, or bulk data
            does not say where it belongs.
        UnsupportedMediaTypeError: A part is a DICOM file.
        PayloadTooLargeError: There is more than may be held, or there are more instances.
    """
    documents: list[_Metadata] = []
    bulk: dict[str, list[BulkPart]] = {}
    left = max_held_bytes
    async for media_type, part in parts:
        chunks: list[Chunk] = []
        async for chunk in part.body:
            chunks.append(chunk)
            left -= len(chunk)
            if left < 0:
                raise PayloadTooLargeError(
                    f"Metadata and bulk data may have {max_held_bytes} bytes in all at most."
                )
        content = b"".join(chunks)
        if media_type.name not in METADATA:
            bulk.setdefault(_location(media_type, part), []).append(_bulk(media_type, content))
        elif bulk:
            raise InvalidRequestError("Metadata must come before bulk data.")
        else:
            documents += await asyncio.to_thread(_documents, media_type.name, content)
            if len(documents) > max_instances:
                raise PayloadTooLargeError(f"The request has more than {max_instances} instances.")
    for document in documents:
        yield _composed(document, bulk)


def _documents(name: str, content: bytes) -> Sequence[_Metadata]:
    if name == DICOM_XML:
        try:
            return [xml_model.loads(content)]
        except InvalidInstanceError as error:
            return [error]
    _check_size(content)
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError("The metadata is not valid JSON.") from error
    documents = parsed if isinstance(parsed, list) else [parsed]
    if not all(isinstance(document, dict) for document in documents):
        raise InvalidRequestError("The metadata is not an array of DICOM JSON objects.")
    return documents


def _check_size(content: bytes) -> None:
    """Refuse JSON that would take far more memory than its bytes, before it is parsed."""
    if len(content) > _LIMITS.max_held_length:
        raise PayloadTooLargeError(
            f"A part with metadata may have {_LIMITS.max_held_length} bytes at most."
        )
    # An attribute opens one object and one array, an item or a name one object more.
    if content.count(b"{") + content.count(b"[") > 2 * _LIMITS.max_elements:
        raise PayloadTooLargeError("The metadata has more attributes than this service takes.")


def _location(media_type: MediaType, part: Part) -> str:
    if media_type.name == DICOM:
        raise UnsupportedMediaTypeError("Files and metadata are not taken in one request.")
    location = part.headers.get("content-location")
    if not location:
        raise InvalidRequestError("A part with bulk data has no Content-Location.")
    return location


def _bulk(media_type: MediaType, content: bytes) -> BulkPart:
    return BulkPart(media_type.name, content, media_type.parameters.get("transfer-syntax"))


async def _composed(metadata: _Metadata, bulk: _Bulk) -> AsyncIterator[Chunk]:
    if isinstance(metadata, InvalidInstanceError):
        raise metadata
    for chunk in await asyncio.to_thread(_file, metadata, bulk):
        rest = memoryview(chunk)
        while rest:
            yield rest[:_CHUNK_BYTES]
            rest = rest[_CHUNK_BYTES:]


def _file(metadata: Mapping[str, Any], bulk: _Bulk) -> ComposedFile:
    try:
        return compose(metadata, bulk)
    except InvalidInstanceError as error:
        path, sop_class_uid = _identity(metadata)
        raise UnfitInstanceError(error.message, path, sop_class_uid) from error


def _identity(metadata: Mapping[str, Any]) -> tuple[ResourcePath | None, str | None]:
    """Which instance it would have been, as far as metadata that nobody has checked tells."""
    try:
        sop_class_uid = value(dict(metadata), SOP_CLASS_UID)
        path = instance_path(dict(metadata))
    except (AttributeError, KeyError, TypeError):
        return None, None
    return path, sop_class_uid if isinstance(sop_class_uid, str) else None


def part_type(text: str | None) -> MediaType:
    """The media type of a part; one that does not say is bulk data.

    Raises:
        UnsupportedMediaTypeError: It is malformed.
    """
    return parse_media_type(text or OCTET_STREAM)
