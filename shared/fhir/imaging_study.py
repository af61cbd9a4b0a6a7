"""ImagingStudy: a study with its series and instances (FHIR R4, 8.22).

What is said of the whole comes from the study, what is said of a series from its own data set;
arrays are sorted, so that the same study always gives the same resource.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from shared.fhir.coding import concept, modality_coding
from shared.fhir.data_set import DataSet
from shared.fhir.date_time import Clock, fhir_date_time
from shared.fhir.endpoint import map_endpoint
from shared.fhir.identifier import plain
from shared.fhir.imaging_series import map_series, series_order
from shared.fhir.made import Made
from shared.fhir.mapping_warning import Warnings
from shared.fhir.partition import uid_key
from shared.fhir.practitioner import map_practitioner, persons, reference
from shared.fhir.pruning import prune
from shared.fhir.reference import literal
from shared.fhir.resource import Identifier, Proposed, Resource
from shared.fhir.rules import MappingRules
from shared.fhir.service_request import map_service_request, orders
from shared.fhir.study_content import StudyContent

_REASONS = (
    ("ReasonForPerformedProcedureCodeSequence", None),
    ("ReasonForRequestedProcedureCodeSequence", "ReasonForTheRequestedProcedure"),
    ("ReasonForVisitCodeSequence", "ReasonForVisit"),
)
_PLACES = ("InstitutionalDepartmentName", "PerformedLocation", "InstitutionName")


def map_imaging_study(
    content: StudyContent, subject: Resource, rules: MappingRules, made: Made, warnings: Warnings
) -> Proposed:
    """The ImagingStudy; what else is made and it refers to is added to what is made."""
    data_set = DataSet(content.document)
    ordered = sorted(content.series, key=series_order)
    key = uid_key(content.partition_name, content.uid, rules)
    series = [map_series(one, rules, made, warnings) for one in ordered]
    data_sets = [data_set, *(DataSet(one.document) for one in ordered)]
    clock = Clock.of(data_set, rules.time_zone, warnings)
    started = fhir_date_time(data_set, "StudyDate", "StudyTime", clock, warnings)
    requested = [
        (order, map_service_request(order, subject, data_set, rules))
        for order in orders(data_sets, rules)
    ]
    for _, proposed in requested:
        made.add(proposed)
    resource = prune(
        {
            "resourceType": "ImagingStudy",
            "identifier": _identifiers(content, key, data_set, rules)
            + [order.identifier for order, _ in requested],
            "status": "available",
            "modality": _modalities(series),
            "subject": subject,
            "started": started or min(_starts(series), key=_moment, default=None),
            "basedOn": [order.reference(proposed) for order, proposed in requested],
            "referrer": next(iter(_referrers(data_set, rules, made)), None),
            "interpreter": _physicians(
                data_set,
                ("NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence"),
                rules,
                made,
            ),
            "endpoint": [literal(map_endpoint(content.partition_name, rules).full_url)],
            "numberOfSeries": len(content.series),
            "numberOfInstances": sum(one.instance_count for one in content.series),
            "procedureCode": _procedures(data_sets, data_set, rules),
            "location": _location(data_set),
            "reasonCode": _reasons(data_sets, data_set, rules),
            "description": data_set.text("StudyDescription"),
        }
    )
    return Proposed(key, {**resource, "series": series})


def _identifiers(
    content: StudyContent, key: Identifier, data_set: DataSet, rules: MappingRules
) -> list[Resource]:
    own = Identifier.of_uid(content.uid)
    found = [{"use": "official", **plain(own)}]
    if key != own:
        found.append({"use": "secondary", **plain(key)})
    study_id = data_set.text("StudyID")
    if study_id is not None and rules.study_id_system:
        found.append({"use": "secondary", **plain(Identifier(rules.study_id_system, study_id))})
    return found


def _modalities(series: Sequence[Resource]) -> list[Resource]:
    found = {one["modality"]["code"] for one in series}
    return [modality_coding(code) for code in sorted(found & _acquiring())]


@cache
def _acquiring() -> frozenset[str]:
    """Modalities that make images (PS3.16 CID 29): those that FHIR R4 wants of a study."""
    from pydicom.sr.codedict import codes  # noqa: PLC0415 - large, and needed but here

    return frozenset(code.value for code in codes.cid29.concepts.values())


def _starts(series: Sequence[Resource]) -> list[str]:
    return [one["started"] for one in series if "started" in one]


def _moment(started: str) -> datetime:
    """A dateTime as a moment; a date as its beginning somewhere."""
    moment = datetime.fromisoformat(f"{started}-01-01"[:10] if "T" not in started else started)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _referrers(data_set: DataSet, rules: MappingRules, made: Made) -> list[Resource]:
    keywords = ("ReferringPhysicianName", "ReferringPhysicianIdentificationSequence")
    return _physicians(data_set, keywords, rules, made)


def _physicians(
    data_set: DataSet, keywords: tuple[str, str], rules: MappingRules, made: Made
) -> list[Resource]:
    found = persons(data_set, *keywords, rules)
    for person in found:
        made.add(map_practitioner(person, rules))
    return [reference(person, rules) for person in found]


def _procedures(data_sets: Sequence[DataSet], root: DataSet, rules: MappingRules) -> list[Resource]:
    for keyword in ("ProcedureCodeSequence", "RequestedProcedureCodeSequence"):
        found = _concepts(data_sets, keyword, root, rules)
        if found:
            return found
    return []


def _reasons(data_sets: Sequence[DataSet], root: DataSet, rules: MappingRules) -> list[Resource]:
    """Why the study was made, each reason once, coded ones first."""
    places = [*data_sets, *(i for one in data_sets for i in one.items("RequestAttributesSequence"))]
    coded = [one for codes, _ in _REASONS for one in _concepts(places, codes, root, rules)]
    texts = {
        text
        for _, keyword in _REASONS
        if keyword is not None
        for place in places
        if (text := place.text(keyword))
    }
    said = {one.get("text") for one in coded}
    found = [*coded, *({"text": text} for text in sorted(texts - said))]
    return [one for number, one in enumerate(found) if one not in found[:number]]


def _concepts(
    data_sets: Sequence[DataSet], keyword: str, root: DataSet, rules: MappingRules
) -> list[Resource]:
    found = [
        one
        for data_set in data_sets
        for item in data_set.items(keyword)
        if (one := concept(item, rules.scheme_systems, root)) is not None
    ]
    distinct = [one for number, one in enumerate(found) if one not in found[:number]]
    return sorted(distinct, key=str)


def _location(data_set: DataSet) -> Resource | None:
    parts = [text for keyword in _PLACES if (text := data_set.text(keyword))]
    return {"type": "Location", "display": ", ".join(dict.fromkeys(parts))} if parts else None
