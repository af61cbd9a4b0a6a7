"""Patient from a data set, and who or what a study is about (PS3.3 C.7.1.1, 2025b)."""

from shared.dicom.searchable import tag_of
from shared.fhir.coding import concept
from shared.fhir.data_set import DataSet
from shared.fhir.date_time import fhir_date
from shared.fhir.human_name import display, human_names
from shared.fhir.identifier import issued_identifier, plain, typed
from shared.fhir.mapping_warning import Warnings
from shared.fhir.pruning import prune
from shared.fhir.resource import Identifier, Proposed, Resource
from shared.fhir.rules import MappingRules

_GENDERS = {"M": "male", "F": "female", "O": "other"}
_ANIMAL = "http://hl7.org/fhir/StructureDefinition/patient-animal"
_MOTHERS_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
_OBSERVATION_VALUES = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"

NO_PATIENT_ID = "There is none, so the study is about a patient who is only named."
SEVERAL_PATIENT_IDS = "There are several, so the study is about a patient who is only named."
UNKNOWN_ISSUER = "Its system is not known, so the Patient ID is told as one without an issuer."
MORE_NAMES = "Only the first name is told."
UNKNOWN_SEX = "It is none of the Standard's codes, and was told as unknown."


def map_patient(data_set: DataSet, rules: MappingRules, warnings: Warnings) -> Proposed | None:
    """The Patient of a data set, None where it has no Patient ID or is about a phantom."""
    key = None if is_phantom(data_set) else patient_identifier(data_set, rules)
    if key is None:
        return None
    assigner = data_set.text("IssuerOfPatientID")
    if assigner is not None and key.system == rules.patient_system:
        warnings.add(tag_of("IssuerOfPatientID"), UNKNOWN_ISSUER)
    resource = prune(
        {
            "resourceType": "Patient",
            "meta": _security(data_set),
            "extension": [*_mothers_name(data_set), *_animal(data_set, rules)],
            "identifier": [{"use": "usual", **typed(key, "MR", assigner=assigner)}],
            "name": _names(data_set, warnings),
            "gender": _gender(data_set, warnings),
            "birthDate": fhir_date(data_set, "PatientBirthDate", warnings),
            "contact": [{"name": name} for name in _responsible(data_set)],
        }
    )
    return Proposed(key, resource)


def patient_identifier(data_set: DataSet, rules: MappingRules) -> Identifier | None:
    """What the patient is known by, None without a Patient ID.

    One with a backslash is read as several, of which none is known to be the whole.
    """
    value = data_set.text("PatientID")
    if value is None or has_several_ids(data_set):
        return None
    return issued_identifier(
        value,
        data_set.text("IssuerOfPatientID"),
        data_set.item("IssuerOfPatientIDQualifiersSequence"),
        rules,
        rules.patient_system,
    )


def named_subject(data_set: DataSet, rules: MappingRules, warnings: Warnings) -> Resource:
    """The subject of a study without a Patient: a phantom, or somebody who is only named."""
    if is_phantom(data_set):
        key = patient_identifier(data_set, rules)
        return {
            "type": "Device",
            **({} if key is None else {"identifier": plain(key)}),
            "display": _first_name(data_set) or "phantom",
        }
    reason = SEVERAL_PATIENT_IDS if has_several_ids(data_set) else NO_PATIENT_ID
    warnings.add(tag_of("PatientID"), reason)
    return {"type": "Patient", "display": _first_name(data_set) or "unknown"}


def has_issuer(data_set: DataSet) -> bool:
    """Whether it is said who has issued the Patient ID."""
    qualifiers = data_set.item("IssuerOfPatientIDQualifiersSequence")
    return data_set.has("IssuerOfPatientID") or qualifiers.has("UniversalEntityID")


def has_several_ids(data_set: DataSet) -> bool:
    """Whether there is no one Patient ID, though there is something."""
    return len(data_set.values("PatientID")) > 1


def is_phantom(data_set: DataSet) -> bool:
    """Whether images were made for quality control, of nobody."""
    return data_set.text("QualityControlSubject") == "YES"


def _names(data_set: DataSet, warnings: Warnings) -> list[Resource]:
    names = data_set.names("PatientName")
    if len(names) > 1:
        warnings.add(tag_of("PatientName"), MORE_NAMES)
    found = human_names(names[0], "usual") if names else []
    for keyword, use in (("OtherPatientNames", "old"), ("PatientBirthName", "maiden")):
        for name in data_set.names(keyword):
            found += human_names(name, use)
    return found


def _first_name(data_set: DataSet) -> str | None:
    names = data_set.names("PatientName")
    return display(names[0]) if names else None


def _gender(data_set: DataSet, warnings: Warnings) -> str | None:
    sex = data_set.text("PatientSex")
    if sex is None:
        return None
    if sex not in _GENDERS:
        warnings.add(tag_of("PatientSex"), UNKNOWN_SEX)
    return _GENDERS.get(sex, "unknown")


def _security(data_set: DataSet) -> Resource | None:
    if data_set.text("PatientIdentityRemoved") != "YES":
        return None
    return {"security": [{"system": _OBSERVATION_VALUES, "code": "ANONYED"}]}


def _mothers_name(data_set: DataSet) -> list[Resource]:
    names = data_set.names("PatientMotherBirthName")
    name = display(names[0]) if names else None
    return [] if name is None else [{"url": _MOTHERS_NAME, "valueString": name}]


def _animal(data_set: DataSet, rules: MappingRules) -> list[Resource]:
    parts = [
        ("species", "PatientSpeciesCodeSequence", "PatientSpeciesDescription"),
        ("breed", "PatientBreedCodeSequence", "PatientBreedDescription"),
    ]
    found: list[Resource] = []
    for url, codes, description in parts:
        kind = _kind(data_set, codes, description, rules)
        if kind is not None:
            found.append({"url": url, "valueCodeableConcept": kind})
    # FHIR demands the species.
    is_told = any(part["url"] == "species" for part in found)
    return [{"url": _ANIMAL, "extension": found}] if is_told else []


def _kind(data_set: DataSet, codes: str, description: str, rules: MappingRules) -> Resource | None:
    """Species or breed as a CodeableConcept."""
    text = data_set.text(description)
    found = concept(data_set.item(codes), rules.scheme_systems, data_set)
    return found or (None if text is None else {"text": text})


def _responsible(data_set: DataSet) -> list[Resource]:
    names = data_set.names("ResponsiblePerson")
    return human_names(names[0])[:1] if names else []
