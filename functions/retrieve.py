"""Retrieve of studies, series, instances and frames (PS3.18 10.4, 2025b)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPMethod, HTTPStatus

import azure.functions as func

from functions.endpoint import Request, Response, transaction
from shared.access import DataAction
from shared.dicom.resource import ResourcePath, parse_frame_list, parse_path
from shared.dicomweb.media_type import (
    ZIP,
    Representation,
    acceptable_frames,
    acceptable_instances,
)
from shared.dicomweb.multipart import Chunk, MultipartWriter
from shared.dicomweb.version_request import ORIGINAL_HEADER, wants_original
from shared.dicomweb.warning import warning_header
from shared.services.retrieve import Content, Retrieval
from shared.services.zip_archive import ArchivedFile, zip_archive
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
    ways = acceptable_instances(
        request.accept,
        version=request.version,
        is_instance="instance" in request.path,
        preferred=request.preferred,
    )
    path = parse_path(**request.path)
    retrieval = await services.retrieve.instances(
        request.partition,
        path,
        ways,
        version=request.version,
        original=wants_original(request.headers),
    )
    return await _response(request, path, retrieval, retrieval.representation)


@transaction(
    blueprint, "retrieve_frames", f"{_INSTANCE}/frames/{{frames}}", HTTPMethod.GET, DataAction.READ
)
async def retrieve_frames(request: Request, services: Services) -> Response:
    """Retrieve frames: GET …/instances/{instance}/frames/{frames}."""
    names = dict(request.path)
    frames = parse_frame_list(names.pop("frames"))
    return await frames_response(request, services, parse_path(**names), frames)


async def frames_response(
    request: Request, services: Services, path: ResourcePath, frames: Sequence[int]
) -> Response:
    """Frames of an instance, 1-based, as the client takes them."""
    ways = acceptable_frames(
        request.accept, version=request.version, count=len(frames), preferred=request.preferred
    )
    retrieval = await services.retrieve.frames(
        request.partition, path, frames, ways, version=request.version
    )
    representation = retrieval.representation
    if request.version > 1 and representation.is_multipart:
        representation = representation.with_type_of_syntax()
    return await _response(request, path, retrieval, representation)


async def _response(
    request: Request, path: ResourcePath, retrieval: Retrieval, representation: Representation
) -> Response:
    status = HTTPStatus.PARTIAL_CONTENT if retrieval.omitted else HTTPStatus.OK
    headers = {"Vary": f"Accept, {ORIGINAL_HEADER}"}
    if retrieval.omitted:
        sentence = f"{retrieval.omitted} instances cannot be given in this transfer syntax"
        headers |= warning_header([sentence], request.headers.get("host", ""))
    media_type = representation.media_type
    if media_type == ZIP:
        files = _files(retrieval.contents, path.series is not None)
        headers["Content-Disposition"] = f'attachment; filename="{path.series or path.study}.zip"'
        return Response(status=status, media_type=ZIP, body=zip_archive(files), headers=headers)
    if not representation.is_multipart:
        only = await anext(retrieval.contents)
        if only.length is not None:
            headers["Content-Length"] = str(only.length)
        type_ = f"{media_type}; transfer-syntax={only.transfer_syntax_uid}"
        return Response(status=status, media_type=type_, body=only.body, headers=headers)
    writer = MultipartWriter()
    return Response(
        status=status,
        # v1 does not tell the type of the parts, as the reference does not.
        media_type=writer.content_type(None if request.version == 1 else media_type),
        body=writer.write(_parts(retrieval.contents, media_type)),
        headers=headers,
    )


async def _parts(
    contents: AsyncIterator[Content], media_type: str
) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[Chunk]]]:
    async for content in contents:
        type_ = f"{media_type}; transfer-syntax={content.transfer_syntax_uid}"
        yield {"Content-Type": type_}, content.body


async def _files(
    contents: AsyncIterator[Content],
    is_of_series: bool,  # noqa: FBT001
) -> AsyncIterator[ArchivedFile]:
    async for content in contents:
        path = content.path
        folder = "" if is_of_series else f"{path.series}/"
        yield ArchivedFile(f"{folder}{path.instance}.dcm", content.length, content.body)
