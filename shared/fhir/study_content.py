"""What the archive holds of a study, as far as FHIR is told of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.dicom.json_model import Document

_TOLD = tuple(
    f"1.2.840.10008.5.1.4.1.1.{number}"
    for number in ("11.", "66.1", "66.3", "66.4", "66.5", "88.", "104.")
)


def has_told_content(sop_class_uid: str) -> bool:
    """Whether FHIR is told of the content of such instances, not only that they are there.

    They are structured reports, presentation states, registrations, segmentations and encapsulated
    documents (PS3.4 B.5, 2025b).
    """
    return sop_class_uid.startswith(_TOLD)


@dataclass(frozen=True, slots=True)
class InstanceContent:
    """An instance of a series.

    Attributes:
        document: At least SOP Class UID and Instance Number; the whole metadata of instances whose
            own content is told: structured reports, presentation states and other documents.
        is_whole: Whether `document` is the whole metadata.
    """

    uid: str
    document: Document
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class SeriesContent:
    """A series.

    Attributes:
        document: Metadata of one of its instances, with the attributes of the series as the index
            has them.
        instance_count: How many instances it has.
        instances: All of them in any order, or none where there are too many to be listed.
    """

    uid: str
    document: Document
    instance_count: int
    instances: Sequence[InstanceContent]


@dataclass(frozen=True, slots=True)
class StudyContent:
    """A study with at least one series, in any order.

    Attributes:
        partition_name: The data partition that holds it.
        document: The attributes of the study as the index has them, over the metadata of one
            instance.
        is_newest_of_patient: Whether no other study of the patient has changed since: of what
            studies say of the patient, the newest holds.
        is_contested: Whether another study of the patient says that he is somebody else.
    """

    uid: str
    partition_name: str
    document: Document
    series: Sequence[SeriesContent]
    is_newest_of_patient: bool = True
    is_contested: bool = False
