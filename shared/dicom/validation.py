"""Which data sets are taken into the archive, and which of their attributes are indexed.

Standard: PS3.5 Table 6.2-1 (2025b), loosened to what v1 and v2 of the reference check.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_keyword

from shared.dicom.extended_query_tag import TagValues
from shared.dicom.minimum_rules import MINIMUM_RULES
from shared.dicom.resource import ResourcePath
from shared.dicom.searchable import SEARCH_ATTRIBUTES, tag_of
from shared.dicom.uid import parse_uid
from shared.dicom.value_representation import Document, Element
from shared.dicom.value_rules import malformed_elements
from shared.errors import InvalidUidError

PATIENT_ID = tag_of("PatientID")
STUDY_INSTANCE_UID = tag_of("StudyInstanceUID")
SERIES_INSTANCE_UID = tag_of("SeriesInstanceUID")
SOP_INSTANCE_UID = tag_of("SOPInstanceUID")
SOP_CLASS_UID = tag_of("SOPClassUID")

_REQUIRED_UIDS = (SOP_CLASS_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)
_REQUIRED = (*_REQUIRED_UIDS, PATIENT_ID)
_NO_TAG_VALUES = TagValues()


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an attribute, eight hexadecimal digits, or, without a tag, with a file."""

    tag: str | None
    sentence: str

    @property
    def comment(self) -> str:
        """The text of an Error Comment (0000,0902), in the form that clients of v1 read."""
        if self.tag is None:
            return self.sentence
        return f"DICOM100: ({self.tag[:4]},{self.tag[4:]}) - {self.sentence}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a data set.

    Attributes:
        path: Which instance it is, None when that cannot be told.
        failures: Why it is refused; empty when it is taken.
        warnings: What was wrong and let through.
        document: The data set as it is indexed and served as metadata.
        has_unindexed_values: Whether an attribute has several values, of which the first is
            indexed.
        tag_values: What the instance has of the extended query tags.
    """

    path: ResourcePath | None
    failures: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    document: Document
    has_unindexed_values: bool = False
    tag_values: TagValues = _NO_TAG_VALUES


def validate(document: Document, version: int, null_padded: Collection[str] = ()) -> Verdict:
    """Check a data set by the rules of an API version (1 or 2).

    v1 refuses an instance for any indexed attribute that is malformed, padded with NUL too. v2
    checks every element, at any depth, refuses an instance for the required attributes alone, and
    drops the other malformed elements from what is indexed and served. It does without a Patient
    ID, which research data often lack.

    Args:
        document: The data set, free of padding.
        version: Whose rules.
        null_padded: Tags of text attributes that were padded with NUL.
    """
    path = instance_path(document)
    missing = _missing(document, version)
    if missing is not None:
        return Verdict(path, (missing,), (), document)
    if version == 1:
        return _verdict_of_v1(path, document, null_padded)
    return _verdict_of_v2(path, document)


def _verdict_of_v1(
    path: ResourcePath | None, document: Document, null_padded: Collection[str]
) -> Verdict:
    problems = _problems(document, _INDEXED_IN_V1, null_padded)
    has_several = any(
        len(document[tag].get("Value", ())) > 1 for tag in _INDEXED_IN_V1 if tag in document
    )
    return Verdict(path, problems, (), document, has_several)


def _verdict_of_v2(path: ResourcePath | None, document: Document) -> Verdict:
    failures = _problems(document, _REQUIRED_IN_V2)
    problems: dict[str, Problem] = {
        problem.tag: problem
        for problem in (*_empty_patient_id(document), *_of_other_vr(document))
        if problem.tag is not None
    }
    dropped = {id(document[tag]) for tag in problems if tag != PATIENT_ID}
    for found in malformed_elements(document):
        if found.tag in _REQUIRED and found.element is document.get(found.tag):
            continue
        # The report of a refused instance may be kept as an error, which quotes no values.
        sentence = found.plain_sentence if failures else found.sentence
        problems.setdefault(found.tag, Problem(found.tag, sentence))
        dropped.add(id(found.element))
    warnings = tuple(problems.values())
    if failures or path is None:
        return Verdict(path, (*failures, *warnings), (), document)
    has_several = len(document.get(PATIENT_ID, {}).get("Value", ())) > 1
    kept = _without(document, dropped) if dropped else document
    return Verdict(path, (), warnings, kept, has_several)


def _without(document: Document, dropped: Collection[int]) -> Document:
    """The document without elements that are given by identity, at any depth."""
    kept: Document = {}
    for tag, element in document.items():
        if id(element) in dropped:
            continue
        if element["vr"] == "SQ" and "Value" in element:
            items = [_without(item, dropped) for item in element["Value"]]
            kept[tag] = {"vr": "SQ", "Value": items}
        else:
            kept[tag] = element
    return kept


def instance_path(document: Document) -> ResourcePath | None:
    """Which instance a data set is, None when that cannot be told."""
    try:
        study, series, instance = (
            parse_uid(_first(document.get(tag)) or "") for tag in _REQUIRED_UIDS[1:]
        )
    except InvalidUidError:
        return None
    return ResourcePath(study, series, instance)


def _first(element: Element | None) -> str | None:
    values: list[Any] = (element or {}).get("Value") or [None]
    return values[0] if isinstance(values[0], str) else None


def is_empty(element: Element | None) -> bool:
    """Whether an element is absent, or has no value."""
    if not element or "InlineBinary" in element or "BulkDataURI" in element:
        return not element
    return element.get("Value") in (None, [], [None], [""])


def _missing(document: Document, version: int) -> Problem | None:
    """The first required attribute that has not one value; v2 does not insist on a Patient ID."""
    for tag in _REQUIRED if version == 1 else _REQUIRED_UIDS:
        element = document.get(tag, {})
        if is_empty(element) or len(element.get("Value", ())) > 1:
            return _required(tag)
    return None


def _required(tag: str) -> Problem:
    return Problem(tag, f"The required tag '({tag[:4]},{tag[4:]})' is missing.")


def _empty_patient_id(document: Document) -> Iterable[Problem]:
    if is_empty(document.get(PATIENT_ID)):
        yield _required(PATIENT_ID)


_VRS = {
    attribute.tag: attribute.vr
    for attribute in SEARCH_ATTRIBUTES
    if "." not in attribute.tag and attribute.keyword != "ModalitiesInStudy"
}
_INDEXED_IN_V1 = {
    attribute.tag: attribute.vr
    for attribute in SEARCH_ATTRIBUTES
    if attribute.tag in _VRS and (attribute.since_version == 1 or attribute.tag in _REQUIRED)
}
_REQUIRED_IN_V2 = {tag: _VRS[tag] for tag in _REQUIRED}


def _problems(
    document: Document, vrs: Mapping[str, str], null_padded: Collection[str] = ()
) -> tuple[Problem, ...]:
    """What the minimum rules have against attributes, the first value of each."""
    return tuple(
        problem
        for tag, vr in vrs.items()
        if not is_empty(element := document.get(tag, {}))
        and (problem := element_problem(tag, vr, element, "\0" if tag in null_padded else ""))
    )


def element_problem(tag: str, vr: str, element: Element, padding: str = "") -> Problem | None:
    """What the minimum rules have against an attribute that should be of a VR and is not empty.

    `padding` is what stood behind its value.
    """
    if element["vr"] != vr:
        return _other_vr(tag, vr, element)
    value = _text(element)
    reason = MINIMUM_RULES[vr](value + padding if isinstance(value, str) else value)
    return None if reason is None else _failed(tag, vr, reason)


def _of_other_vr(document: Document) -> Iterable[Problem]:
    """The indexed attributes that have another VR than the Standard's, which index nothing."""
    for tag, vr in _VRS.items():
        element = document.get(tag, {})
        if tag not in _REQUIRED and not is_empty(element) and element["vr"] != vr:
            yield _other_vr(tag, vr, element)


def _other_vr(tag: str, vr: str, element: Element) -> Problem:
    return _failed(tag, vr, f"The VR is '{element['vr']}'.")


def _failed(tag: str, vr: str, reason: str) -> Problem:
    number = int(tag, 16)
    keyword = dictionary_keyword(number) if dictionary_has_tag(number) else tag
    return Problem(tag, f"Dicom element '{keyword}' failed validation for VR '{vr}': {reason}")


def _text(element: Element) -> object:
    # An element of the VR that is expected has its content in Value.
    value: object = element["Value"][0]
    if isinstance(value, dict):
        groups = [value.get(g, "") for g in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else value
