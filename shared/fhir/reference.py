"""References to other resources (FHIR R4, 2.3)."""

from shared.fhir.resource import Resource


def literal(url: str, display: str | None = None) -> Resource:
    """A reference by type and id, or by a full URL."""
    return {"reference": url} if display is None else {"reference": url, "display": display}


def logical(resource_type: str, identifier: Resource, display: str | None = None) -> Resource:
    """A reference by an identifier, wherever the resource is."""
    found: Resource = {"type": resource_type, "identifier": identifier}
    return found if display is None else {**found, "display": display}
