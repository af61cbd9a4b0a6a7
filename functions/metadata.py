"""Retrieve Metadata of studies, series and instances (PS3.18 10.4.1.1.2, 2025b)."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPMethod, HTTPStatus

import azure.functions as func

from functions.endpoint import Request, Response, transaction
from shared.access import DataAction
from shared.dicom.resource import Level, parse_path
from shared.dicomweb.conditional import entity_tag, is_unchanged
from shared.dicomweb.content_coding import accepts_gzip
from shared.dicomweb.data_set_type import DICOM_XML, acceptable_data_sets
from shared.dicomweb.media_type import DICOM_JSON
from shared.dicomweb.multipart import Chunk, MultipartWriter
from shared.dicomweb.version_request import ORIGINAL_HEADER, wants_original
from shared.services.metadata import View
from shared.wiring import Services

blueprint = func.Blueprint()

_STUDY = "studies/{study}/metadata"
_SERIES = "studies/{study}/series/{series}/metadata"
_INSTANCE = "studies/{study}/series/{series}/instances/{instance}/metadata"


@transaction(blueprint, "retrieve_metadata_of_study", _STUDY, HTTPMethod.GET, DataAction.READ)
@transaction(blueprint, "retrieve_metadata_of_series", _SERIES, HTTPMethod.GET, DataAction.READ)
@transaction(blueprint, "retrieve_metadata_of_instance", _INSTANCE, HTTPMethod.GET, DataAction.READ)
async def retrieve_metadata(request: Request, services: Services) -> Response:
    """Retrieve metadata: GET /studies/{study}[/series/…[/instances/…]]/metadata."""
    media_type = acceptable_data_sets(
        request.accept, version=request.version, preferred=request.preferred
    )
    path = parse_path(**request.path)
    version = await services.metadata.version(request.partition, path, api_version=request.version)
    count = None if path.level is Level.INSTANCE else version.instance_count
    original = wants_original(request.headers)
    forms = ("xml" if media_type == DICOM_XML else "", "original" if original else "")
    form = "-".join(filter(None, forms)) or None
    etag = entity_tag(version.revision, count, version=request.version, form=form)
    headers = {"ETag": etag, "Vary": f"Accept, Accept-Encoding, {ORIGINAL_HEADER}"}
    if is_unchanged(request.headers.get("if-none-match"), etag):
        if request.version == 1:
            del headers["ETag"]  # reference
        return Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    if media_type == DICOM_XML:
        documents = services.metadata.xml(
            request.partition, path, request.base_url, original=original
        )
        writer = MultipartWriter()
        body = writer.write(_parts(documents))
        return Response(media_type=writer.content_type(DICOM_XML), body=body, headers=headers)
    is_gzip = accepts_gzip(request.headers.get("accept-encoding"))
    if is_gzip:
        headers["Content-Encoding"] = "gzip"
    view = View(request.base_url, has_bulk=request.version > 1, is_gzip=is_gzip, original=original)
    answer = services.metadata.answer(request.partition, path, version, view)
    return Response(media_type=DICOM_JSON, body=answer, headers=headers)


async def _parts(
    documents: AsyncIterator[bytes],
) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[Chunk]]]:
    async for document in documents:
        yield {"Content-Type": DICOM_XML}, _once(document)


async def _once(document: bytes) -> AsyncIterator[Chunk]:
    yield document
