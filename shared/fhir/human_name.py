"""Person names as HumanName: one for each of its groups of components.

Standard: PS3.5 6.2.1 (2025b); FHIR R4, 2.24.0.10; extension iso21090-EN-representation.
"""

import re

from shared.fhir.resource import Resource

_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_CODES = ("ABC", "IDE", "SYL")
_MEANINGLESS = re.compile(r"[\s^*?.=-]*\Z")
_COMPONENTS = 5


def human_names(text: str, use: str | None = None) -> list[Resource]:
    """The names of a PN value whose groups are joined by `=`; none where it says nothing."""
    groups = text.split("=")[: len(_CODES)]
    present = [
        (code, group)
        for code, group in zip(_CODES, groups, strict=False)
        if not _MEANINGLESS.match(group)
    ]
    is_plain = [code for code, _ in present] == ["ABC"]
    return [_human_name(group, use, None if is_plain else code) for code, group in present]


def display(text: str) -> str | None:
    """A PN value as it is read: of the first group that says something."""
    names = human_names(text)
    return None if not names else str(names[0]["text"])


def _human_name(group: str, use: str | None, representation: str | None) -> Resource:
    parts = [" ".join(part.split()) for part in group.split("^")[:_COMPONENTS]]
    family, given, middle, prefix, suffix = parts + [""] * (_COMPONENTS - len(parts))
    name: Resource = {}
    if representation is not None:
        name["extension"] = [{"url": _REPRESENTATION, "valueCode": representation}]
    if use is not None:
        name["use"] = use
    # Names in ideographs and syllables are read with the family name first.
    is_western = representation in (None, "ABC")
    order = (prefix, given, middle, family, suffix) if is_western else (family, given, middle)
    name["text"] = " ".join(part for part in order if part) or family
    if family:
        name["family"] = family
    for member, words in (
        ("given", [*given.split(), *middle.split()]),
        ("prefix", prefix.split()),
        ("suffix", suffix.split()),
    ):
        if words:
            name[member] = words
    return name
