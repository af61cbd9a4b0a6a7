"""The single changes that make up a transaction at a FHIR server."""

from shared.fhir.resource import Proposed, Resource
from shared.fhir.search import FhirSearch
from shared.ports import FhirWrite
from shared.services.fhir_lookup import reference_to


def creation(
    proposed: Proposed, resource: Resource, *, endpoint: str | None = None, at_once: bool = False
) -> FhirWrite:
    """That a resource is made, unless one with its identifier, and that endpoint, is there.

    `at_once` makes it in any case.
    """
    if at_once:
        return FhirWrite("POST", proposed.type, resource, full_url=proposed.full_url)
    search = FhirSearch.by_identifier(proposed.type, proposed.key)
    if endpoint is not None:
        search = FhirSearch(proposed.type, (*search.parameters, ("endpoint", endpoint)))
    return FhirWrite(
        "POST", proposed.type, resource, full_url=proposed.full_url, if_none_exist=search
    )


def change(resource: Resource, held: Resource) -> FhirWrite:
    """That a resource takes the place of what is held, if that has not changed."""
    meta = {
        name: value
        for name, value in resource.get("meta", {}).items()
        if name not in ("versionId", "lastUpdated")
    }
    written = {**resource, "meta": meta} if meta else _without_meta(resource)
    return FhirWrite("PUT", reference_to(held), written, if_match=_version(held))


def removal(held: Resource) -> FhirWrite:
    """That what is held is deleted, if it has not changed."""
    return FhirWrite("DELETE", reference_to(held), if_match=_version(held))


def _version(held: Resource) -> str | None:
    version = held.get("meta", {}).get("versionId")
    return None if version is None else str(version)


def _without_meta(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name != "meta"}
