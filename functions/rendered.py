"""Retrieve rendered resources and thumbnails (PS3.18 10.4.1.1.3 and 10.4.1.1.4, 2025b)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPMethod, HTTPStatus

import azure.functions as func

from functions.endpoint import Request, Response, transaction
from shared.access import DataAction
from shared.dicom.pixels.render import JPEG
from shared.dicom.resource import ResourcePath, parse_frame_list, parse_path
from shared.dicomweb.conditional import entity_tag, is_unchanged
from shared.dicomweb.multipart import Chunk, MultipartWriter
from shared.dicomweb.rendered import (
    IMAGES,
    RenderedType,
    acceptable_rendered,
    parse_rendering,
    parse_viewport,
)
from shared.errors import InvalidFrameListError, NotAcceptableError
from shared.services.rendering import Rendered, Wish
from shared.wiring import Services

blueprint = func.Blueprint()

_STUDY = "studies/{study}"
_SERIES = "studies/{study}/series/{series}"
_INSTANCE = "studies/{study}/series/{series}/instances/{instance}"
_FRAMES = f"{_INSTANCE}/frames/{{frames}}"
_THUMBNAIL_SECONDS = 300


@transaction(
    blueprint,
    "retrieve_rendered_instance",
    f"{_INSTANCE}/rendered",
    HTTPMethod.GET,
    DataAction.READ,
)
@transaction(
    blueprint, "retrieve_rendered_frames", f"{_FRAMES}/rendered", HTTPMethod.GET, DataAction.READ
)
async def retrieve_rendered(request: Request, services: Services) -> Response:
    """Retrieve an instance or frames rendered: GET …/instances/{instance}[/frames/…]/rendered."""
    types, path, frames = _parse(request)
    wish = Wish(types, parse_rendering(request.query, version=request.version), frames)
    found = await services.render.instance(request.partition, path, wish, version=request.version)
    return await _response(request, found, is_one=frames is None or len(frames) == 1)


@transaction(
    blueprint, "retrieve_rendered_study", f"{_STUDY}/rendered", HTTPMethod.GET, DataAction.READ
)
@transaction(
    blueprint, "retrieve_rendered_series", f"{_SERIES}/rendered", HTTPMethod.GET, DataAction.READ
)
async def retrieve_all_rendered(request: Request, services: Services) -> Response:
    """Retrieve every instance rendered: GET /studies/{study}[/series/{series}]/rendered."""
    types, path, _ = _parse(request)
    wish = Wish(types, parse_rendering(request.query, version=request.version))
    found = services.render.instances(request.partition, path, wish, version=request.version)
    return await _response(request, found, is_one=False)


@transaction(
    blueprint, "retrieve_thumbnail_of_study", f"{_STUDY}/thumbnail", HTTPMethod.GET, DataAction.READ
)
@transaction(
    blueprint,
    "retrieve_thumbnail_of_series",
    f"{_SERIES}/thumbnail",
    HTTPMethod.GET,
    DataAction.READ,
)
@transaction(
    blueprint,
    "retrieve_thumbnail_of_instance",
    f"{_INSTANCE}/thumbnail",
    HTTPMethod.GET,
    DataAction.READ,
)
@transaction(
    blueprint,
    "retrieve_thumbnail_of_frame",
    f"{_FRAMES}/thumbnail",
    HTTPMethod.GET,
    DataAction.READ,
)
async def retrieve_thumbnail(request: Request, services: Services) -> Response:
    """Retrieve a thumbnail: GET /studies/{study}[/series/…[/instances/…[/frames/…]]]/thumbnail."""
    types, path, frames = _parse(request)
    if all(type_.name != JPEG for type_ in types):
        raise NotAcceptableError(f"Thumbnails are given as {JPEG}.")
    if frames is not None and len(frames) > 1:
        raise InvalidFrameListError("A thumbnail is of one frame.")
    viewport = parse_viewport(request.query)
    version = await services.metadata.version(request.partition, path, api_version=request.version)
    etag = entity_tag(version.revision, version.instance_count, version=request.version)
    headers = {
        "ETag": etag,
        "Cache-Control": f"private, max-age={_THUMBNAIL_SECONDS}",
        "Vary": "Accept",
    }
    if is_unchanged(request.headers.get("if-none-match"), etag):
        return Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    frame = None if frames is None else frames[0]
    content = await services.render.thumbnail(
        request.partition, path, frame, viewport, version=request.version
    )
    return Response(media_type=JPEG, body=content, headers=headers)


def _parse(
    request: Request,
) -> tuple[Sequence[RenderedType], ResourcePath, Sequence[int] | None]:
    """The media types that are accepted, and what of the path is a list of frames."""
    names = dict(request.path)
    text = names.pop("frames", None)
    frames = None if text is None else parse_frame_list(text)
    if request.version == 1 and frames is not None and len(frames) > 1:
        raise InvalidFrameListError("One frame is rendered at a time.")
    types = acceptable_rendered(
        request.accept, version=request.version, preferred=request.preferred
    )
    return types, parse_path(**names), frames


async def _response(request: Request, found: AsyncIterator[Rendered], *, is_one: bool) -> Response:
    first = await anext(found)
    headers = {"Vary": "Accept"}
    if first.media_type not in IMAGES:
        # What may hold scripts is not for the browser to open here.
        headers["Content-Disposition"] = "attachment"
    is_alone = is_one or (first.media_type == "image/gif" and "frames" in request.path)
    if is_alone and not first.is_multipart:
        headers["Content-Length"] = str(first.length)
        return Response(media_type=first.media_type, body=first.body, headers=headers)
    writer = MultipartWriter()
    return Response(
        media_type=writer.content_type(first.media_type),
        body=writer.write(_parts(request.base_url, first, found)),
        headers=headers,
    )


async def _parts(
    root: str, first: Rendered, others: AsyncIterator[Rendered]
) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[Chunk]]]:
    yield _headers(root, first), first.body
    async for one in others:
        yield _headers(root, one), one.body


def _headers(root: str, one: Rendered) -> Mapping[str, str]:
    return {"Content-Type": one.media_type, "Content-Location": f"{root}/{one.location}"}
