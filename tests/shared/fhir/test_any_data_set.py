"""Whatever the attributes hold that are told, the resources are valid, or without them."""

import random
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR

from shared.dicom.json_model import Document
from shared.dicom.searchable import tag_of
from shared.fhir.r5 import to_r5
from shared.fhir.rules import DoseRule, OrderRule, PractitionerRule
from shared.fhir.study_resources import map_study
from tests.fhir_judges import assert_valid
from tests.shared.dicom.properties import for_any
from tests.shared.fhir.contents import content_of_documents, rules

TEXTS = st.one_of(
    st.text(max_size=12),
    st.text("^= \\*\x85\u3000\0a|,$", max_size=8),
    st.sampled_from(
        ["", " ", "YES", "M", "20240102", "0230", "030405.123", "+0100", "2.25.1", "1.2.3", "CHEST"]
    ),
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.sampled_from(["1e30", "1_0", "-0", "7"])
)
PLAIN = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientSex", "PatientBirthDate"),
    *("OtherPatientNames", "PatientSpeciesDescription", "ResponsiblePerson", "StudyDate"),
    *("StudyTime", "TimezoneOffsetFromUTC", "AccessionNumber", "StudyID", "StudyDescription"),
    *("ReferringPhysicianName", "OperatorsName", "Modality", "SeriesNumber", "InstanceNumber"),
    *("SeriesDate", "SeriesTime", "AcquisitionDateTime", "BodyPartExamined", "Laterality"),
    *("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "DeviceUID", "StationName"),
    *("SoftwareVersions", "InstitutionName", "QualityControlSubject", "PatientIdentityRemoved"),
)
CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning", "URNCodeValue", "LongCodeValue")
SEQUENCES: dict[str, tuple[str, ...]] = {
    "ProcedureCodeSequence": CODE,
    "AnatomicRegionSequence": CODE,
    "IssuerOfAccessionNumberSequence": ("UniversalEntityID", "UniversalEntityIDType"),
    "IssuerOfPatientIDQualifiersSequence": ("UniversalEntityID", "UniversalEntityIDType"),
    "CodingSchemeIdentificationSequence": ("CodingSchemeDesignator", "CodingSchemeUID"),
    "RequestAttributesSequence": ("AccessionNumber", "ReasonForTheRequestedProcedure"),
    "SpecimenDescriptionSequence": ("SpecimenIdentifier", "SpecimenUID"),
    "OperatorIdentificationSequence": ("InstitutionName",),
}


def _value(keyword: str) -> st.SearchStrategy[Any]:
    vr = dictionary_VR(keyword)
    if vr == "PN":
        groups = ("Alphabetic", "Ideographic", "Phonetic")
        return st.dictionaries(st.sampled_from(groups), TEXTS)
    return st.one_of(TEXTS, NUMBERS) if vr in ("IS", "DS") else TEXTS


@st.composite
def items(draw: st.DrawFn, keywords: tuple[str, ...]) -> Document:
    chosen = draw(st.lists(st.sampled_from(keywords), unique=True))
    return {tag_of(one): draw(elements(one)) for one in chosen}


def elements(keyword: str) -> st.SearchStrategy[dict[str, Any]]:
    values = st.lists(st.one_of(st.none(), _value(keyword)), max_size=3)
    return values.map(lambda found: {"vr": dictionary_VR(keyword), "Value": found})


@st.composite
def documents(draw: st.DrawFn) -> Document:
    document = draw(items(PLAIN))
    for sequence in draw(st.lists(st.sampled_from(sorted(SEQUENCES)), unique=True)):
        found = draw(st.lists(items(SEQUENCES[sequence]), max_size=2))
        document[tag_of(sequence)] = {"vr": "SQ", "Value": found}
    uids = {"0020000D": "1.2", "0020000E": "1.2.3", "00080018": "1.2.3.4", "00080016": "1.2.840"}
    return document | {key: {"vr": "UI", "Value": [uid]} for key, uid in uids.items()}


SITES = (
    rules(),
    rules(
        practitioners=PractitionerRule.CREATE,
        orders=OrderRule.CREATE,
        dose=DoseRule.EVENTS,
        study_id_system="urn:x-studies",
        issuer_template="https://hospital.example.org/{issuer}",
    ),
)


@for_any(150, document=documents())
def test_any_data_set_is_told_as_valid_resources(document: Document) -> None:
    for site in SITES:
        for proposed in map_study(content_of_documents(document), site).proposed:
            orjson.dumps(proposed.resource)
            assert_valid(proposed.resource)
            assert_valid(to_r5(proposed.resource), "R5")


@for_any(60, found=st.lists(documents(), min_size=2, max_size=6), order=st.randoms())
def test_a_study_is_told_the_same_in_whatever_order_it_is_read(
    found: list[Document], order: random.Random
) -> None:
    instances = [
        document
        | {
            "0020000E": {"vr": "UI", "Value": [f"1.2.{number % 3}"]},
            "00080018": {"vr": "UI", "Value": [f"1.2.{number % 3}.{number}"]},
        }
        for number, document in enumerate(found)
    ]
    content = content_of_documents(*instances)
    told = [orjson.dumps(one.resource) for one in map_study(content, SITES[1]).proposed]
    series = [
        replace(one, instances=order.sample(one.instances, len(one.instances)))
        for one in content.series
    ]
    order.shuffle(series)
    again = map_study(replace(content, series=series), SITES[1])
    assert [orjson.dumps(one.resource) for one in again.proposed] == told
