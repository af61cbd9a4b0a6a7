"""Retrieve Bulkdata of studies, series and instances (PS3.18 10.4.1.1.5, 2025b)."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPMethod, HTTPStatus

import azure.functions as func

from functions.endpoint import Request, Response, transaction
from functions.retrieve import frames_response
from shared.access import DataAction
from shared.dicom.resource import parse_path
from shared.dicomweb.bulk_data import accept_value, accept_values
from shared.dicomweb.byte_range import parse_range
from shared.dicomweb.conditional import entity_tag
from shared.dicomweb.media_type import OCTET_STREAM
from shared.dicomweb.multipart import Chunk, MultipartWriter
from shared.services.bulk_data import BulkPart
from shared.wiring import Services

blueprint = func.Blueprint()

_STUDY = "studies/{study}/bulkdata"
_SERIES = "studies/{study}/series/{series}/bulkdata"
_INSTANCE = "studies/{study}/series/{series}/instances/{instance}/bulkdata"

type _Parts = AsyncIterator[tuple[Mapping[str, str], AsyncIterator[Chunk]]]


@transaction(blueprint, "retrieve_bulkdata_of_study", _STUDY, HTTPMethod.GET, DataAction.READ)
@transaction(blueprint, "retrieve_bulkdata_of_series", _SERIES, HTTPMethod.GET, DataAction.READ)
@transaction(blueprint, "retrieve_bulkdata_of_instance", _INSTANCE, HTTPMethod.GET, DataAction.READ)
async def retrieve_bulkdata(request: Request, services: Services) -> Response:
    """Retrieve all bulk data: GET /studies/{study}[/series/…[/instances/…]]/bulkdata."""
    accept_values(request.accept, preferred=request.preferred)
    path = parse_path(**request.path)
    parts = services.bulk_data.parts(request.partition, path, version=request.version)
    first = await anext(parts)
    writer = MultipartWriter()
    return Response(
        media_type=writer.content_type(first.media_type.partition(";")[0]),
        body=writer.write(_located(request.base_url, first, parts)),
        headers={"Vary": "Accept"},
    )


@transaction(
    blueprint,
    "retrieve_bulkdata_value",
    f"{_INSTANCE}/{{*reference}}",
    HTTPMethod.GET,
    DataAction.READ,
)
async def retrieve_value(request: Request, services: Services) -> Response:
    """Retrieve one bulk value, or a range of it: GET …/instances/{instance}/bulkdata/{path}."""
    names = dict(request.path)
    reference = names.pop("reference")
    path = parse_path(**names)
    value = await services.bulk_data.value(
        request.partition, path, reference, version=request.version
    )
    if isinstance(value, int):
        return await frames_response(request, services, path, range(1, value + 1))
    is_multipart = accept_value(request.accept, preferred=request.preferred)
    etag = entity_tag(value.watermark, None, version=request.version)
    headers = {"ETag": etag, "Vary": "Accept", "Accept-Ranges": "bytes"}
    if is_multipart:
        part = BulkPart(f"{path}/bulkdata/{reference}", OCTET_STREAM, value.stream())
        writer = MultipartWriter()
        body = writer.write(_located(request.base_url, part))
        return Response(media_type=writer.content_type(OCTET_STREAM), body=body, headers=headers)
    wanted = None
    if request.headers.get("if-range") in (None, etag):
        wanted = parse_range(request.headers.get("range"), value.length)
    start, length = wanted or (0, value.length)
    headers["Content-Length"] = str(length)
    headers["Content-Location"] = f"{request.base_url}/{path}/bulkdata/{reference}"
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{value.length}"
    return Response(
        status=HTTPStatus.OK if wanted is None else HTTPStatus.PARTIAL_CONTENT,
        media_type=OCTET_STREAM,
        body=value.stream(start, length),
        headers=headers,
    )


async def _located(
    root: str, first: BulkPart, others: AsyncIterator[BulkPart] | None = None
) -> _Parts:
    yield _headers(root, first), first.body
    if others is not None:
        async for part in others:
            yield _headers(root, part), part.body


def _headers(root: str, part: BulkPart) -> Mapping[str, str]:
    return {"Content-Type": part.media_type, "Content-Location": f"{root}/{part.location}"}
