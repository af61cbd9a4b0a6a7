"""Search for studies, series and instances (PS3.18 10.6, 2025b)."""

from http import HTTPMethod, HTTPStatus

import azure.functions as func
import orjson

from functions.endpoint import DICOM_JSON, DataAction, Request, Response, transaction
from shared.dicom.resource import Level
from shared.dicom.uid import Uid, parse_uid
from shared.dicomweb.media_type import accept_dicom_json
from shared.dicomweb.query import V1_MAX_LIMIT, parse_query
from shared.dicomweb.warning import remaining_results, warning_header
from shared.settings import EmptySearchStatus
from shared.wiring import Services

blueprint = func.Blueprint()


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
    accept_dicom_json(request.accept, version=request.version, preferred=request.preferred)
    is_v1 = request.version == 1
    query = parse_query(
        request.query,
        level,
        version=request.version,
        max_limit=V1_MAX_LIMIT if is_v1 else services.settings.search_max_limit_v2,
        study=_uid(request, "study"),
        series=_uid(request, "series"),
    )
    answer = await services.search.search(request.partition, query, base_url=request.base_url)
    more = () if is_v1 else remaining_results(answer.remaining)
    headers = warning_header([*query.warnings, *more], request.headers.get("host", ""))
    empty = EmptySearchStatus.NO_CONTENT if is_v1 else services.settings.empty_search_status_v2
    if not answer.documents and empty is EmptySearchStatus.NO_CONTENT:
        return Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    return Response(media_type=DICOM_JSON, body=orjson.dumps(answer.documents), headers=headers)


def _uid(request: Request, name: str) -> Uid | None:
    return parse_uid(request.path[name]) if name in request.path else None
