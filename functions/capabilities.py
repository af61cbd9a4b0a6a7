"""Retrieve Capabilities, and the OpenAPI document of each version (PS3.18 8.9, 2025b)."""

import re
from collections.abc import Iterable
from http import HTTPMethod, HTTPStatus
from typing import Any

import azure.functions as func
import orjson
import yaml

from functions.endpoint import (
    DATA_ACTIONS,
    ROUTES,
    Response,
    ServiceRequest,
    resource,
)
from shared.access import DataAction
from shared.dicomweb.media_type import JSON, YAML
from shared.dicomweb.openapi import Guard, Route, openapi
from shared.errors import NotFoundError
from shared.wiring import Services

blueprint = func.Blueprint()

_VARIABLE = re.compile(r"\\\{\w+\\\}")


@resource(blueprint, "describe_as_json", "api.json", HTTPMethod.GET, DataAction.ANONYMOUS)
async def describe_as_json(request: ServiceRequest, services: Services) -> Response:
    """Describe the API of a version: GET /api.json (OpenAPI 3.1)."""
    described = _description(request, services, ROUTES)
    return Response(media_type=JSON, body=orjson.dumps(described))


@resource(blueprint, "describe_as_yaml", "api.yaml", HTTPMethod.GET, DataAction.ANONYMOUS)
async def describe_as_yaml(request: ServiceRequest, services: Services) -> Response:
    """Describe the API of a version: GET /api.yaml (OpenAPI 3.1)."""
    # By way of JSON, since YAML would write what stands twice as a reference.
    description = orjson.loads(orjson.dumps(_description(request, services, ROUTES)))
    return Response(media_type=YAML, body=yaml.safe_dump(description, sort_keys=False).encode())


@resource(blueprint, "options", "{*path}", HTTPMethod.OPTIONS, DataAction.ANONYMOUS)
async def retrieve_capabilities(request: ServiceRequest, services: Services) -> Response:
    """Retrieve the capabilities of the service or a resource: OPTIONS on any path.

    A browser that asks whether a page may send a request is answered first.
    """
    routes = _routes(request)
    methods = sorted({"OPTIONS"}.union(*(route.methods for route in routes)))
    headers = {"Allow": ", ".join(methods)}
    if "access-control-request-method" in request.headers:
        origin = request.headers.get("origin")
        asked = request.headers.get("access-control-request-headers")
        headers |= services.cors.preflight(origin, methods, asked)
        return Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    body = orjson.dumps(_description(request, services, routes))
    return Response(media_type=JSON, body=body, headers=headers)


def _routes(request: ServiceRequest) -> list[Route]:
    """The routes of one resource, or of the whole service for an empty path."""
    path, name = request.path.get("path", "").strip("/"), _version_name(request)
    served = [
        route
        for route in ROUTES
        if route.template.startswith("{version}/")
        and (route.transaction is None or route.transaction.is_served(name, request.version))
    ]
    if not path:
        return served
    found = [route for route in served if _pattern(route.template).fullmatch(path)]
    if not found:
        raise NotFoundError("There is no such resource.")
    return found


def _pattern(template: str) -> re.Pattern[str]:
    literal = re.escape(template.removeprefix("{version}/"))
    return re.compile(_VARIABLE.sub("[^/]+", literal), re.IGNORECASE)


def _description(
    request: ServiceRequest, services: Services, routes: Iterable[Route]
) -> dict[str, Any]:
    configuration = f"{services.settings.entra_issuer}/.well-known/openid-configuration"
    guard = Guard(configuration, DATA_ACTIONS) if services.access.is_checked else None
    return openapi(routes, _version_name(request), request.version, guard)


def _version_name(request: ServiceRequest) -> str:
    """The version as the path has it, which is more than its semantics tell."""
    return request.base_url.rpartition("/")[2]
