"""What a FHIR server has already of what a study is told as: found by one batch of searches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import batched

from shared.errors import AmbiguousIdentityError
from shared.fhir.ownership import is_ours
from shared.fhir.partition import is_known_by
from shared.fhir.resource import Identifier, Proposed, Resource
from shared.fhir.rules import MappingRules
from shared.fhir.search import FhirSearch
from shared.fhir.study_resources import StudyResources
from shared.ports import FhirServer

_MAX_HOPS = 5
_MAX_SEARCHES = 500
_PAGE = "500"
_REPORTS = "urn:oid:1.2.840.10008.5.1.4.1.1.88."
"""The SOP classes of structured reports, of which those of dose may use any."""


@dataclass(slots=True)
class Existing:
    """Resources that are there.

    Attributes:
        found: By the full URLs that stand for them.
        similar: Full URLs of what is not there, but something like it that the server may take for
            it: it may compare without case.
        orders: ServiceRequests by the system and value of their accession number.
        moved: Those of ours that are to follow the study to another patient, by full URL.
        has_siblings: Whether the same study of other partitions is there.
        stale: Observations of the study, in case they are not proposed any more.
        of_others: Full URLs of Observations that are part of other studies.
        subject: Whom an ImagingStudy of somebody else names, where it is not the patient.
    """

    found: dict[str, Resource] = field(default_factory=dict)
    similar: set[str] = field(default_factory=set)
    orders: dict[tuple[str, str], Sequence[Resource]] = field(default_factory=dict)
    moved: dict[str, Resource] = field(default_factory=dict)
    stale: Sequence[Resource] = ()
    of_others: set[str] = field(default_factory=set)
    subject: Resource | None = None
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
        AmbiguousIdentityError: Several patients or studies have the identifier, or the server would
            take another patient for this one.
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
        elif answer:
            existing.similar.add(one.full_url)
    for key, answer in zip(orders, answers[len(proposed) :], strict=True):
        existing.orders[key.system, key.value] = answer
    study = existing.found.get(resources.imaging_study.full_url)
    more = _LookUp(server, resources, rules, existing, study)
    await more.patient()
    await more.orders()
    await more.observations()
    return existing


@dataclass(frozen=True, slots=True)
class _LookUp:
    """What is looked up where the first searches leave something open."""

    server: FhirServer
    resources: StudyResources
    rules: MappingRules
    existing: Existing
    study: Resource | None

    async def patient(self) -> None:
        """See whom the ImagingStudy names, and that no other patient is taken for a new one."""
        patient, existing = self.resources.patient, self.existing
        if patient is None:
            return
        named = await self._named()
        if named is not None and is_known_by(named, patient.key, self.rules):
            # Some servers find no identifiers with a vertical line, or none soon after a change.
            existing.found.setdefault(patient.full_url, named)
        elif self.study is not None and not is_ours(self.study, self.rules):
            existing.subject = named
        if patient.full_url in existing.similar and patient.full_url not in existing.found:
            raise AmbiguousIdentityError("The FHIR server has a patient of a similar identifier.")

    async def _named(self) -> Resource | None:
        """The Patient whom the ImagingStudy names, if it is another one than was found."""
        reference = subject_of(self.study)
        is_known = reference is None or reference in self.existing.references.values()
        return None if reference is None or is_known else await self.server.read(reference)

    async def orders(self) -> None:
        """See which orders of ours are of another patient, though only this study fulfils them."""
        patient, existing = self.resources.patient, self.existing
        if patient is None:
            return
        subject = existing.references.get(patient.full_url, patient.full_url)
        for order in self.resources.orders:
            held = existing.found.get(order.full_url)
            if held is None or not is_ours(held, self.rules) or subject_of(held) == subject:
                continue
            if await self._is_only_of_this(held):
                moved = {**held, "subject": {"reference": subject}}
                existing.moved[order.full_url] = moved
                key = order.key.system, order.key.value
                existing.orders[key] = [
                    moved if one["id"] == held["id"] else one for one in existing.orders[key]
                ]

    async def _is_only_of_this(self, order: Resource) -> bool:
        search = FhirSearch("ImagingStudy", (("basedon", reference_to(order)),))
        [studies] = await self.server.search([search])
        own = set() if self.study is None else {self.study["id"]}
        return {one["id"] for one in studies} <= own

    async def observations(self) -> None:
        """See which Observations the study has, and which that it would have others have."""
        existing, proposed = self.existing, self.resources.observations
        if self.study is not None and (proposed or has_reports(self.study)):
            existing.stale = await observations_of(self.server, self.study)
        own = None if self.study is None else reference_to(self.study)
        are_there: dict[str, bool] = {}
        for one in proposed:
            studies = _studies_of(existing.found.get(one.full_url, {}))
            if own in studies:
                continue
            for study in studies:
                if study not in are_there:
                    are_there[study] = await self.server.read(study) is not None
            if any(are_there[study] for study in studies):
                existing.of_others.add(one.full_url)


def _studies_of(observation: Resource) -> Sequence[str]:
    """The ImagingStudy resources of the server that an Observation is part of."""
    references = [str(one.get("reference", "")) for one in observation.get("partOf", ())]
    return [one for one in references if one.startswith("ImagingStudy/")]


def subject_of(resource: Resource | None) -> str | None:
    """The reference to the Patient whom a resource names, None where it is none of the server."""
    reference = str((resource or {}).get("subject", {}).get("reference", ""))
    return reference if reference.startswith("Patient/") else None


def is_moved(study: Resource | None, resources: StudyResources, existing: Existing) -> bool:
    """Whether an ImagingStudy names another Patient than it is to name."""
    patient = resources.patient
    now = None if patient is None else existing.references.get(patient.full_url)
    before = subject_of(study)
    return before is not None and before != now


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


def has_reports(study: Resource) -> bool:
    """Whether an ImagingStudy lists structured reports."""
    return any(
        str(instance.get("sopClass", {}).get("code", "")).startswith(_REPORTS)
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
