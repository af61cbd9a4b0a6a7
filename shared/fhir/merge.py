"""What becomes of a resource that is there already: ours follows the images, foreign things stay.

A resource is ours where it bears our mark. In one that is ours, everything that we say is ours; in
one of somebody else, a series is ours if it names our Endpoint, and of the rest what is missing
is added.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.fhir.identifier import is_accession
from shared.fhir.imaging_series import by_number
from shared.fhir.ownership import is_ours
from shared.fhir.partition import partition_system
from shared.fhir.resource import DICOM_UID_SYSTEM, Resource
from shared.fhir.rules import MappingRules, PatientRule

_KEPT = ("id", "text", "language", "extension", "modifierExtension", "contained", "note")
_STUDY_SAID = (
    *("status", "modality", "subject", "started", "basedOn", "referrer", "interpreter"),
    *("numberOfSeries", "numberOfInstances", "procedureCode", "procedure", "location"),
    *("reasonCode", "reason", "description"),
)
_SERIES_SAID = (
    *("uid", "number", "modality", "description", "numberOfInstances", "bodySite", "laterality"),
    *("specimen", "started", "performer", "instance"),
)
_GROWING = ("version", "deviceName", "name")
_NOT_COMPARED = ("meta", "text")


def is_same(first: Resource, second: Resource) -> bool:
    """Whether two say the same; servers write meta and text, and how a decimal looks."""
    return _compared(first) == _compared(second) and _labels(first) == _labels(second)


def merge_own(existing: Resource, proposed: Resource, rules: MappingRules) -> Resource:
    """A resource that is as the images say if it is ours, and as it is if it is not."""
    if not is_ours(existing, rules):
        return existing
    kept = {name: existing[name] for name in _KEPT if name in existing}
    return {**kept, **proposed, "meta": _meta(existing, proposed)}


def merge_shared(existing: Resource, proposed: Resource, rules: MappingRules) -> Resource:
    """A resource that many studies tell of, as a Device: if it is ours, it learns, and forgets not.

    Old studies name old software; so the order in which studies are told does not matter.
    """
    if not is_ours(existing, rules):
        return existing
    grown = {
        name: [*existing[name], *(one for one in proposed[name] if one not in existing[name])]
        for name in _GROWING
        if name in existing and name in proposed
    }
    return {**proposed, **existing, **grown}


def merge_patient(
    existing: Resource, proposed: Resource, rule: PatientRule, rules: MappingRules
) -> Resource:
    """A Patient, as far as a site lets the images change one."""
    ours = is_ours(existing, rules)
    if rule is PatientRule.NEVER:
        return existing
    identifiers = _united(existing.get("identifier", []), proposed["identifier"])
    said = {name: value for name, value in proposed.items() if name not in ("meta", "identifier")}
    follows = rule is PatientRule.OVERWRITE or (ours and rule is PatientRule.SYNC)
    if not follows:
        missing = {name: value for name, value in said.items() if name not in existing}
        return {**existing, **missing, "identifier": identifiers}
    if "name" in said and not ours:
        said["name"] = _renamed(existing.get("name", []), said["name"])
    if "extension" in said or "extension" in existing:
        said["extension"] = _extensions(existing.get("extension", []), said.get("extension", []))
    if ours:
        said["meta"] = _meta(existing, proposed)
    return {**existing, **said, "identifier": identifiers}


def is_somebody_else(existing: Resource, proposed: Resource) -> bool:
    """Whether an identifier seems to have been given twice: all else that is known differs."""
    known = [_families(one) for one in (existing, proposed)]
    births = [one.get("birthDate") for one in (existing, proposed)]
    return bool(all(known) and all(births) and not known[0] & known[1] and births[0] != births[1])


def merge_imaging_study(
    existing: Resource, proposed: Resource, endpoint: str, rules: MappingRules
) -> Resource:
    """An ImagingStudy with our series as they are now; `endpoint` is the reference to ours."""
    ours = is_ours(existing, rules)
    foreign = foreign_series(existing, endpoint, ours=ours)
    series = _series(existing, proposed.get("series", []), endpoint, ours=ours)
    merged = {**existing}
    for name in _STUDY_SAID:
        if ours:
            merged.pop(name, None)
        if name in proposed and (ours or name not in existing):
            merged[name] = proposed[name]
    merged["identifier"] = _study_identifiers(existing, proposed, rules, ours=ours)
    merged["endpoint"] = _united(existing.get("endpoint", []), proposed.get("endpoint", []))
    merged["series"] = sorted([*foreign, *series], key=_series_order) if foreign else series
    _count(merged, existing, endpoint, ours=ours)
    if foreign:
        merged["modality"] = _united(
            proposed.get("modality", []), _foreign_modalities(existing, foreign, ours=ours)
        )
    if ours:
        merged["meta"] = _meta(existing, proposed)
    return {name: value for name, value in merged.items() if value not in ([], None)}


def without_ours(existing: Resource, endpoint: str, rules: MappingRules) -> Resource | None:
    """An ImagingStudy without our series; None if it is ours, and nothing foreign is in it."""
    ours = is_ours(existing, rules)
    foreign = foreign_series(existing, endpoint, ours=ours)
    others = _foreign_identifiers(existing, rules) or any(
        existing.get(name) for name in ("note", "extension", "encounter", "contained")
    )
    endpoints = [one for one in existing.get("endpoint", []) if one.get("reference") != endpoint]
    if ours and not (foreign or others or endpoints):
        return None
    is_told = len(foreign) < len(existing.get("series", []))
    if not is_told and len(endpoints) == len(existing.get("endpoint", [])):
        return existing
    left = {**existing, "series": foreign, "endpoint": endpoints}
    _count(left, existing, endpoint, ours=ours)
    if ours and not foreign:
        left["status"] = "entered-in-error"  # Withdrawn, but for what others say of it.
    return {name: value for name, value in left.items() if value not in ([], None)}


def _count(merged: Resource, existing: Resource, endpoint: str, *, ours: bool) -> None:
    """Say how many series and instances there are.

    Somebody else may have more than he lists: his counts change by what is ours in them.
    """
    foreign = foreign_series(existing, endpoint, ours=ours)
    held, now = existing.get("series", []), merged.get("series", [])
    before = [one for one in held if one not in foreign]
    for name, count in (("numberOfSeries", len), ("numberOfInstances", _instance_counts)):
        others = count(foreign)
        if not ours and name in existing:
            others = max(others, existing[name] - count(before))
        merged[name] = others + count(now) - count(foreign)


def _instance_counts(series: Sequence[Resource]) -> int:
    return sum(map(_instance_count, series))


def foreign_series(existing: Resource, endpoint: str, *, ours: bool) -> Sequence[Resource]:
    """The series of an ImagingStudy that somebody else has put there."""
    return [one for one in existing.get("series", []) if _is_foreign(one, endpoint, ours=ours)]


def _series(
    existing: Resource, proposed: Sequence[Resource], endpoint: str, *, ours: bool
) -> list[Resource]:
    held = {one.get("uid"): one for one in existing.get("series", [])}
    found = []
    for one in proposed:
        before = held.get(one["uid"], {})
        if before and _is_foreign(before, endpoint, ours=ours):
            continue  # Somebody else tells of it already.
        kept = {name: value for name, value in before.items() if name not in _SERIES_SAID}
        if not ours:
            kept["endpoint"] = _united(kept.get("endpoint", []), [{"reference": endpoint}])
        found.append({**kept, **one})
    return found


def _is_foreign(series: Resource, endpoint: str, *, ours: bool) -> bool:
    """Whether a series names other Endpoints than ours, or none in a study that is not ours."""
    endpoints = [one.get("reference") for one in series.get("endpoint", [])]
    return endpoint not in endpoints and bool(endpoints or not ours)


def _series_order(series: Resource) -> tuple[bool, int, str]:
    return by_number(series.get("number"), str(series.get("uid")))


def _instance_count(series: Resource) -> int:
    return int(series.get("numberOfInstances", len(series.get("instance", []))))


def _study_identifiers(
    existing: Resource, proposed: Resource, rules: MappingRules, *, ours: bool
) -> list[Resource]:
    if ours:
        return _united(proposed["identifier"], _foreign_identifiers(existing, rules))
    return _united(existing.get("identifier", []), proposed["identifier"])


def _foreign_identifiers(existing: Resource, rules: MappingRules) -> list[Resource]:
    """The identifiers in a study of ours that others gave it; accession numbers are all ours."""
    systems = {DICOM_UID_SYSTEM, partition_system(rules), rules.study_id_system}
    return [
        one
        for one in existing.get("identifier", [])
        if one.get("system") not in systems and not is_accession(one)
    ]


def _foreign_modalities(
    existing: Resource, foreign: Sequence[Resource], *, ours: bool
) -> list[Resource]:
    """The modalities of a study that are not only ours."""
    theirs = {_key(one["modality"]) for one in foreign if "modality" in one}
    return [one for one in existing.get("modality", []) if not ours or _key(one) in theirs]


def _united(first: Sequence[Resource], second: Sequence[Resource]) -> list[Resource]:
    """The first, and those of the second that are not among them."""
    keys = {_key(one) for one in first}
    return [*first, *(one for one in second if _key(one) not in keys)]


def _key(one: Resource) -> tuple[Any, ...]:
    """What tells an identifier, reference, coding or concept from others."""
    codings = tuple((coding.get("system"), coding.get("code")) for coding in one.get("coding", ()))
    parts = ("system", "value", "code", "reference", "text")
    return (*(one.get(name) for name in parts), codings)


def _renamed(existing: Sequence[Resource], names: Sequence[Resource]) -> list[Resource]:
    uses = {name.get("use") for name in names}
    return [*names, *(name for name in existing if name.get("use") not in uses)]


def _extensions(existing: Sequence[Resource], said: Sequence[Resource]) -> list[Resource]:
    urls = {one["url"] for one in said}
    return [*said, *(one for one in existing if one.get("url") not in urls)]


def _families(patient: Resource) -> set[str]:
    names = patient.get("name", [])
    return {str(name["family"]).casefold() for name in names if name.get("family")}


def _meta(existing: Resource, proposed: Resource) -> Mapping[str, Any]:
    """Ours, beside the profiles and tags that others have put there."""
    own, held = proposed.get("meta", {}), existing.get("meta", {})
    found = {**held, **own}
    for name in ("tag", "security", "profile"):
        given, before = own.get(name, []), held.get(name, [])
        found[name] = [*given, *(one for one in before if one not in given)]
    return {name: value for name, value in found.items() if value}


def _compared(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name not in _NOT_COMPARED}


def _labels(resource: Resource) -> set[tuple[str, Any, Any]]:
    """What is in meta that is not the server's own."""
    meta = resource.get("meta", {})
    return {
        (name, one.get("system"), one.get("code"))
        for name in ("tag", "security")
        for one in meta.get(name, ())
    }
