"""What is stored, and what has been done to it."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.dicomweb.query import SearchQuery
from shared.ports.changes import Change
from shared.ports.instances import (
    CommitOutcome,
    DeletedBlobs,
    NewInstance,
    Partition,
    SeriesState,
    StoredInstance,
    Version,
)
from shared.ports.matches import Match, Matches


class Index(Protocol):
    """The truth about what is stored: what it does not name does not exist."""

    # Partitions

    async def find_partition(self, name: str) -> Partition | None:
        """Find a partition by its name."""

    async def create_partition(self, name: str) -> Partition:
        """Find a partition, or make it; concurrent calls give the same one."""

    async def list_partitions(self) -> Sequence[Partition]:
        """All partitions, oldest first."""

    # Instances

    async def commit(
        self,
        partition: Partition,
        instances: Sequence[NewInstance],
        *,
        replaced_until: datetime | None = None,
    ) -> Sequence[CommitOutcome]:
        """Add instances with their change rows in one transaction; outcomes in the order given.

        An instance that exists stays as it is; one that an earlier commit of the same `blob_id`
        added counts as committed. With `replaced_until`, one that exists is replaced unless its
        file is the very same, and its blobs wait until then (UTC) for their removal. Study and
        series attributes follow the newest instance; an empty value never replaces one.

        Raises:
            TagSetChangedError: Nothing is added: there is another set of extended query tags than
                the one whose values the instances have.
        """

    def instances(
        self, partition: Partition, path: ResourcePath, after: int = 0
    ) -> AsyncIterator[StoredInstance]:
        """The instances at or below a path with a watermark above `after`, by it, in pages."""

    async def find_instance(
        self, partition: Partition, path: ResourcePath
    ) -> StoredInstance | None:
        """Find one instance by its full path."""

    async def version(self, partition: Partition, path: ResourcePath) -> Version | None:
        """The newest change at or below a path, None when nothing is there."""

    async def series(self, partition: Partition, path: ResourcePath) -> Sequence[SeriesState]:
        """The series at or below a study or series path."""

    async def series_members(self, series: SeriesState, after: int) -> Sequence[StoredInstance]:
        """The instances of a series whose watermark is above `after`, by watermark."""

    async def series_member_uids(self, series: SeriesState, up_to: int) -> Sequence[Uid]:
        """The SOP Instance UIDs of a series whose watermark is at most `up_to`."""

    async def record_series_document(
        self, series: SeriesState, revision: int, count: int, superseded_until: datetime
    ) -> bool:
        """Make the document of `revision` the newest; an older one waits for its removal.

        False when a newer document is recorded already, or the series is gone.
        """

    async def delete(
        self,
        partition: Partition,
        path: ResourcePath,
        blobs_until: datetime,
        *,
        noted: Collection[str] | None = None,
    ) -> Sequence[StoredInstance]:
        """Remove everything at or below a path with its change rows, and give what was removed.

        The study and series attributes become those of the instances that remain; the blobs wait
        until `blobs_until` (UTC) for their removal.

        Raises:
            ConflictError: Nothing is removed: `noted` does not name the blobs of all instances.
        """

    async def has_deletion(self, partition: Partition, path: ResourcePath) -> bool:
        """Whether an instance at or below a path has ever been deleted."""

    # Search

    async def search(self, partition: Partition, query: SearchQuery) -> Matches:
        """The results of a query, newest first.

        Raises:
            StoreUnavailableError: Also when it would take too long.
        """

    async def matches(self, level: Level, keys: Sequence[int]) -> Sequence[Match]:
        """The results of keys that a search gave, without those that are gone since."""

    # Change feed

    async def number_changes(self) -> int:
        """Give committed changes their sequence and timestamp, and tell how many got one."""

    async def changes(self, after: int, limit: int) -> Sequence[Change]:
        """The entries with a sequence above `after`, numbering new ones first."""

    async def changes_in_window(
        self, start: datetime, end: datetime, offset: int, limit: int
    ) -> Sequence[Change]:
        """The entries from `start` to before `end` (UTC) without the first `offset` of them.

        New ones are numbered first. A window that ended before the call is final.
        """

    async def latest_change(self) -> Change | None:
        """The entry with the highest sequence."""

    # Blobs to remove

    async def add_deleted_blobs(self, names: Sequence[str], until: datetime) -> None:
        """Let blobs wait for their removal."""

    async def due_blobs(self, now: datetime, limit: int) -> Sequence[DeletedBlobs]:
        """Blobs whose time has come, oldest first; from now on nothing brings them back."""

    async def waiting_blobs(self) -> int:
        """How many rows wait, whether their time has come or not."""

    async def postpone_blobs(self, keys: Sequence[int], until: datetime) -> None:
        """Let rows wait longer, whose blobs cannot be removed now."""

    async def forget_blobs(self, keys: Sequence[int]) -> None:
        """Drop rows whose blobs are removed."""

    async def known_blob_ids(self, blob_ids: Sequence[str]) -> frozenset[str]:
        """Those that an instance or its head names, or that wait for their removal."""

    # Life

    async def check(self) -> None:
        """Touch the index, to see that it answers."""

    async def close(self) -> None:
        """Let go of connections and threads."""


@dataclass(frozen=True, slots=True)
class SeriesRevisions:
    """The newest change of a series, and its newest document, None when there is none."""

    revision: int
    document_revision: int | None


class SeriesTable(Protocol):
    """The series by the index's own numbers of them."""

    async def revisions(self, keys: Collection[int]) -> Mapping[int, SeriesRevisions]:
        """How far series are, of those that are there."""
