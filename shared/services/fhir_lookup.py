"""What a FHIR server has already of what a study is told as: found by one batch of searches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import batched

from shared.errors import AmbiguousIdentityError
from shared.fhir.partition import is_known_by
from shared.fhir.resource import Identifier, Proposed, Resource
from shared.fhir.rules import MappingRules
from shared.fhir.search import FhirSearch
from shared.fhir.study_resources import StudyResources
from shared.ports import FhirServer

_MAX_HOPS = 5
_MAX_SEARCHES = 500
_PAGE = "500"
_DOSE_REPORTS = tuple(f"urn:oid:1.2.840.10008.5.1.4.1.1.88.{number}" for number in (67, 68, 76))


@dataclass(slots=True)
class Existing:
    """Resources that are there.

    Attributes:
        found: By the full URLs that stand for them.
        orders: ServiceRequests by the system and value of their accession number.
        has_siblings: Whether the same study of other partitions is there.
        stale: Observations of the study, in case they are not proposed any more.
    """

    found: dict[str, Resource] = field(default_factory=dict)
    orders: dict[tuple[str, str], Sequence[Resource]] = field(default_factory=dict)
    stale: Sequence[Resource] = ()
    has_siblings: bool = False

    @property
    def references(self) -> Mapping[str, str]:
        """Type and id of what full URLs stand for."""
        return {url: reference_to(resource) for url, resource in self.found.items()}


def reference_to(resource: Resource) -> str:
    """Type and id of a resource."""
    return f"{resource['resourceType']}/{resource['id']}"


async def look_up(server: FhirServer, resources: StudyResources, rules: MappingRules) -> Existing:
    """Find what is there.

    Raises:
        AmbiguousIdentityError: Several patients or studies have the identifier.
    """
    proposed = resources.proposed
    orders = _order_keys(resources.imaging_study.resource)
    searches = [FhirSearch.by_identifier(one.type, one.key) for one in proposed]
    searches += [FhirSearch.by_identifier("ServiceRequest", key) for key in orders]
    answers = await _answers(server, searches)
    existing = Existing()
    for one, answer in zip(proposed, answers, strict=False):
        chosen = await _chosen(server, one, answer, rules)
        if chosen is not None:
            existing.found[one.full_url] = chosen
        elif one is resources.imaging_study:
            existing.has_siblings = len(answer) > 0
    for key, answer in zip(orders, answers[len(proposed) :], strict=True):
        existing.orders[key.system, key.value] = answer
    study = existing.found.get(resources.imaging_study.full_url)
    if study is None:
        return existing
    patient = resources.patient
    if patient is not None and patient.full_url not in existing.found:
        existing.found |= await _subject(server, study, patient, rules)
    if resources.observations or has_dose_reports(study):
        existing.stale = await observations_of(server, study)
    return existing


async def _answers(
    server: FhirServer, searches: Sequence[FhirSearch]
) -> Sequence[Sequence[Resource]]:
    """What searches find; a bundle takes no more than some hundreds."""
    found: list[Sequence[Resource]] = []
    for some in batched(searches, _MAX_SEARCHES, strict=False):
        found += await server.search(some)
    return found


async def find_study(server: FhirServer, key: Identifier, rules: MappingRules) -> Resource | None:
    """The ImagingStudy of an identifier.

    Raises:
        AmbiguousIdentityError: There are several.
    """
    [answer] = await server.search([FhirSearch.by_identifier("ImagingStudy", key)])
    return _only(_exact(answer, key, rules))


async def observations_of(server: FhirServer, study: Resource) -> Sequence[Resource]:
    """The Observations that are part of an ImagingStudy."""
    asked = (("part-of", reference_to(study)), ("_count", _PAGE))
    [found] = await server.search([FhirSearch("Observation", asked)])
    return found


def has_dose_reports(study: Resource) -> bool:
    """Whether an ImagingStudy lists radiation dose reports."""
    return any(
        instance.get("sopClass", {}).get("code") in _DOSE_REPORTS
        for series in study.get("series", ())
        for instance in series.get("instance", ())
    )


def order_reference(based_on: Resource, existing: Existing, subject: str | None) -> Resource:
    """A reference to an order, by the resource too where just one of the same subject is found.

    One that is made is referred to as it is; that of another patient never is.
    """
    identifier = based_on.get("identifier", {})
    answer = existing.orders.get((identifier.get("system", ""), identifier.get("value", "")), ())
    if not answer:
        return based_on
    by_number = {name: value for name, value in based_on.items() if name != "reference"}
    matching = [
        one for one in answer if subject and one.get("subject", {}).get("reference") == subject
    ]
    if len(matching) != 1:
        return by_number
    return {"reference": reference_to(matching[0]), **by_number}


def _order_keys(imaging_study: Resource) -> Sequence[Identifier]:
    return [
        Identifier(one["identifier"]["system"], one["identifier"]["value"])
        for one in imaging_study.get("basedOn", ())
        if "system" in one["identifier"]
    ]


async def _chosen(
    server: FhirServer, proposed: Proposed, answer: Sequence[Resource], rules: MappingRules
) -> Resource | None:
    exact = _exact(answer, proposed.key, rules)
    if proposed.type == "Patient":
        return await _patient(server, exact)
    if proposed.type == "ImagingStudy":
        return _only(exact)
    # Of what was made twice long ago, always the same one.
    return min(exact, key=lambda one: str(one["id"]), default=None)


def _exact(answer: Sequence[Resource], key: Identifier, rules: MappingRules) -> Sequence[Resource]:
    return [one for one in answer if is_known_by(one, key, rules)]


async def _patient(server: FhirServer, answer: Sequence[Resource]) -> Resource | None:
    """The patient, or who has taken his place when patients were merged."""
    living = [one for one in answer if one.get("active", True) and _survivor(one) is None]
    if living or not answer:
        return _only(living)
    survivors = {_survivor(one) for one in answer} - {None}
    if len(survivors) != 1:
        return _only(answer)
    patient = answer[0]
    for _ in range(_MAX_HOPS):
        next_ = _survivor(patient)
        if next_ is None:
            return patient
        found = await server.read(next_)
        if found is None:
            break
        patient = found
    raise AmbiguousIdentityError("The patient has been merged in a circle, or into nobody.")


async def _subject(
    server: FhirServer, study: Resource, patient: Proposed, rules: MappingRules
) -> Mapping[str, Resource]:
    """The patient, if the ImagingStudy names him though a search has not found him.

    Some servers find no identifiers with a vertical line in them, or none soon after a change.
    """
    reference = str(study.get("subject", {}).get("reference", ""))
    found = await server.read(reference) if reference.startswith("Patient/") else None
    if found is None or not is_known_by(found, patient.key, rules):
        return {}
    return {patient.full_url: found}


def _survivor(patient: Resource) -> str | None:
    for link in patient.get("link", ()):
        if link.get("type") == "replaced-by":
            return str(link.get("other", {}).get("reference", "")) or None
    return None


def _only(found: Sequence[Resource]) -> Resource | None:
    if len(found) > 1:
        raise AmbiguousIdentityError("The FHIR server has several resources of one identifier.")
    return found[0] if found else None


def endpoint_of(proposed: Proposed, answer: Sequence[Resource], rules: MappingRules) -> str | None:
    """The reference to an Endpoint that was found."""
    exact = _exact(answer, proposed.key, rules)
    return min((reference_to(one) for one in exact), default=None)
