"""Bundles of searches and of changes, and what they are answered with (FHIR R4, 3.1.0.11)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from shared.errors import FhirConflictError, FhirRefusedError, StoreUnavailableError
from shared.fhir.resource import Resource
from shared.fhir.search import FhirSearch
from shared.ports import FhirWrite, FhirWritten

CONFLICTS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})
_BUSY = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.LOCKED,
    }
)
_MAX_ISSUES = 20


def searching(searches: Sequence[FhirSearch]) -> Resource:
    """A batch of searches: in a body, where no log of addresses sees what is looked for."""
    return {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {"request": {"method": "GET", "url": f"{search.resource_type}?{search.query}"}}
            for search in searches
        ],
    }


def writing(writes: Sequence[FhirWrite]) -> Resource:
    """A transaction of changes."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [_entry(write) for write in writes],
    }


def etag(version: str) -> str:
    """A version as the headers name it."""
    return f'W/"{version}"'


def entries(bundle: Resource, count: int) -> Sequence[Resource]:
    """The entries of an answer, as many as there were requests.

    Raises:
        FhirRefusedError: It is no such answer.
    """
    found = bundle.get("entry") or []
    if bundle.get("resourceType") != "Bundle" or len(found) != count:
        raise FhirRefusedError("The FHIR server answers what cannot be understood.", 200)
    return list(found)


def resources(bundle: Resource) -> list[Resource]:
    """What a search has found."""
    return [
        entry["resource"]
        for entry in bundle.get("entry") or ()
        if "resource" in entry and entry.get("search", {}).get("mode") != "outcome"
    ]


def status_of(entry: Resource) -> int:
    """The status of an entry of an answer, 500 where it tells none."""
    text = str(entry.get("response", {}).get("status", ""))[:3]
    return int(text) if text.isdecimal() else HTTPStatus.INTERNAL_SERVER_ERROR


def written(status: int, location: str | None) -> FhirWritten:
    """What became of a change, by its status and location."""
    parts = [] if location is None else location.split("/_history/", 1)[0].rstrip("/").split("/")
    reference = "/".join(parts[-2:]) if len(parts) > 1 else None
    return FhirWritten(status, reference)


def is_busy(status: int) -> bool:
    """Whether a status means that the same request may succeed later."""
    return status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def check(status: int, outcome: object) -> None:
    """Raise what a status means, if it is no success."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status in CONFLICTS:
        raise FhirConflictError("A resource of the FHIR server is not as it was.")
    if is_busy(status):
        raise StoreUnavailableError("The FHIR server does not answer now.")
    issues = _issues(outcome)
    raise FhirRefusedError(
        f"The FHIR server refuses a request with status {status}.", status, issues
    )


def check_entry(entry: Resource) -> None:
    """Raise what the status of an entry of an answer means, if it is no success."""
    check(status_of(entry), entry.get("response", {}).get("outcome"))


def _issues(outcome: object) -> tuple[str, ...]:
    """Codes and expressions of an OperationOutcome; its words may quote values."""
    found = outcome.get("issue") if isinstance(outcome, Mapping) else None
    issues = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
    return tuple(
        " ".join([str(one.get("code", ""))[:40], *_expressions(one)]).strip()
        for one in issues[:_MAX_ISSUES]
    )


def _expressions(issue: Mapping[str, Any]) -> list[str]:
    given = issue.get("expression")
    return [str(one)[:100] for one in given[:5]] if isinstance(given, list) else []


def _entry(write: FhirWrite) -> Resource:
    request: Resource = {"method": write.method, "url": write.url}
    if write.if_match is not None:
        request["ifMatch"] = etag(write.if_match)
    if write.if_none_exist is not None:
        request["ifNoneExist"] = write.if_none_exist.query
    entry: Resource = {"request": request}
    if write.full_url is not None:
        entry["fullUrl"] = write.full_url
    if write.resource is not None:
        entry["resource"] = write.resource
    return entry
