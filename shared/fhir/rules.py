"""What a site decides about its FHIR resources."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self
from urllib.parse import quote
from zoneinfo import ZoneInfo

PARTITION = "{partition}"
"""What stands for the name of a partition in the system of its patient IDs."""


class PatientRule(Enum):
    """What may be changed of a Patient that is there already."""

    NEVER = "never"
    FILL = "fill"
    """What it lacks is added."""
    SYNC = "sync"
    """Those made by the app follow the images; of others what they lack is added."""
    OVERWRITE = "overwrite"
    """All follow the images."""


class PatientConflictRule(Enum):
    """What becomes of a study whose Patient is there with another name and another birth date."""

    LINK = "link"
    """It refers to that Patient, who is left as he is, and a warning is given."""
    REFUSE = "refuse"
    """It is put aside until somebody has looked at it."""


class DeletedStudyRule(Enum):
    """What becomes of the ImagingStudy of a study that is not there any more."""

    DELETE = "delete"
    ENTERED_IN_ERROR = "entered-in-error"
    CANCELLED = "cancelled"
    KEEP = "keep"


class PractitionerRule(Enum):
    """Whether physicians get resources of their own."""

    DISPLAY = "display"
    """They are named; one that is found by an identifier is referred to."""
    CREATE = "create"
    """One that has an identifier is made where it is not found."""


class OrderRule(Enum):
    """What becomes of accession numbers besides being said."""

    LINK = "link"
    """A ServiceRequest that is found by it is referred to."""
    CREATE = "create"
    """One is made where none is found."""


class DoseRule(Enum):
    """What is told of radiation dose reports."""

    OFF = "off"
    SUMMARY = "summary"
    EVENTS = "events"
    """Also an Observation for each irradiation event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingRules:
    """How data sets become resources.

    Attributes:
        dicomweb_url: Public address of the DICOMweb service with its version, without a partition
            and without a slash at its end.
        patient_system: System of patient IDs whose issuer has no other one; an absolute URI, in
            which `{partition}` may stand for the name of a partition.
        accession_system: Likewise of accession numbers; empty where there is none.
        issuer_systems: Systems by local issuer texts.
        issuer_template: A URI with `{issuer}` for issuers that are not in the map, or empty.
        scheme_systems: Systems by coding scheme designators, besides those of the Standard.
        time_zone: Of data sets that do not tell their offset from UTC.
        study_id_system: System of study IDs; empty where they are not told.
        devices: Whether equipment gets Device resources.
        default_partition: Name of the partition whose address names none.
    """

    dicomweb_url: str
    patient_system: str
    accession_system: str = ""
    issuer_systems: Mapping[str, str] = field(default_factory=dict)
    issuer_template: str = ""
    scheme_systems: Mapping[str, str] = field(default_factory=dict)
    time_zone: ZoneInfo | None = None
    study_id_system: str = ""
    devices: bool = True
    practitioners: PractitionerRule = PractitionerRule.DISPLAY
    orders: OrderRule = OrderRule.LINK
    dose: DoseRule = DoseRule.SUMMARY
    default_partition: str = "Microsoft.Default"

    @property
    def shares_patients(self) -> bool:
        """Whether a patient ID means the same patient in all partitions."""
        return PARTITION not in self.patient_system

    def within(self, partition_name: str) -> Self:
        """The rules for the studies of a partition."""
        if self.shares_patients:
            return self
        system = self.patient_system.replace(PARTITION, quote(partition_name, safe=""))
        return replace(self, patient_system=system)

    def service_url(self, partition_name: str) -> str:
        """The address of the DICOMweb service of a partition."""
        if partition_name == self.default_partition:
            return self.dicomweb_url
        return f"{self.dicomweb_url}/partitions/{partition_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRules:
    """How resources are brought to a FHIR server.

    Attributes:
        max_instances: A study with more lists none of them.
        max_conditional_entries: Most conditional entries in one transaction.
        concurrency: How many studies are worked on side by side.
    """

    patients: PatientRule = PatientRule.SYNC
    patient_conflicts: PatientConflictRule = PatientConflictRule.LINK
    deleted_studies: DeletedStudyRule = DeletedStudyRule.DELETE
    max_instances: int = 10_000
    max_conditional_entries: int = 8
    concurrency: int = 4
