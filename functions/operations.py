"""Operations: how far long-running operations are, and their end (reference)."""

from http import HTTPMethod, HTTPStatus
from typing import Any
from uuid import UUID

import azure.durable_functions as df
import orjson

from functions.endpoint import Response, ServiceRequest, resource
from shared.access import DataAction
from shared.dicomweb.media_type import JSON
from shared.dicomweb.parameter import page
from shared.errors import InvalidRequestError
from shared.ports import Operation, OperationStatus, OperationType
from shared.wiring import Services

blueprint = df.Blueprint()

_MAX_LIMIT = 200
_USUAL_LIMIT = 100
_SUCCEEDED_IN_V1 = "completed"
_NOT_TOLD = {"position", "idle", "ahead"}
"""How far an operation has come is for itself to know."""


@resource(blueprint, "operation", "operations/{operation}", HTTPMethod.GET, DataAction.READ)
async def get_operation(request: ServiceRequest, services: Services) -> Response:
    """Tell how far an operation is: GET /operations/{operation}; 202 until it has ended."""
    operation = await services.operations.get(_operation_id(request.path["operation"]))
    body = orjson.dumps(_document(operation, request))
    if operation.status.is_final:
        return Response(media_type=JSON, body=body)
    return Response(
        status=HTTPStatus.ACCEPTED,
        media_type=JSON,
        body=body,
        headers={"Location": operation_url(request, operation.id)},
    )


@resource(blueprint, "list_operations", "operations", HTTPMethod.GET, DataAction.READ)
async def list_operations(request: ServiceRequest, services: Services) -> Response:
    """List the operations, newest first: GET /operations; v2, ours."""
    limit, offset = page(request.query, most=_MAX_LIMIT, usual=_USUAL_LIMIT)
    operations = await services.operations.list(limit, offset)
    body = orjson.dumps([_document(operation, request) for operation in operations])
    return Response(media_type=JSON, body=body)


@resource(
    blueprint,
    "cancel_operation",
    "operations/{operation}",
    HTTPMethod.DELETE,
    DataAction.ADMINISTER,
    orchestrates=True,
)
async def cancel_operation(request: ServiceRequest, services: Services) -> Response:
    """End an operation where it stands: DELETE /operations/{operation}; v2, ours."""
    operation_id = _operation_id(request.path["operation"])
    operation = await services.operations.cancel(request.orchestrations, operation_id)
    return Response(media_type=JSON, body=orjson.dumps(_document(operation, request)))


def operation_url(request: ServiceRequest, operation_id: str) -> str:
    """Where a client can follow an operation; operations belong to no partition."""
    return f"{request.service_url}/operations/{operation_id}"


def accepted(request: ServiceRequest, operation: Operation) -> Response:
    """The answer to a request that has started an operation."""
    url = operation_url(request, operation.id)
    return Response(
        status=HTTPStatus.ACCEPTED,
        media_type=JSON,
        body=orjson.dumps({"id": operation.id, "href": url}),
        headers={"Location": url},
    )


def _operation_id(text: str) -> str:
    try:
        return UUID(text).hex
    except ValueError as error:
        raise InvalidRequestError("The id of an operation is a GUID.") from error


def _document(operation: Operation, request: ServiceRequest) -> dict[str, Any]:
    status = operation.status.value
    if operation.status is OperationStatus.SUCCEEDED and request.version == 1:
        status = _SUCCEEDED_IN_V1
    members: dict[str, Any] = {
        "operationId": operation.id,
        "type": operation.type.value,
        "createdTime": operation.created,
        "lastUpdatedTime": operation.last_updated,
        "status": status,
    }
    # The reference tells no progress of an export.
    if request.version > 1 or operation.type is not OperationType.EXPORT:
        members["percentComplete"] = operation.percent_complete
    if operation.type is OperationType.REINDEX:
        paths = operation.input.get("tags", ())
        tags_url = f"{request.service_url}/extendedquerytags"
        members["resources"] = [f"{tags_url}/{path}" for path in paths]
    if operation.results is not None:
        results = operation.results.items()
        members["results"] = {name: told for name, told in results if name not in _NOT_TOLD}
    return members
