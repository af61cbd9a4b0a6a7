"""Health check: whether what the service depends on answers."""

from http import HTTPMethod, HTTPStatus

import azure.functions as func
import orjson

from functions.endpoint import Response, unversioned
from shared.access import DataAction
from shared.dicomweb.media_type import JSON
from shared.services.health import DependencyHealth, HealthStatus
from shared.wiring import Services

blueprint = func.Blueprint()


@unversioned(blueprint, "health", "health/check", HTTPMethod.GET, DataAction.ANONYMOUS)
async def health(services: Services) -> Response:
    """Tell how each dependency is: GET /health/check; 503 when one is away that is needed."""
    report = await services.health.check()
    body = {
        "overallStatus": report.status.value,
        "details": [
            {
                "name": dependency.name,
                "status": _status(dependency).value,
                "milliseconds": dependency.milliseconds,
            }
            for dependency in report.dependencies
        ],
    }
    is_away = report.status is HealthStatus.UNHEALTHY
    return Response(
        status=HTTPStatus.SERVICE_UNAVAILABLE if is_away else HTTPStatus.OK,
        media_type=JSON,
        body=orjson.dumps(body),
    )


def _status(dependency: DependencyHealth) -> HealthStatus:
    if dependency.is_healthy:
        return HealthStatus.HEALTHY
    return HealthStatus.UNHEALTHY if dependency.is_needed else HealthStatus.DEGRADED
