"""Delete of studies, series and instances; the Standard has no such transaction (reference)."""

from http import HTTPMethod, HTTPStatus

import azure.functions as func

from functions.endpoint import Request, Response, transaction
from shared.access import DataAction
from shared.dicom.resource import parse_path
from shared.wiring import Services

blueprint = func.Blueprint()

_STUDY = "studies/{study}"
_SERIES = "studies/{study}/series/{series}"
_INSTANCE = "studies/{study}/series/{series}/instances/{instance}"


@transaction(blueprint, "delete_study", _STUDY, HTTPMethod.DELETE, DataAction.DELETE)
@transaction(blueprint, "delete_series", _SERIES, HTTPMethod.DELETE, DataAction.DELETE)
@transaction(blueprint, "delete_instance", _INSTANCE, HTTPMethod.DELETE, DataAction.DELETE)
async def delete(request: Request, services: Services) -> Response:
    """Delete a study, series or instance: DELETE /studies/{study}[/series/…[/instances/…]]."""
    await services.delete.delete(request.partition, parse_path(**request.path))
    return Response(status=HTTPStatus.NO_CONTENT)
