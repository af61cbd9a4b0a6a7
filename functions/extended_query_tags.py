"""Extended query tags: what else the archive can be searched by (reference)."""

from http import HTTPMethod, HTTPStatus
from typing import Any

import azure.durable_functions as df
import orjson

from functions.endpoint import Response, ServiceRequest, json_body, resource
from functions.operations import accepted, operation_url
from shared.access import DataAction
from shared.dicomweb.extended_query_tag import parse_new_tags, parse_path, parse_query_status
from shared.dicomweb.media_type import JSON
from shared.dicomweb.parameter import page
from shared.errors import ConflictError, StoreUnavailableError, TagLimitError
from shared.ports import ExtendedQueryTag, TagError
from shared.services.operations import OperationRunningError
from shared.wiring import Services

blueprint = df.Blueprint()

_MAX_LIMIT = 200
_USUAL_LIMIT = 100


@resource(
    blueprint,
    "add_extended_query_tags",
    "extendedquerytags",
    HTTPMethod.POST,
    DataAction.MANAGE_EXTENDED_QUERY_TAGS,
    orchestrates=True,
)
async def add_extended_query_tags(request: ServiceRequest, services: Services) -> Response:
    """Add tags, and begin to index by them: POST /extendedquerytags."""
    tags = parse_new_tags(await json_body(request), request.version)
    try:
        operation = await services.extended_query_tags.add(request.orchestrations, tags)
    except OperationRunningError as error:
        running = operation_url(request, error.operation_id)
        raise ConflictError(error.message, location=running) from error
    except TagLimitError as error:
        if request.version == 1:
            raise StoreUnavailableError(error.message) from error
        raise
    return accepted(request, operation)


@resource(
    blueprint, "list_extended_query_tags", "extendedquerytags", HTTPMethod.GET, DataAction.READ
)
async def list_extended_query_tags(request: ServiceRequest, services: Services) -> Response:
    """List the tags, oldest first: GET /extendedquerytags."""
    limit, offset = page(request.query, most=_MAX_LIMIT, usual=_USUAL_LIMIT)
    tags = await services.extended_query_tags.list(limit, offset)
    return _json([_tag_document(tag, request) for tag in tags])


@resource(
    blueprint,
    "retrieve_extended_query_tag",
    "extendedquerytags/{tag}",
    HTTPMethod.GET,
    DataAction.READ,
)
async def retrieve_extended_query_tag(request: ServiceRequest, services: Services) -> Response:
    """Tell what a tag is like: GET /extendedquerytags/{tag}."""
    tag = await services.extended_query_tags.get(parse_path(request.path["tag"]))
    return _json(_tag_document(tag, request))


@resource(
    blueprint,
    "update_extended_query_tag",
    "extendedquerytags/{tag}",
    HTTPMethod.PATCH,
    DataAction.MANAGE_EXTENDED_QUERY_TAGS,
)
async def update_extended_query_tag(request: ServiceRequest, services: Services) -> Response:
    """Let a tag be searched by, or not: PATCH /extendedquerytags/{tag}."""
    path = parse_path(request.path["tag"])
    is_enabled = parse_query_status(await json_body(request))
    tag = await services.extended_query_tags.enable(path, is_enabled=is_enabled)
    return _json(_tag_document(tag, request))


@resource(
    blueprint,
    "delete_extended_query_tag",
    "extendedquerytags/{tag}",
    HTTPMethod.DELETE,
    DataAction.MANAGE_EXTENDED_QUERY_TAGS,
)
async def delete_extended_query_tag(request: ServiceRequest, services: Services) -> Response:
    """Delete a tag and what is indexed by it: DELETE /extendedquerytags/{tag}."""
    await services.extended_query_tags.delete(parse_path(request.path["tag"]))
    return Response(status=HTTPStatus.NO_CONTENT)


@resource(
    blueprint,
    "list_extended_query_tag_errors",
    "extendedquerytags/{tag}/errors",
    HTTPMethod.GET,
    DataAction.READ,
)
async def list_extended_query_tag_errors(request: ServiceRequest, services: Services) -> Response:
    """List what could not be indexed by a tag: GET /extendedquerytags/{tag}/errors."""
    path = parse_path(request.path["tag"])
    limit, offset = page(request.query, most=_MAX_LIMIT, usual=_USUAL_LIMIT)
    errors = await services.extended_query_tags.errors(path, limit, offset)
    return _json([_error_document(error) for error in errors])


def _json(content: object) -> Response:
    return Response(media_type=JSON, body=orjson.dumps(content))


def _tag_document(tag: ExtendedQueryTag, request: ServiceRequest) -> dict[str, Any]:
    members: dict[str, Any] = {
        "path": tag.path,
        "vr": tag.vr,
        "level": tag.level.name.lower(),
        "status": tag.status.value,
        "queryStatus": "enabled" if tag.is_enabled else "disabled",
    }
    if tag.private_creator is not None:
        members["privateCreator"] = tag.private_creator
    if tag.errors:
        url = f"{request.service_url}/extendedquerytags/{tag.path}/errors"
        members["errors"] = {"count": tag.errors, "href": url}
    if tag.operation_id is not None:
        url = operation_url(request, tag.operation_id)
        members["operation"] = {"id": tag.operation_id, "href": url}
    return members


def _error_document(error: TagError) -> dict[str, Any]:
    return {
        "partitionName": error.partition_name,
        "studyInstanceUid": error.path.study,
        "seriesInstanceUid": error.path.series,
        "sopInstanceUid": error.path.instance,
        "createdTime": error.created,
        "errorMessage": error.message,
    }
