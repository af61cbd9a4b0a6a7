"""The series of an ImagingStudy, with their instances (FHIR R4, 8.22.3)."""

from collections.abc import Sequence
from operator import itemgetter

from shared.dicom.searchable import tag_of
from shared.fhir.body_part import body_part
from shared.fhir.coding import PARTICIPATION, SCT, URI_SYSTEM, coding, modality_coding
from shared.fhir.data_set import DataSet
from shared.fhir.date_time import Clock, fhir_date_time, fhir_moment
from shared.fhir.device import device_name, map_device
from shared.fhir.identifier import plain
from shared.fhir.made import Made
from shared.fhir.mapping_warning import Warnings
from shared.fhir.practitioner import map_practitioner, persons, reference
from shared.fhir.pruning import prune
from shared.fhir.reference import literal
from shared.fhir.resource import Identifier, Resource
from shared.fhir.rules import MappingRules
from shared.fhir.study_content import InstanceContent, SeriesContent

NO_MODALITY = "There is none, so the series is told to be of another one."
BAD_NUMBER = "FHIR takes no such number, and it was left out."

_OTHER = "OT"
_HIGHEST_NUMBER = 2**31 - 1
_LATERALITIES = {
    "R": {"system": SCT, "code": "24028007", "display": "Right"},
    "L": {"system": SCT, "code": "7771000", "display": "Left"},
    "B": {"system": SCT, "code": "51440002", "display": "Right and left"},
}
_PERFORMERS = (
    ("PerformingPhysicianName", "PerformingPhysicianIdentificationSequence", "PRF"),
    ("OperatorsName", "OperatorIdentificationSequence", "SPRF"),
)
_STARTS = (
    ("SeriesDate", "SeriesTime"),
    ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
)


def series_order(series: SeriesContent) -> tuple[bool, int, str]:
    """Where a series comes: by number, those without one last, then by UID."""
    return by_number(DataSet(series.document).integer("SeriesNumber"), series.uid)


def map_series(
    series: SeriesContent, rules: MappingRules, made: Made, warnings: Warnings
) -> Resource:
    """One series; devices and practitioners that it refers to are added to what is made."""
    data_set, warnings = DataSet(series.document), warnings.within(series.uid)
    modality = data_set.text("Modality")
    if modality is None:
        warnings.add(tag_of("Modality"), NO_MODALITY)
    clock = Clock.of(data_set, rules.time_zone, warnings)
    found: Resource = prune(
        {
            "uid": series.uid,
            "number": _number(data_set, "SeriesNumber", warnings),
            "modality": modality_coding(modality or _OTHER),
            "description": data_set.text("SeriesDescription")
            or data_set.item("SeriesDescriptionCodeSequence").text("CodeMeaning"),
            "numberOfInstances": series.instance_count,
            "bodySite": _body_site(data_set, rules),
            "laterality": _laterality(series, data_set),
            "specimen": _specimens(data_set),
            "started": _started(data_set, clock, warnings),
            "performer": _performers(data_set, rules, made),
        }
    )
    instances = _instances(series.instances, warnings)
    return {**found, "instance": instances} if instances else found


def _instances(instances: Sequence[InstanceContent], warnings: Warnings) -> list[Resource]:
    """Instances by number, those without one last, then by UID; nothing in them is empty.

    There may be many thousands.
    """
    found: list[tuple[tuple[bool, int, str], Resource]] = []
    for instance in instances:
        data_set = DataSet(instance.document)
        sop_class, number = data_set.text("SOPClassUID"), data_set.integer("InstanceNumber")
        if sop_class is None:
            continue
        one: Resource = {
            "uid": instance.uid,
            "sopClass": {"system": URI_SYSTEM, "code": f"urn:oid:{sop_class}"},
        }
        if (told := _told(number, data_set, "InstanceNumber", warnings)) is not None:
            one["number"] = told
        if instance.is_whole and (title := _title(data_set)) is not None:
            one["title"] = title
        found.append((by_number(number, instance.uid), one))
    found.sort(key=itemgetter(0))
    return [one for _, one in found]


def by_number(number: int | None, uid: str) -> tuple[bool, int, str]:
    """Where something comes: by its number, what has none last, then by UID."""
    return number is None, number or 0, uid


def _number(data_set: DataSet, keyword: str, warnings: Warnings) -> int | None:
    return _told(data_set.integer(keyword), data_set, keyword, warnings)


def _told(number: int | None, data_set: DataSet, keyword: str, warnings: Warnings) -> int | None:
    if number is not None and 0 <= number <= _HIGHEST_NUMBER:
        return number
    if data_set.has(keyword):
        warnings.add(tag_of(keyword), BAD_NUMBER)
    return None


def _title(data_set: DataSet) -> str | None:
    """What a document or presentation state is called."""
    name = data_set.item("ConceptNameCodeSequence").text("CodeMeaning")
    keywords = ("DocumentTitle", "ContentLabel", "ContentDescription")
    return name or next((text for one in keywords if (text := data_set.text(one))), None)


def _body_site(data_set: DataSet, rules: MappingRules) -> Resource | None:
    coded = coding(data_set.item("AnatomicRegionSequence"), rules.scheme_systems, data_set)
    if coded is not None:
        return coded
    term = data_set.text("BodyPartExamined")
    return None if term is None else body_part(term)


def _laterality(series: SeriesContent, data_set: DataSet) -> Resource | None:
    """Of the whole series; that of an image is of no other one."""
    side = data_set.text("Laterality")
    if side is None and series.instance_count == 1:
        side = data_set.text("ImageLaterality")
    return _LATERALITIES.get(side or "")


def _specimens(data_set: DataSet) -> list[Resource]:
    found = []
    for item in data_set.items("SpecimenDescriptionSequence"):
        uid, label = item.text("SpecimenUID"), item.text("SpecimenIdentifier")
        if uid is not None:
            identifier = plain(Identifier.of_uid(uid))
            found.append({"type": "Specimen", "identifier": identifier, "display": label})
        elif label is not None:
            found.append({"type": "Specimen", "display": label})
    return sorted(found, key=str)


def _started(data_set: DataSet, clock: Clock, warnings: Warnings) -> str | None:
    for day, time in _STARTS:
        moment = fhir_date_time(data_set, day, time, clock, warnings)
        if moment is not None:
            return moment
    acquired = data_set.text("AcquisitionDateTime")
    if acquired is not None:
        return fhir_moment(acquired, tag_of("AcquisitionDateTime"), clock, warnings)
    return fhir_date_time(data_set, "AcquisitionDate", "AcquisitionTime", clock, warnings)


def _performers(data_set: DataSet, rules: MappingRules, made: Made) -> list[Resource]:
    found = []
    for names, identification, function in _PERFORMERS:
        for person in persons(data_set, names, identification, rules):
            made.add(map_practitioner(person, rules))
            found.append(_performer(function, reference(person, rules)))
    name = device_name(data_set)
    device = map_device(data_set, rules) if rules.devices else None
    if device is not None:
        made.add((device,))
        found.append(_performer("DEV", literal(device.full_url, name)))
    elif name is not None:
        found.append(_performer("DEV", {"type": "Device", "display": name}))
    return found


def _performer(function: str, actor: Resource) -> Resource:
    code = {"system": PARTICIPATION, "code": function}
    return {"function": {"coding": [code]}, "actor": actor}
