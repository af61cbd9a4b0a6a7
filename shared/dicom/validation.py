"""Which data sets are taken into the archive, and which of their attributes are indexed.

Standard: PS3.5 Table 6.2-1 (2025b), loosened to what v1 and v2 of the reference check.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydicom.datadict import dictionary_keyword

from shared.dicom.resource import ResourcePath
from shared.dicom.searchable import SEARCH_ATTRIBUTES, tag_of
from shared.dicom.uid import parse_uid
from shared.dicom.value_representation import Document, Element
from shared.errors import InvalidUidError

PATIENT_ID = tag_of("PatientID")
STUDY_INSTANCE_UID = tag_of("StudyInstanceUID")
SERIES_INSTANCE_UID = tag_of("SeriesInstanceUID")
SOP_INSTANCE_UID = tag_of("SOPInstanceUID")
SOP_CLASS_UID = tag_of("SOPClassUID")

_REQUIRED_UIDS = (SOP_CLASS_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)
_REQUIRED = (*_REQUIRED_UIDS, PATIENT_ID)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one attribute; `tag` is eight hexadecimal digits."""

    tag: str
    sentence: str

    @property
    def comment(self) -> str:
        """The text of an Error Comment (0000,0902), in the form that clients of v1 read."""
        return f"DICOM100: ({self.tag[:4]},{self.tag[4:]}) - {self.sentence}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a data set.

    Attributes:
        path: Which instance it is, None when that cannot be told.
        failures: Why it is refused; empty when it is taken.
        warnings: What was wrong and let through.
        document: The data set as it is indexed and served as metadata.
    """

    path: ResourcePath | None
    failures: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    document: Document


def validate(document: Document, version: int) -> Verdict:
    """Check a data set by the rules of an API version (1 or 2).

    v1 refuses an instance for any indexed attribute that is malformed; v2 refuses it only for the
    required ones, and drops other malformed attributes from what is indexed and served.
    """
    missing = _missing(document, version)
    if missing is not None:
        return Verdict(_path(document), (missing,), (), document)
    wrong = [
        problem
        for tag, (vr, since_version) in _INDEXED.items()
        if since_version <= version and (problem := _malformed(document, tag, vr, version))
    ]
    fatal = [p for p in wrong if version == 1 or p.tag in _REQUIRED]
    path = _path(document)
    if fatal or path is None:
        return Verdict(path, tuple(wrong), (), document)
    if not wrong and not (version > 1 and _is_empty(document.get(PATIENT_ID))):
        return Verdict(path, (), (), document)
    dropped = {problem.tag for problem in wrong}
    kept = {tag: element for tag, element in document.items() if tag not in dropped}
    return Verdict(path, (), (*_empty_patient_id(document), *wrong), kept)


def _path(document: Document) -> ResourcePath | None:
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


def _is_empty(element: Element | None) -> bool:
    return not element or element.get("Value") in (None, [], [None], [""])


def _missing(document: Document, version: int) -> Problem | None:
    for tag in _REQUIRED:
        element = document.get(tag)
        may_be_empty = version > 1 and tag == PATIENT_ID
        if element is None or (_is_empty(element) and not may_be_empty):
            return Problem(tag, f"The required tag '({tag[:4]},{tag[4:]})' is missing.")
    return None


def _empty_patient_id(document: Document) -> Iterable[Problem]:
    if _is_empty(document.get(PATIENT_ID)):
        yield Problem(PATIENT_ID, "The required tag '(0010,0020)' is missing.")


# What may stand in a value, by VR; each gives the reason why not, or None.

_CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f]")
_LONG_STRING = 64
_MAX_GROUPS, _MAX_COMPONENTS = 3, 5


def _at_most(length: int) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        return (
            f"Value exceeds maximum length of {length} characters." if len(value) > length else None
        )

    return check


def _age(value: str) -> str | None:
    return None if len(value) == 4 else "Value length is not expected length of 4 characters."  # noqa: PLR2004


def _date(value: str) -> str | None:
    try:
        date(int(value[:4]), int(value[4:6]), int(value[6:]))
        is_day = _EIGHT_DIGITS.match(value) is not None
    except ValueError:
        is_day = False
    return None if is_day else "Value cannot be parsed as a valid date."


_EIGHT_DIGITS = re.compile(r"\d{8}\Z", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?\s*\Z", re.ASCII)
_INTEGER = re.compile(r"\s*[+-]?\d{1,12}\s*\Z", re.ASCII)


def _time(value: str) -> str | None:
    return None if _TIME.match(value) else "Value cannot be parsed as a valid time."


def _integer(value: object) -> str | None:
    if isinstance(value, int) or (isinstance(value, str) and _INTEGER.match(value)):
        return None
    return "Value cannot be parsed as a valid integer."


def _long_string(value: str) -> str | None:
    if len(value) > _LONG_STRING:
        return f"Value exceeds maximum length of {_LONG_STRING} characters."
    if "\\" in value or _CONTROL.search(value):
        return "Value contains invalid character."
    return None


def _person_name(value: str) -> str | None:
    groups = value.split("=")
    if len(groups) > _MAX_GROUPS:
        return "Value contains too many groups."
    for group in groups:
        if len(group) > _LONG_STRING:
            return f"Value exceeds maximum length of {_LONG_STRING} characters."
        if group.count("^") >= _MAX_COMPONENTS:
            return "Value contains too many components."
        if _CONTROL.search(group):
            return "Value contains invalid character."
    return None


def _unique_identifier(value: str) -> str | None:
    try:
        parse_uid(value)
    except InvalidUidError:
        return "Value is not a valid unique identifier."
    return None


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "AE": _at_most(16),
    "AS": _age,
    "CS": _at_most(16),
    "DA": _date,
    "IS": _integer,
    "LO": _long_string,
    "PN": _person_name,
    "SH": _at_most(16),
    "TM": _time,
    "UI": _unique_identifier,
}

_INDEXED: dict[str, tuple[str, int]] = {
    attribute.tag: (attribute.vr, 1 if attribute.tag in _REQUIRED else attribute.since_version)
    for attribute in SEARCH_ATTRIBUTES
    if "." not in attribute.tag and attribute.keyword != "ModalitiesInStudy"
}


def _malformed(document: Document, tag: str, expected: str, version: int) -> Problem | None:
    element = document.get(tag)
    if element is None or _is_empty(element):
        return None
    if element["vr"] != expected:
        return _problem(tag, expected, f"The VR is '{element['vr']}'.")
    value = _text(element)
    if version > 1 and isinstance(value, str):
        # Senders pad with NUL; v2 lets that through.
        value = value.rstrip("\0")
    reason = _CHECKS[expected](value)
    return None if reason is None else _problem(tag, expected, reason)


def _text(element: Element) -> object:
    value: object = element["Value"][0]
    if isinstance(value, dict):
        groups = [value.get(g, "") for g in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else value


def _problem(tag: str, vr: str, reason: str) -> Problem:
    keyword = dictionary_keyword(int(tag, 16))
    return Problem(tag, f"Dicom element '{keyword}' failed validation for VR '{vr}': {reason}")
