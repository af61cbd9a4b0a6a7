"""What has happened to instances."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from shared.dicom.resource import ResourcePath


class ChangeAction(Enum):
    """What a change did to an instance."""

    CREATE = "Create"
    DELETE = "Delete"
    UPDATE = "Update"


class InstanceState(Enum):
    """What has become of the instance since a change."""

    CURRENT = "Current"
    REPLACED = "Replaced"
    DELETED = "Deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the change feed.

    Attributes:
        sequence: From 1, without gaps.
        timestamp: UTC; never less than that of an entry before.
        blob_id: Names the metadata of the instance as it is now, None where it is deleted.
    """

    sequence: int
    timestamp: datetime
    action: ChangeAction
    state: InstanceState
    partition_name: str
    path: ResourcePath
    blob_id: str | None
