"""Retrieve of studies, series, instances and frames (PS3.18 10.4, 2025b)."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPMethod, HTTPStatus

import azure.functions as func

from functions.endpoint import DataAction, Request, Response, transaction
from shared.dicom.resource import parse_frame_list, parse_path
from shared.dicomweb.media_type import Representation, negotiate_frames, negotiate_instances
from shared.dicomweb.multipart import Chunk, MultipartWriter
from shared.dicomweb.warning import warning_header
from shared.errors import InvalidRequestError
from shared.services.retrieve import Content
from shared.wiring import Services

blueprint = func.Blueprint()

_STUDY = "studies/{study}"
_SERIES = "studies/{study}/series/{series}"
_INSTANCE = "studies/{study}/series/{series}/instances/{instance}"


@transaction(blueprint, "retrieve_study", _STUDY, HTTPMethod.GET, DataAction.READ)
@transaction(blueprint, "retrieve_series", _SERIES, HTTPMethod.GET, DataAction.READ)
@transaction(blueprint, "retrieve_instance", _INSTANCE, HTTPMethod.GET, DataAction.READ)
async def retrieve_instances(request: Request, services: Services) -> Response:
    """Retrieve instances: GET /studies/{study}[/series/…[/instances/…]]."""
    is_instance = "instance" in request.path
    representation = negotiate_instances(
        request.accept, version=request.version, is_instance=is_instance
    )
    path = parse_path(**request.path)
    retrieval = await services.retrieve.instances(
        request.partition, path, representation.transfer_syntax_uid, version=request.version
    )
    host = request.headers.get("host", "")
    return await _response(retrieval.contents, representation, host, omitted=retrieval.omitted)


@transaction(
    blueprint, "retrieve_frames", f"{_INSTANCE}/frames/{{frames}}", HTTPMethod.GET, DataAction.READ
)
async def retrieve_frames(request: Request, services: Services) -> Response:
    """Retrieve frames: GET …/instances/{instance}/frames/{frames}."""
    representation = negotiate_frames(request.accept, version=request.version)
    names = dict(request.path)
    frames = parse_frame_list(names.pop("frames"))
    if len(frames) > 1 and not representation.is_multipart:
        raise InvalidRequestError("Several frames can only be sent as multipart/related.")
    contents = await services.retrieve.frames(
        request.partition, parse_path(**names), frames, representation
    )
    return await _response(contents, representation, "")


async def _response(
    contents: AsyncIterator[Content], representation: Representation, host: str, *, omitted: int = 0
) -> Response:
    status = HTTPStatus.PARTIAL_CONTENT if omitted else HTTPStatus.OK
    headers = {"Vary": "Accept"}
    if omitted:
        sentence = f"{omitted} instances are not stored in this transfer syntax"
        headers |= warning_header([sentence], host)
    media_type = representation.media_type
    if not representation.is_multipart:
        only = await anext(contents)
        headers["Content-Length"] = str(only.length)
        type_ = f"{media_type}; transfer-syntax={only.transfer_syntax_uid}"
        return Response(status=status, media_type=type_, body=only.body, headers=headers)
    writer = MultipartWriter()
    return Response(
        status=status,
        media_type=writer.content_type(media_type),
        body=writer.write(_parts(contents, media_type)),
        headers=headers,
    )


async def _parts(
    contents: AsyncIterator[Content], media_type: str
) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[Chunk]]]:
    async for content in contents:
        type_ = f"{media_type}; transfer-syntax={content.transfer_syntax_uid}"
        yield {"Content-Type": type_}, content.body
