"""What has been deleted and can be brought back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.ports.instances import (
    NewInstance,
    Partition,
)


@dataclass(frozen=True, slots=True)
class DeletedInstance:
    """An instance that was deleted, and whose blobs wait for their removal.

    Attributes:
        blob_id: Names its blobs.
        metadata_id: Names the metadata blob of its newest version.
        is_stored: Whether another instance of the same UIDs is there now.
    """

    path: ResourcePath
    blob_id: str
    metadata_id: str
    is_stored: bool


class BlobUse(Enum):
    """Why the blobs of an instance are there."""

    STORED = "stored"
    WAITING = "waiting"


class Deletions(Protocol):
    """What has been deleted and can be brought back."""

    async def of_study(self, partition: Partition, study: Uid) -> Sequence[DeletedInstance]:
        """What of a study can be brought back: of each instance what was deleted last.

        They are in the order of their deletion, which within one is that of their storing.
        """

    async def restore(
        self, partition: Partition, instances: Sequence[NewInstance]
    ) -> Collection[str]:
        """Put deleted instances of one study back with change rows, in one transaction.

        Nothing is put back unless all can be; given are the blob ids of those that cannot: others
        of the same UIDs are there, or their blobs wait no more. One that is back already is fine.

        Raises:
            TagSetChangedError: As with Index.commit.
        """

    async def replaced_by(
        self, partition: Partition, instances: Sequence[NewInstance]
    ) -> Mapping[str, ResourcePath]:
        """The instances whose place others would take if they were there now, by blob ids."""

    async def uses(self, blob_ids: Collection[str]) -> Mapping[str, BlobUse]:
        """Why the blobs of instances are there, of those whose blobs are."""
