"""Radiation dose reports as Observations: one of the whole, and one of each event where wanted.

Totals are taken from the containers of totals, and never from the whole tree, where events have
values of the same names.

Standard: PS3.16 TID 10001, 10011 and 10021 (2025b); HL7 Radiation Dose Summary for Diagnostic
Procedures on FHIR 1.0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.dicom.searchable import tag_of
from shared.fhir.coding import LOINC, SCT
from shared.fhir.content_tree import ContentItem, dcm
from shared.fhir.data_set import DataSet
from shared.fhir.date_time import Clock, fhir_moment
from shared.fhir.human_name import display
from shared.fhir.identifier import plain
from shared.fhir.mapping_warning import Warnings
from shared.fhir.partition import uid_key
from shared.fhir.pruning import prune
from shared.fhir.quantity import quantity, whole_number
from shared.fhir.reference import literal
from shared.fhir.resource import Identifier, Proposed, Resource
from shared.fhir.rules import DoseRule, MappingRules
from shared.fhir.study_content import InstanceContent, StudyContent

_REPORTS = (dcm("113701"), dcm("113500"))
"""The concept names of reports of X-ray and of radiopharmaceutical dose."""
_TOTALS = (dcm("113702"), dcm("113811"))
_ADMINISTRATION = dcm("113502")
_EVENTS = (dcm("113706"), dcm("113819"), _ADMINISTRATION)
_EVENT_UID = (dcm("113769"), dcm("113503"))
_STARTS = (dcm("113809"), dcm("111526"), dcm("123003"))
_PLANE, _LATERALITY = dcm("113764"), (SCT, "272741003")
_DEVICE_UID, _DEVICE_NAME = dcm("121012"), dcm("121013")
_AUTHORISER = dcm("113850")
_PROCEDURE = dcm("121058")
_REGION = dcm("123014")
_AGENT = (SCT, "349358000")
_SUMMARY = {"system": LOINC, "code": "73569-6"}
_SUMMARY_TEXT = "Radiation exposure and protection information"
_EVENT = {"system": dcm("113852")[0], "code": "113852", "display": "Irradiation Event"}

_TOTAL_VALUES = tuple(
    dcm(code)
    for code in (
        *("113813", "113814", "113725", "113722", "113726", "113727", "113730", "111637"),
        *("113731", "113812"),
    )
)
_COUNTS = frozenset({dcm("113731"), dcm("113812")})
_EVENT_VALUES = (dcm("113830"), dcm("113838"), dcm("113835"), dcm("122130"), dcm("113738"))
_ADMINISTERED = (dcm("113507"), _AGENT, (SCT, "89457008"), dcm("123005"), (SCT, "410675002"))

NO_TIME = "The report tells no time of irradiation."


@dataclass(frozen=True, slots=True)
class _Report:
    """A report that is being mapped."""

    partition_name: str
    instance: InstanceContent
    root: ContentItem
    study: Proposed
    subject: Resource
    rules: MappingRules
    warnings: Warnings

    @property
    def base(self) -> Resource:
        """What all Observations of the report say."""
        study = literal(self.study.full_url)
        return {
            "resourceType": "Observation",
            "partOf": [study],
            "status": self._status(),
            "subject": self.subject,
            "focus": [study],
            "effectiveDateTime": self._effective(),
            "performer": self._performers(),
            "device": self._device(),
        }

    def proposed(self, uid: str, resource: Resource) -> Proposed:
        """An Observation that is known by a UID."""
        key = uid_key(self.partition_name, uid, self.rules)
        return Proposed(key, prune({**resource, "identifier": [plain(key)]}))

    def _status(self) -> str:
        report = self.root.data_set
        is_complete = report.text("CompletionFlag") == "COMPLETE"
        return (
            "final"
            if is_complete and report.text("PreliminaryFlag") != "PRELIMINARY"
            else "preliminary"
        )

    def _effective(self) -> str | None:
        clock = Clock.of(self.root.data_set, self.rules.time_zone, self.warnings)
        for item in self.root.below(*_STARTS):
            text = item.data_set.text("DateTime")
            if text is not None:
                return fhir_moment(text, tag_of("DateTime"), clock, self.warnings)
        started: str | None = self.study.resource.get("started")
        return started

    def _device(self) -> Resource | None:
        uid, name = self.root.first(_DEVICE_UID), self.root.first(_DEVICE_NAME)
        shown = None if name is None else name.data_set.text("TextValue")
        value = None if uid is None else uid.data_set.text("UID")
        if value is None:
            return None if shown is None else {"type": "Device", "display": shown}
        return {
            "type": "Device",
            "identifier": plain(Identifier.of_uid(value)),
            "display": shown,
        }

    def _performers(self) -> list[Resource]:
        names = [
            shown
            for item in self.root.below(_AUTHORISER)
            for name in item.data_set.names("PersonName")
            if (shown := display(name))
        ]
        return [{"type": "Practitioner", "display": name} for name in dict.fromkeys(names)]


def map_dose_reports(
    content: StudyContent,
    subject: Resource,
    imaging_study: Proposed,
    rules: MappingRules,
    warnings: Warnings,
) -> Sequence[Proposed]:
    """The Observations of all dose reports of a study."""
    if rules.dose is DoseRule.OFF:
        return ()
    found: dict[str, Proposed] = {}
    instances = (instance for series in content.series for instance in series.instances)
    # Of several reports of one event the first tells of it, always the same one.
    for instance in sorted(instances, key=lambda one: one.uid):
        root = ContentItem.of_report(DataSet(instance.document), rules.scheme_systems)
        if instance.is_whole and root.code in _REPORTS:
            about = warnings.within(instance.uid)
            report = _Report(
                content.partition_name, instance, root, imaging_study, subject, rules, about
            )
            found = {one.full_url: one for one in _observations(report)} | found
    # Events come before the reports that have them as members.
    return sorted(found.values(), key=lambda one: ("hasMember" in one.resource, one.full_url))


def _observations(report: _Report) -> Iterable[Proposed]:
    base = report.base
    if base["effectiveDateTime"] is None:
        report.warnings.add(tag_of("DateTime"), NO_TIME)
    events = list(_events(report, base)) if report.rules.dose is DoseRule.EVENTS else []
    components = list(_totals(report.root))
    resource = {
        **base,
        "code": {"coding": [_SUMMARY], "text": _SUMMARY_TEXT},
        "valueString": _in_words(components) or None,
        "hasMember": [literal(event.full_url) for event in events],
        "component": components,
    }
    yield from events
    yield report.proposed(report.instance.uid, resource)


def _totals(root: ContentItem) -> Iterable[Resource]:
    for item in root.named(_PROCEDURE):
        yield from _component(item, None)
    containers = root.below(*_TOTALS)
    for container in containers:
        place = container.first(_PLANE) if len(containers) > 1 else None
        for item in container.named(*_TOTAL_VALUES):
            side = item.first(_LATERALITY)
            yield from _component(item, place if side is None else side)
    for container in root.below(_ADMINISTRATION):
        for item in container.below(*_ADMINISTERED):
            yield from _component(item, None)
            if item.code == _AGENT:
                for inner in item.below(*_ADMINISTERED):
                    yield from _component(inner, None)


def _events(report: _Report, base: Resource) -> Iterable[Proposed]:
    for container in report.root.below(*_EVENTS):
        uids = [item.data_set.text("UID") for item in container.below(*_EVENT_UID)]
        uid = next((uid for uid in uids if uid), None)
        if uid is None:
            continue
        region = next(iter(container.below(_REGION)), None)
        names = _ADMINISTERED if container.code == _ADMINISTRATION else _EVENT_VALUES
        items = container.below(*names)
        resource = {
            **base,
            "code": {"coding": [_EVENT]},
            "bodySite": None if region is None else _concept(region),
            "component": [part for item in items for part in _component(item, None)],
        }
        yield report.proposed(uid, resource)


def _component(item: ContentItem, place: ContentItem | None) -> Iterable[Resource]:
    """A value with its name, and of which plane or side it is where there are several."""
    value = _value(item)
    if value:
        name = item.name or {}
        where = None if place is None else place.meaning
        text = None if where is None else f"{name.get('display', name.get('code'))}, {where}"
        yield {"code": {"coding": [name], "text": text}, **value}


def _value(item: ContentItem) -> Resource | None:
    if item.code in _COUNTS:
        count = whole_number(item.measured)
        return None if count is None else {"valueInteger": count}
    amount = quantity(item.measured)
    if amount is not None:
        return {"valueQuantity": amount}
    concept = _concept(item)
    return None if concept is None else {"valueCodeableConcept": concept}


def _concept(item: ContentItem) -> Resource | None:
    found: Resource | None = prune(
        {"coding": [item.value] if item.value else [], "text": item.meaning}
    )
    return found


def _in_words(components: Sequence[Resource]) -> str:
    said = []
    for one in components:
        amount = one.get("valueQuantity")
        if amount is not None:
            name = one["code"]["text"] or one["code"]["coding"][0].get("display", "")
            said.append(f"{name} {amount['value']:g} {amount.get('unit', '')}".strip())
    return "; ".join(said)
