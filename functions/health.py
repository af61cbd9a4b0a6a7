"""Health check: whether the service and the stores it needs answer."""

from http import HTTPMethod, HTTPStatus

import azure.functions as func
import orjson

from functions.endpoint import Response, unversioned
from shared.access import DataAction
from shared.dicomweb.media_type import JSON
from shared.wiring import Services

blueprint = func.Blueprint()


@unversioned(blueprint, "health", "health/check", HTTPMethod.GET, DataAction.ANONYMOUS)
async def health(services: Services) -> Response:
    """Tell how each dependency is: GET /health/check; 503 when one is away."""
    dependencies = await services.health.check()
    is_healthy = all(dependency.is_healthy for dependency in dependencies)
    body = {
        "overallStatus": _status(is_healthy=is_healthy),
        "details": [
            {
                "name": dependency.name,
                "status": _status(is_healthy=dependency.is_healthy),
                "milliseconds": dependency.milliseconds,
            }
            for dependency in dependencies
        ],
    }
    return Response(
        status=HTTPStatus.OK if is_healthy else HTTPStatus.SERVICE_UNAVAILABLE,
        media_type=JSON,
        body=orjson.dumps(body),
    )


def _status(*, is_healthy: bool) -> str:
    return "Healthy" if is_healthy else "Unhealthy"
