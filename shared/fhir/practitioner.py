"""Physicians and operators: as references, and as resources where a site wants them.

Standard: PS3.3 Table 10-1 (2025b), Person Identification Macro.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from shared.fhir.coding import SCT, coding
from shared.fhir.data_set import DataSet, person_name
from shared.fhir.human_name import display, human_names
from shared.fhir.identifier import plain
from shared.fhir.pruning import prune
from shared.fhir.reference import literal, logical
from shared.fhir.resource import Identifier, Proposed, Resource, full_url
from shared.fhir.rules import MappingRules, PractitionerRule

PHYSICIAN = {"system": SCT, "code": "309343006", "display": "Physician"}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who had to do with a study; not known by more than a name where `key` is None."""

    key: Identifier | None
    name: str | None
    institution: str | None = None


def persons(
    data_set: DataSet, names: str, identification: str, rules: MappingRules
) -> Sequence[Person]:
    """Who is named by an attribute, with what identifies them in the same order.

    Where there are more or fewer identifications than names, nobody knows whose they are.
    """
    found: list[Person] = []
    named = [person_name(name) or None for name in data_set.values(names)]
    items = [
        DataSet(one if isinstance(one, dict) else {}) for one in data_set.values(identification)
    ]
    if len(named) == len(items):
        pairs = list(zip(named, items, strict=True))
    else:
        pairs = [(name, DataSet({})) for name in named] + [(None, item) for item in items]
    for name, item in pairs:
        person = _person(name, item, data_set, rules)
        if (person.key or (person.name and display(person.name))) and person not in found:
            found.append(person)
    return found


def reference(person: Person, rules: MappingRules) -> Resource:
    """Refer to somebody: by a resource that is made, by an identifier, or just by name."""
    shown = None if person.name is None else display(person.name)
    if person.key is None:
        return {"type": "Practitioner", "display": shown}
    if rules.practitioners is PractitionerRule.CREATE:
        return literal(full_url("Practitioner", person.key), shown)
    return logical("Practitioner", plain(person.key), shown)


def map_practitioner(person: Person, rules: MappingRules) -> Sequence[Proposed]:
    """The Practitioner of somebody who has an identifier, and the role at an institution."""
    if person.key is None or rules.practitioners is not PractitionerRule.CREATE:
        return ()
    practitioner = prune(
        {
            "resourceType": "Practitioner",
            "identifier": [plain(person.key)],
            "name": [] if person.name is None else human_names(person.name, "usual"),
        }
    )
    made = Proposed(person.key, practitioner)
    if person.institution is None:
        return (made,)
    role_key = Identifier(
        f"{rules.dicomweb_url}/practitioner-role",
        "|".join(quote(part, safe="") for part in (person.key.value, person.institution)),
    )
    role = prune(
        {
            "resourceType": "PractitionerRole",
            "identifier": [plain(role_key)],
            "practitioner": literal(made.full_url),
            "organization": {"type": "Organization", "display": person.institution},
            "code": [{"coding": [PHYSICIAN]}],
        }
    )
    return made, Proposed(role_key, role)


def _person(name: str | None, item: DataSet, root: DataSet, rules: MappingRules) -> Person:
    institution = item.text("InstitutionName")
    code = item.item("PersonIdentificationCodeSequence")
    value = code.text("CodeValue") or code.text("LongCodeValue")
    system = None if value is None else _system(code, item, root, rules)
    if system is None or value is None:
        return Person(None, name, institution)
    return Person(Identifier(system, value), name or code.text("CodeMeaning"), institution)


def _system(code: DataSet, item: DataSet, root: DataSet, rules: MappingRules) -> str | None:
    """The namespace of a person's code: its scheme, or the institution that gave it."""
    found = coding(code, rules.scheme_systems, root)
    if found is not None:
        return str(found["system"])
    institution = item.item("InstitutionCodeSequence").text("CodeValue") or item.text(
        "InstitutionName"
    )
    if institution is None:
        return None
    return rules.issuer_systems.get(institution) or (
        rules.issuer_template.replace("{issuer}", quote(institution, safe="")) or None
    )
