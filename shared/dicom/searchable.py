"""The attributes that Search matches and returns, one table for every layer.

Standard: PS3.18 Tables 10.6.1-5 and 10.6.3-3 to -5 (2025b); what v1 knows: reference.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache

from pydicom.datadict import dictionary_VR, tag_for_keyword

from shared.dicom.resource import Level
from shared.dicom.value_representation import Document


class Kind(Enum):
    """How the values of an attribute compare."""

    TEXT = "text"
    UID = "uid"
    PERSON_NAME = "person name"
    DATE = "date"
    TIME = "time"
    DATE_TIME = "date time"
    INTEGER = "integer"
    REAL = "real"


_KIND_OF_VR = {
    "UI": Kind.UID,
    "PN": Kind.PERSON_NAME,
    "DA": Kind.DATE,
    "TM": Kind.TIME,
    "DT": Kind.DATE_TIME,
    "IS": Kind.INTEGER,
    "SL": Kind.INTEGER,
    "SS": Kind.INTEGER,
    "UL": Kind.INTEGER,
    "US": Kind.INTEGER,
    "SV": Kind.INTEGER,
    "UV": Kind.INTEGER,
    "DS": Kind.REAL,
    "FL": Kind.REAL,
    "FD": Kind.REAL,
}


def kind_of_vr(vr: str) -> Kind:
    """How the values of a VR compare."""
    return _KIND_OF_VR.get(vr, Kind.TEXT)


@dataclass(frozen=True, slots=True)
class Extension:
    """What an extended query tag is besides an attribute that a search can match.

    Attributes:
        key: The index's own number of the tag.
        is_enabled: Whether it may be searched by.
        has_errors: Whether the values of some instances could not be indexed.
    """

    key: int
    is_enabled: bool = True
    has_errors: bool = False


@dataclass(frozen=True, slots=True)
class SearchAttribute:
    """An attribute that a search can match.

    `tag` is eight upper-case hexadecimal digits; for an attribute inside a sequence the tags of the
    way there come first, joined by dots, and `keyword` likewise.
    """

    keyword: str
    tag: str
    vr: str
    level: Level
    since_version: int = 1
    extension: Extension | None = None

    @property
    def kind(self) -> Kind:
        """How its values compare."""
        return kind_of_vr(self.vr)


@cache
def tag_of(keyword: str) -> str:
    """The tag of a keyword of the Standard, as eight upper-case hexadecimal digits."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return f"{tag:08X}"


def _attribute(keyword: str, level: Level, since_version: int = 1) -> SearchAttribute:
    steps = keyword.split(".")
    return SearchAttribute(
        keyword,
        ".".join(tag_of(step) for step in steps),
        dictionary_VR(steps[-1]),
        level,
        since_version,
    )


SEARCH_ATTRIBUTES: tuple[SearchAttribute, ...] = (
    _attribute("StudyInstanceUID", Level.STUDY),
    _attribute("PatientName", Level.STUDY),
    _attribute("PatientID", Level.STUDY),
    _attribute("PatientBirthDate", Level.STUDY),
    _attribute("PatientSex", Level.STUDY, 2),
    _attribute("AccessionNumber", Level.STUDY),
    _attribute("ReferringPhysicianName", Level.STUDY),
    _attribute("StudyDate", Level.STUDY),
    _attribute("StudyTime", Level.STUDY, 2),
    _attribute("StudyID", Level.STUDY, 2),
    _attribute("StudyDescription", Level.STUDY),
    _attribute("ModalitiesInStudy", Level.STUDY),
    _attribute("SeriesInstanceUID", Level.SERIES),
    _attribute("Modality", Level.SERIES),
    _attribute("SeriesNumber", Level.SERIES, 2),
    _attribute("SeriesDescription", Level.SERIES, 2),
    _attribute("PerformedProcedureStepStartDate", Level.SERIES),
    _attribute("PerformedProcedureStepStartTime", Level.SERIES, 2),
    _attribute("ManufacturerModelName", Level.SERIES),
    _attribute("RequestAttributesSequence.ScheduledProcedureStepID", Level.SERIES, 2),
    _attribute("RequestAttributesSequence.RequestedProcedureID", Level.SERIES, 2),
    _attribute("SOPClassUID", Level.INSTANCE, 2),
    _attribute("SOPInstanceUID", Level.INSTANCE),
    _attribute("InstanceNumber", Level.INSTANCE, 2),
)

_BY_KEYWORD = {attribute.keyword: attribute for attribute in SEARCH_ATTRIBUTES}
COMBINED_DATE_TIMES = tuple(
    (_BY_KEYWORD[f"{moment}Date"], _BY_KEYWORD[f"{moment}Time"])
    for moment in ("Study", "PerformedProcedureStepStart")
)
"""The dates and times that together name a moment."""


def _tags(*keywords: str) -> frozenset[str]:
    return frozenset(tag_of(keyword) for keyword in keywords)


MODALITIES_IN_STUDY = tag_of("ModalitiesInStudy")
INSTANCE_AVAILABILITY = tag_of("InstanceAvailability")
RETRIEVE_URL = tag_of("RetrieveURL")
AVAILABLE_TRANSFER_SYNTAX_UID = tag_of("AvailableTransferSyntaxUID")
NUMBER_OF_STUDY_RELATED_SERIES = tag_of("NumberOfStudyRelatedSeries")
NUMBER_OF_STUDY_RELATED_INSTANCES = tag_of("NumberOfStudyRelatedInstances")
NUMBER_OF_SERIES_RELATED_INSTANCES = tag_of("NumberOfSeriesRelatedInstances")

V1_DEFAULTS: dict[Level, frozenset[str]] = {
    Level.STUDY: _tags(
        "SpecificCharacterSet",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "InstanceAvailability",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
    ),
    Level.SERIES: _tags(
        "SpecificCharacterSet",
        "Modality",
        "TimezoneOffsetFromUTC",
        "SeriesDescription",
        "SeriesInstanceUID",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    ),
    Level.INSTANCE: _tags(
        "SpecificCharacterSet",
        "SOPClassUID",
        "SOPInstanceUID",
        "InstanceAvailability",
        "TimezoneOffsetFromUTC",
        "InstanceNumber",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
    ),
}

V2_DEFAULTS: dict[Level, frozenset[str]] = {
    # What the reference's v2 answers, and what PS3.18 Tables 10.6.3-3 to -5 require besides.
    Level.STUDY: V1_DEFAULTS[Level.STUDY]
    | _tags(
        "StudyDescription",
        "ModalitiesInStudy",
        "RetrieveURL",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: V1_DEFAULTS[Level.SERIES]
    | _tags(
        "SeriesNumber", "ManufacturerModelName", "RetrieveURL", "NumberOfSeriesRelatedInstances"
    ),
    Level.INSTANCE: V1_DEFAULTS[Level.INSTANCE]
    | _tags("RetrieveURL", "AvailableTransferSyntaxUID"),
}

ALL_FIELDS: dict[Level, frozenset[str]] = {
    Level.STUDY: V1_DEFAULTS[Level.STUDY]
    | _tags(
        "StudyDescription",
        "AnatomicRegionsInStudyCodeSequence",
        "ProcedureCodeSequence",
        "NameOfPhysiciansReadingStudy",
        "AdmittingDiagnosesDescription",
        "ReferencedStudySequence",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "Occupation",
        "AdditionalPatientHistory",
    ),
    Level.SERIES: V1_DEFAULTS[Level.SERIES]
    | _tags("SeriesNumber", "Laterality", "SeriesDate", "SeriesTime"),
    Level.INSTANCE: V1_DEFAULTS[Level.INSTANCE],
}
"""What `includefield=all` gives at each level."""

COMPUTED = frozenset(
    {
        MODALITIES_IN_STUDY,
        INSTANCE_AVAILABILITY,
        RETRIEVE_URL,
        AVAILABLE_TRANSFER_SYNTAX_UID,
        NUMBER_OF_STUDY_RELATED_SERIES,
        NUMBER_OF_STUDY_RELATED_INSTANCES,
        NUMBER_OF_SERIES_RELATED_INSTANCES,
    }
)
"""Attributes that are computed; what a sender wrote there is never shown."""

INDEXED: dict[Level, frozenset[str]] = {
    level: (
        V1_DEFAULTS[level]
        | V2_DEFAULTS[level]
        | ALL_FIELDS[level]
        | {
            attribute.tag.split(".")[0]
            for attribute in SEARCH_ATTRIBUTES
            if attribute.level is level
        }
    )
    - COMPUTED
    for level in Level
}
"""What the rows of each level keep of the data set, so that a search need not open a blob."""

IN_ROWS: dict[Level, frozenset[str]] = {
    level: COMPUTED.union(*(INDEXED[above] for above in Level if above <= level)) for level in Level
}
"""What is known of a result without opening a blob: the rows of its level and those above."""


def indexed_attributes(document: Document) -> dict[Level, Document]:
    """What the rows of each level keep of a data set."""
    return {
        level: {tag: document[tag] for tag in tags if tag in document}
        for level, tags in _INDEXED_IN_ORDER.items()
    }


_INDEXED_IN_ORDER = {level: tuple(sorted(tags)) for level, tags in INDEXED.items()}
