"""References to other resources (FHIR R4, 2.3)."""

from collections.abc import Mapping
from typing import Any

from shared.fhir.resource import Resource


def literal(url: str, display: str | None = None) -> Resource:
    """A reference by type and id, or by a full URL."""
    return {"reference": url} if display is None else {"reference": url, "display": display}


def logical(resource_type: str, identifier: Resource, display: str | None = None) -> Resource:
    """A reference by an identifier, wherever the resource is."""
    found: Resource = {"type": resource_type, "identifier": identifier}
    return found if display is None else {**found, "display": display}


def referring(value: Any, known: Mapping[str, str]) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The same with references to what is known in place of full URLs."""
    if isinstance(value, dict):
        return {
            name: known.get(item, item)
            if name == "reference" and isinstance(item, str)
            else referring(item, known)
            for name, item in value.items()
        }
    return [referring(item, known) for item in value] if isinstance(value, list) else value
