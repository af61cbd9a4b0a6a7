"""Whether FHIR resources are valid: three judges, none of them ours, each blind to something."""

import json
import re
from functools import cache
from typing import Any

import jsonschema_rs
from fhir.resources import get_fhir_model_class as model_of_r5
from fhir.resources.R4B import get_fhir_model_class as model_of_r4b

from tests.fhir_server import modules

_REFERENCE = re.compile(
    r"(urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})\Z"
)


def assert_valid(resource: dict[str, Any], release: str = "R4") -> None:
    """See that all judges let a resource pass."""
    found = problems(resource, release)
    assert not found, "\n".join(found)


def problems(resource: dict[str, Any], release: str = "R4") -> list[str]:
    """What the judges say against a resource of R4 or R5."""
    found = [f"empty: {place}" for place in _empty(resource, resource["resourceType"])]
    found += [f"reference: {text}" for text in _references(resource) if not _REFERENCE.match(text)]
    model = model_of_r4b if release == "R4" else model_of_r5
    try:
        model(resource["resourceType"]).model_validate(resource)
    except ValueError as error:
        found.append(f"model: {error}")
    if release == "R4":
        validator = _schema(resource["resourceType"])
        found += [f"schema: {error}" for error in validator.iter_errors(resource)]
    return found


@cache
def _schema(resource_type: str) -> Any:
    """The official schema of R4, for one type."""
    folder = modules() / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4"
    definitions = json.loads((folder / "fhir.schema.json").read_text())["definitions"]
    # It refers to some that it does not have.
    definitions |= {"Resource": {"type": "object"}, "integer64": {"type": "integer"}}
    return jsonschema_rs.Draft6Validator(
        {"$ref": f"#/definitions/{resource_type}", "definitions": definitions}
    )


def _empty(value: Any, place: str) -> list[str]:
    if value in ("", [], {}) or value is None:
        return [place]
    if isinstance(value, str):
        return [] if value.strip() else [place]
    if isinstance(value, dict):
        return [one for name, item in value.items() for one in _empty(item, f"{place}.{name}")]
    if isinstance(value, list):
        return [one for item in value for one in _empty(item, place)]
    return []


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [one for item in value.values() for one in _references(item)]
    if isinstance(value, list):
        return [one for item in value for one in _references(item)]
    return []
