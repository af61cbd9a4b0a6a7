"""What a client asks a bulk update for, checked (reference; the Standard has none)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydicom.datadict import dictionary_VR

from shared.dicom.json_model import Document
from shared.dicom.json_reading import document_of, refused
from shared.dicom.searchable import tag_of
from shared.dicom.uid import Uid, parse_uid
from shared.dicom.validation import Problem
from shared.dicom.value_rules import malformed_elements
from shared.errors import InvalidInstanceError, InvalidRequestError

MAX_STUDIES = 50

_TAG = re.compile(r"[0-9A-F]{8}\Z")
_MEMBERS = frozenset({"vr", "Value"})
_PERSON_NAME_GROUPS = frozenset({"Alphabetic", "Ideographic", "Phonetic"})

UPDATABLE: Mapping[str, str] = {
    tag_of(keyword): dictionary_VR(keyword)
    for keyword in (
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyDescription",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "TypeOfPatientID",
        "PatientBirthDate",
        "PatientBirthTime",
        "PatientSex",
        "QualityControlSubject",
        "OtherPatientIDs",
        "OtherPatientNames",
        "PatientBirthName",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "PatientAddress",
        "PatientMotherBirthName",
        "MilitaryRank",
        "BranchOfService",
        "MedicalRecordLocator",
        "CountryOfResidence",
        "RegionOfResidence",
        "PatientTelephoneNumbers",
        "EthnicGroup",
        "Occupation",
        "PatientReligiousPreference",
        "PatientSpeciesDescription",
        "PatientBreedDescription",
        "BreedRegistrationNumber",
        "ResponsiblePerson",
        "ResponsiblePersonRole",
        "ResponsibleOrganization",
        "PatientComments",
        "ConfidentialityConstraintOnPatientDataDescription",
    )
}
"""The attributes that can be updated, by their tags, with their VRs."""


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """New values for attributes of studies, each study once.

    Attributes:
        problems: What is wrong with the values; where there is anything, `changes` is empty.
    """

    studies: Sequence[Uid]
    changes: Document
    problems: Sequence[Problem] = ()


def parse_update(body: bytes) -> UpdateRequest:
    """Read the body of a request.

    Raises:
        InvalidRequestError: It is no such request, but for what is wrong with its values.
    """
    asked = _object(body)
    studies = _studies(asked.get("studyInstanceUids"))
    given = asked.get("changeDataset")
    if not isinstance(given, dict):
        raise InvalidRequestError("The changeDataset is missing, or no data set.")
    changes: Document = {}
    problems: list[Problem] = []
    for name, outside in given.items():
        try:
            changes |= _change(name, outside)
        except _UnfitError as error:
            problems += error.problems
    return UpdateRequest(studies, {} if problems else dict(sorted(changes.items())), problems)


def refusal(problems: Sequence[Problem]) -> Document:
    """The data set that tells what is wrong with the values of a request."""
    items = [{"00000902": {"vr": "LO", "Value": [problem.comment]}} for problem in problems]
    return {"00741048": {"vr": "SQ", "Value": items}}


class _UnfitError(Exception):
    """A value that cannot be given to an attribute."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__()
        self.problems = problems


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError("The syntax of the request body is invalid.") from error
    if not isinstance(parsed, dict):
        raise InvalidRequestError("The request body is no JSON object.")
    return parsed


def _studies(given: object) -> Sequence[Uid]:
    if not isinstance(given, list) or not given:
        raise InvalidRequestError("The studyInstanceUids are missing.")
    if len(given) > MAX_STUDIES:
        raise InvalidRequestError(f"At most {MAX_STUDIES} studies are updated at once.")
    if not all(isinstance(uid, str) for uid in given):
        raise InvalidRequestError("A study instance UID is no text.")
    return list(dict.fromkeys(parse_uid(uid) for uid in given))


def _change(name: str, outside: object) -> Document:
    tag = name.upper()
    vr = UPDATABLE.get(tag)
    if vr is None:
        known = tag if _TAG.match(tag) else None
        raise _UnfitError(Problem(known, "The attribute cannot be updated."))
    try:
        _check_form(tag, outside)
        change = document_of({tag: outside})
    except InvalidInstanceError as error:
        raise _UnfitError(Problem(tag, error.message)) from error
    if change[tag]["vr"] != vr:
        raise _UnfitError(Problem(tag, f"The value representation of the attribute is {vr}."))
    problems = tuple(_problems(change))
    if problems:
        raise _UnfitError(*problems)
    return change


def _check_form(tag: str, outside: object) -> None:
    """See that nothing is misspelt: what is not understood would empty the attribute.

    Raises:
        InvalidInstanceError: Something is.
    """
    if not isinstance(outside, dict):
        raise refused(tag, "is not an object")
    if outside.keys() - _MEMBERS:
        raise refused(tag, "has other members than vr and Value")
    values = outside.get("Value", [])
    if not isinstance(values, list):
        raise refused(tag, "has a Value that is no array")
    if UPDATABLE[tag] == "PN" and not all(_is_name(value) for value in values):
        raise refused(tag, "has a name of other groups than Alphabetic, Ideographic and Phonetic")


def _is_name(value: object) -> bool:
    if not isinstance(value, dict):
        return True
    groups = {name for name, group in value.items() if isinstance(group, str)}
    return bool(groups) and value.keys() <= _PERSON_NAME_GROUPS


def _problems(change: Document) -> Iterator[Problem]:
    for found in malformed_elements(change):
        yield Problem(found.tag, found.sentence)
