"""Search for studies, series and instances (PS3.18 10.6, 2025b)."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPMethod, HTTPStatus

import azure.functions as func
import orjson

from functions.endpoint import Request, Response, transaction
from shared.access import DataAction
from shared.dicom import xml_model
from shared.dicom.json_model import Document
from shared.dicom.resource import Level
from shared.dicom.uid import Uid, parse_uid
from shared.dicomweb.data_set_type import DICOM_XML, acceptable_data_sets
from shared.dicomweb.media_type import DICOM_JSON
from shared.dicomweb.multipart import Chunk, MultipartWriter
from shared.dicomweb.query import V1_MAX_LIMIT, other_attributes, parse_query
from shared.dicomweb.warning import remaining_results, warning_header
from shared.services.search import SearchAnswer
from shared.settings import EmptySearchStatus
from shared.wiring import Services

blueprint = func.Blueprint()

_ERRONEOUS = "erroneous-dicom-attributes"


@transaction(blueprint, "search_studies", "studies", HTTPMethod.GET, DataAction.READ)
async def search_studies(request: Request, services: Services) -> Response:
    """Search all studies: GET /studies."""
    return await _search(request, services, Level.STUDY)


@transaction(blueprint, "search_series", "series", HTTPMethod.GET, DataAction.READ)
@transaction(
    blueprint, "search_series_of_study", "studies/{study}/series", HTTPMethod.GET, DataAction.READ
)
async def search_series(request: Request, services: Services) -> Response:
    """Search series: GET /series and GET /studies/{study}/series."""
    return await _search(request, services, Level.SERIES)


@transaction(blueprint, "search_instances", "instances", HTTPMethod.GET, DataAction.READ)
@transaction(
    blueprint,
    "search_instances_of_study",
    "studies/{study}/instances",
    HTTPMethod.GET,
    DataAction.READ,
)
@transaction(
    blueprint,
    "search_instances_of_series",
    "studies/{study}/series/{series}/instances",
    HTTPMethod.GET,
    DataAction.READ,
)
async def search_instances(request: Request, services: Services) -> Response:
    """Search instances: GET /instances, also below a study or a series."""
    return await _search(request, services, Level.INSTANCE)


async def _search(request: Request, services: Services, level: Level) -> Response:
    media_type = acceptable_data_sets(
        request.accept, version=request.version, preferred=request.preferred
    )
    others = other_attributes(request.query, request.version)
    query = parse_query(
        request.query,
        level,
        version=request.version,
        max_limit=_max_limit(request, services, level),
        study=_uid(request, "study"),
        series=_uid(request, "series"),
        extra=await services.extended_query_tags.search_attributes(others) if others else (),
    )
    answer = await services.search.search(request.partition, query, base_url=request.base_url)
    is_v1 = request.version == 1
    more = () if is_v1 else remaining_results(answer.remaining)
    headers = dict(warning_header([*query.warnings, *more], request.headers.get("host", "")))
    if query.erroneous:
        headers[_ERRONEOUS] = ",".join(query.erroneous)
    empty = EmptySearchStatus.NO_CONTENT if is_v1 else services.settings.empty_search_status_v2
    if not answer.documents and (empty is EmptySearchStatus.NO_CONTENT or media_type == DICOM_XML):
        return Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    if media_type == DICOM_XML:
        writer = MultipartWriter()
        return Response(
            media_type=writer.content_type(DICOM_XML),
            body=writer.write(_as_parts(answer)),
            headers=headers,
        )
    return Response(media_type=DICOM_JSON, body=_as_array(answer), headers=headers)


def _max_limit(request: Request, services: Services, level: Level) -> int:
    if request.version == 1:
        return V1_MAX_LIMIT
    settings = services.settings
    is_instance = level is Level.INSTANCE
    return settings.search_max_limit_instances_v2 if is_instance else settings.search_max_limit_v2


async def _as_array(answer: SearchAnswer) -> AsyncIterator[bytes]:
    yield orjson.dumps(answer.documents)[:-1]
    async for documents in answer.others:
        if documents:
            yield b"," + orjson.dumps(documents)[1:-1]
    yield b"]"


async def _as_parts(
    answer: SearchAnswer,
) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[Chunk]]]:
    for document in answer.documents:
        yield {"Content-Type": DICOM_XML}, _once(document)
    async for documents in answer.others:
        for document in documents:
            yield {"Content-Type": DICOM_XML}, _once(document)


async def _once(document: Document) -> AsyncIterator[Chunk]:
    yield xml_model.dumps(document)


def _uid(request: Request, name: str) -> Uid | None:
    return parse_uid(request.path[name]) if name in request.path else None
