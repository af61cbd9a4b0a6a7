"""The studies of the archive, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.dicom.json_model import Document


@dataclass(frozen=True, slots=True)
class KnownStudy:
    """A study that is there; `key` is the index's own number, never used again."""

    key: int
    partition_name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ListedInstance:
    """An instance of a study that is listed; `metadata_id` names its metadata blob."""

    uid: str
    sop_class_uid: str | None
    number: int | None
    watermark: int
    metadata_id: str


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """A series of a study that is listed.

    Attributes:
        attributes: What the index keeps of the series.
        instances: By watermark; where the study has too many, only the newest and the documents.
    """

    uid: str
    attributes: Document
    instance_count: int
    instances: Sequence[ListedInstance]


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """A study with its series, as it was at one moment.

    Attributes:
        attributes: What the index keeps of the study.
        revision: Higher than those of studies that have changed before.
    """

    uid: str
    attributes: Document
    revision: int
    series: Sequence[ListedSeries]


@dataclass(frozen=True, slots=True)
class PatientStudy:
    """A study that is found by its patient; the members are as those of ListedStudy."""

    partition_name: str
    uid: str
    attributes: Document
    revision: int


class StudyTable(Protocol):
    """The studies in the order in which they came, and what is in each."""

    async def span(self, partition_name: str | None) -> tuple[int, int]:
        """How many studies there are, in a partition or in all, and the highest key of them."""

    async def studies(
        self, partition_name: str | None, after: int, up_to: int, limit: int
    ) -> Sequence[KnownStudy]:
        """The next studies with a key above `after` and at most `up_to`, by key."""

    async def listed(self, partition_name: str, uid: str, most: int) -> ListedStudy | None:
        """A study with its series and, unless it has more than `most`, all of its instances."""

    async def of_patient(
        self, partition_name: str | None, patient_id: str, limit: int
    ) -> Sequence[PatientStudy]:
        """The studies of a Patient ID, whatever its case, that have changed last, newest first.

        Args:
            partition_name: Where they are; anywhere, if it is None.
            patient_id: What they have in common, whoever has issued it.
            limit: How many at most.
        """

    async def newest_metadata(self, partition_name: str, uid: str) -> str | None:
        """Which metadata blob is that of the newest instance of a study, None where it is gone."""
