"""What the use cases need from the world, as Protocols; adapters implement them.

Every method raises StoreUnavailableError when its store does not answer now.
"""

from shared.ports.blobs import BlobInfo, BlobStore
from shared.ports.changes import Change, ChangeAction, InstanceState
from shared.ports.deletions import BlobUse, DeletedInstance, Deletions
from shared.ports.exports import ExportDestination, ExportDestinations
from shared.ports.extended_query_tags import (
    ExtendedQueryTag,
    InstanceTags,
    InstanceToIndex,
    Reindexing,
    ReindexTable,
    TagError,
    TagStatus,
    TagTable,
)
from shared.ports.fhir import FhirRelease, FhirServer, FhirWrite, FhirWritten
from shared.ports.inbox import Inbox, InboxFile, UploadAddress, UploadAddresses
from shared.ports.index import Index, SeriesRevisions, SeriesTable
from shared.ports.instances import (
    DEFAULT_PARTITION_KEY,
    DEFAULT_PARTITION_NAME,
    AlreadyStored,
    CommitOutcome,
    Committed,
    DeletedBlobs,
    Head,
    InstanceFile,
    NewInstance,
    Partition,
    SeriesState,
    StoredInstance,
    Version,
)
from shared.ports.matches import Match, Matches
from shared.ports.operations import (
    Operation,
    OperationStatus,
    OperationTable,
    OperationType,
    Orchestrations,
    OrchestrationState,
)
from shared.ports.secrets import Secrets
from shared.ports.state import StateRow, StateTable, StateValue
from shared.ports.studies import (
    KnownStudy,
    ListedInstance,
    ListedSeries,
    ListedStudy,
    PatientStudy,
    StudyTable,
)
from shared.ports.study_updates import StudyUpdates, UpdatedInstance, UpdateOutcome, UpdateProgress
from shared.ports.tokens import Tokens

__all__ = [
    "DEFAULT_PARTITION_KEY",
    "DEFAULT_PARTITION_NAME",
    "AlreadyStored",
    "BlobInfo",
    "BlobStore",
    "BlobUse",
    "Change",
    "ChangeAction",
    "CommitOutcome",
    "Committed",
    "DeletedBlobs",
    "DeletedInstance",
    "Deletions",
    "ExportDestination",
    "ExportDestinations",
    "ExtendedQueryTag",
    "FhirRelease",
    "FhirServer",
    "FhirWrite",
    "FhirWritten",
    "Head",
    "Inbox",
    "InboxFile",
    "Index",
    "InstanceFile",
    "InstanceState",
    "InstanceTags",
    "InstanceToIndex",
    "KnownStudy",
    "ListedInstance",
    "ListedSeries",
    "ListedStudy",
    "Match",
    "Matches",
    "NewInstance",
    "Operation",
    "OperationStatus",
    "OperationTable",
    "OperationType",
    "OrchestrationState",
    "Orchestrations",
    "Partition",
    "PatientStudy",
    "ReindexTable",
    "Reindexing",
    "Secrets",
    "SeriesRevisions",
    "SeriesState",
    "SeriesTable",
    "StateRow",
    "StateTable",
    "StateValue",
    "StoredInstance",
    "StudyTable",
    "StudyUpdates",
    "TagError",
    "TagStatus",
    "TagTable",
    "Tokens",
    "UpdateOutcome",
    "UpdateProgress",
    "UpdatedInstance",
    "UploadAddress",
    "UploadAddresses",
    "Version",
]
