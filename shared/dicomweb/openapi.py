"""The OpenAPI document of one API version, from the registered routes and the transactions' table.

Standard: OpenAPI Specification 3.1.0.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shared.access import ROLES, DataAction
from shared.dicomweb.media_type import DICOM_JSON, JSON, YAML
from shared.dicomweb.transactions import EVERY_ERROR, TRANSACTIONS, Parameter, Transaction

IN_PARTITION = "_in_partition"
_ENTRA = "entra"
_VARIABLE = re.compile(r"\{(\w+)\}")
_UID = {"type": "string", "pattern": r"^[0-9.]*[0-9]$", "maxLength": 64}
_VARIABLES: Mapping[str, Mapping[str, object]] = {
    "study": _UID,
    "series": _UID,
    "instance": _UID,
    "frames": {"type": "string", "pattern": r"^[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*$"},
    "partition": {"type": "string", "pattern": r"^[A-Za-z0-9._-]{1,64}$"},
    "upload": {"type": "string", "pattern": r"^[0-9a-f]{32}$"},
}


@dataclass(frozen=True, slots=True)
class Route:
    """A registered function: where it is served, below the root."""

    function: str
    template: str
    methods: frozenset[str]

    @property
    def transaction(self) -> Transaction | None:
        """What the function does, None where it belongs to no versioned service."""
        return TRANSACTIONS.get(self.function.removesuffix(IN_PARTITION))


@dataclass(frozen=True, slots=True)
class Guard:
    """What callers must prove.

    Attributes:
        configuration: Address of the OpenID configuration of those who issue tokens.
        actions: What each function demands, by its name.
    """

    configuration: str
    actions: Mapping[str, DataAction]


def openapi(
    routes: Iterable[Route], version_name: str, version: int, guard: Guard | None = None
) -> dict[str, Any]:
    """The document of the API below `/{version_name}`, whose semantics are those of `version`."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        transaction = route.transaction
        if transaction is None or not transaction.is_served(version_name, version):
            continue
        path = route.template.replace("{version}", version_name).replace("{*", "{")
        item = paths.setdefault(f"/{path}", {"parameters": _path_parameters(path)})
        for method in sorted(route.methods - {"OPTIONS"}):
            operation = _operation(route.function, method, transaction, version)
            if guard is not None:
                _demand(operation, guard.actions[route.function], is_head=method == "HEAD")
            item[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "DICOMweb", "version": version_name},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": _SCHEMAS, **_schemes(guard)},
    }


def _schemes(guard: Guard | None) -> dict[str, Any]:
    if guard is None:
        return {}
    entra = {"type": "openIdConnect", "openIdConnectUrl": guard.configuration}
    return {"securitySchemes": {_ENTRA: entra}}


def _demand(operation: dict[str, Any], action: DataAction, *, is_head: bool) -> None:
    """Say which roles permit an operation, each by itself, and how others are refused."""
    if action is DataAction.ANONYMOUS:
        return
    operation["security"] = [{_ENTRA: [role]} for role, may in ROLES.items() if action in may]
    for status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        answer = _response(status, {JSON: _ERROR}, is_head=is_head)
        if status is HTTPStatus.UNAUTHORIZED:
            answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
        operation["responses"][str(status.value)] = answer


def _path_parameters(path: str) -> list[Mapping[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _VARIABLES.get(name, {"type": "string"}),
        }
        for name in _VARIABLE.findall(path)
    ]


def _operation(
    function: str, method: str, transaction: Transaction, version: int
) -> dict[str, Any]:
    is_head = method == "HEAD"
    operation: dict[str, Any] = {
        "operationId": f"head_{function}" if is_head else function,
        "summary": transaction.summary,
        "parameters": [
            _parameter(parameter)
            for parameter in transaction.parameters
            if parameter.since_version <= version
        ],
        "responses": _responses(transaction, is_head=is_head),
    }
    if transaction.takes:
        content = {media_type: _content(media_type) for media_type in transaction.takes}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameter(parameter: Parameter) -> Mapping[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _responses(transaction: Transaction, *, is_head: bool) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in sorted({*EVERY_ERROR, *transaction.errors}):
        responses[str(status.value)] = _response(status, {JSON: _ERROR}, is_head=is_head)
    for status, media_types in transaction.gives.items():
        given = {media_type: _content(media_type) for media_type in media_types}
        answer = _response(status, given, is_head=is_head)
        held = responses.get(str(status.value), {}).get("content", {})
        if held:
            answer["content"] = {**answer.get("content", {}), **held}
        responses[str(status.value)] = answer
    return dict(sorted(responses.items()))


def _response(
    status: HTTPStatus, content: Mapping[str, object], *, is_head: bool
) -> dict[str, Any]:
    described = {} if is_head or not content else {"content": content}
    return {"description": status.phrase, **described}


_ERROR: Mapping[str, Any] = {"schema": {"$ref": "#/components/schemas/Error"}}


def _content(media_type: str) -> Mapping[str, Any]:
    if media_type in (JSON, YAML):
        return {"schema": {"type": ["object", "array"]}}
    if media_type == DICOM_JSON:
        return {"schema": {"$ref": "#/components/schemas/DicomJson"}}
    return {"schema": {"type": "string", "format": "binary"}}


_SCHEMAS: Mapping[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "requestId"],
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "requestId": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                },
            }
        },
    },
    "DicomJson": {
        "description": "Data sets in the DICOM JSON model (PS3.18 Annex F).",
        "oneOf": [
            {"$ref": "#/components/schemas/DataSet"},
            {"type": "array", "items": {"$ref": "#/components/schemas/DataSet"}},
        ],
    },
    "DataSet": {
        "type": "object",
        "patternProperties": {
            "^[0-9A-F]{8}$": {
                "type": "object",
                "required": ["vr"],
                "properties": {"vr": {"type": "string", "pattern": "^[A-Z]{2}$"}},
            }
        },
        "additionalProperties": False,
    },
}
