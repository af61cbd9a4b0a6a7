"""The index over SQL: each method of the port is one job of the database."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime, timedelta

from shared.adapters.sql_index import (
    changes,
    deleted_blobs,
    partitions,
    reads,
    series_documents,
)
from shared.adapters.sql_index.commit import commit_all
from shared.adapters.sql_index.database import CONNECTIONS, Database, check_schema
from shared.adapters.sql_index.delete import delete_at
from shared.adapters.sql_index.errors import OutcomeUnknownError
from shared.adapters.sql_index.replace import commit_again, replace_all
from shared.adapters.sql_index.search import matches_of, search
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.dicomweb.query import SearchQuery
from shared.ports import (
    Change,
    CommitOutcome,
    DeletedBlobs,
    Index,
    Match,
    Matches,
    NewInstance,
    Partition,
    SeriesState,
    StoredInstance,
    Version,
)

SEARCH_TIMEOUT = timedelta(seconds=10)


class SqlIndex(Index):
    """The index in a relational database, which other small state may share."""

    def __init__(
        self,
        url: str,
        *,
        sync: bool = True,
        connections: int = CONNECTIONS,
        token: Callable[[], str] | None = None,
        search_timeout: timedelta = SEARCH_TIMEOUT,
    ) -> None:
        """Prepare to use a database that has been migrated.

        Args:
            url: As SQLAlchemy reads it, of SQLite or of SQL Server.
            sync: Whether what SQLite commits must survive a crash of the machine.
            connections: Most connections to SQL Server.
            token: Gives an access token for SQL Server, where the URL names no way to sign in.
            search_timeout: After which a search is given up.
        """
        self.database = Database(url, sync=sync, connections=connections, token=token)
        self._search_seconds = search_timeout.total_seconds()

    async def find_partition(self, name: str) -> Partition | None:
        """See Index."""
        return await self.database.read(lambda c: partitions.find_partition(c, name))

    async def create_partition(self, name: str) -> Partition:
        """See Index."""
        found = await self.find_partition(name)
        if found is not None:
            return found
        return await self.database.write(lambda c: partitions.create_partition(c, name))

    async def list_partitions(self) -> Sequence[Partition]:
        """See Index."""
        return await self.database.read(partitions.list_partitions)

    async def commit(
        self,
        partition: Partition,
        instances: Sequence[NewInstance],
        *,
        replaced_until: datetime | None = None,
    ) -> Sequence[CommitOutcome]:
        """See Index."""
        if not instances:
            return []
        key, until = partition.key, replaced_until
        try:
            if until is not None:
                return await self.database.write(lambda c: replace_all(c, key, instances, until))
            return await self.database.write_together(commit_all, (key, instances))
        except OutcomeUnknownError:
            return await self.database.write(lambda c: commit_again(c, key, instances, until))

    async def instances(
        self, partition: Partition, path: ResourcePath, after: int = 0
    ) -> AsyncIterator[StoredInstance]:
        """See Index; each page is a snapshot of its own."""
        given: set[tuple[Uid | None, Uid | None]] = set()
        while True:
            page = await self._instances_page(partition, path, after)
            is_last = len(page) < reads.PAGE
            for instance in page:
                # What gets a new version between two pages comes again behind all others.
                identity = instance.path.series, instance.path.instance
                if identity not in given:
                    yield instance
                if not is_last:
                    given.add(identity)
            if is_last:
                return
            after = page[-1].watermark

    async def find_instance(
        self, partition: Partition, path: ResourcePath
    ) -> StoredInstance | None:
        """See Index."""
        return next(iter(await self._instances_page(partition, path, 0)), None)

    async def _instances_page(
        self, partition: Partition, path: ResourcePath, after: int
    ) -> Sequence[StoredInstance]:
        return await self.database.read(
            lambda c: reads.instances_page(c, partition.key, path, after)
        )

    async def version(self, partition: Partition, path: ResourcePath) -> Version | None:
        """See Index."""
        return await self.database.read(lambda c: reads.version(c, partition.key, path))

    async def series(self, partition: Partition, path: ResourcePath) -> Sequence[SeriesState]:
        """See Index."""
        return await self.database.read(lambda c: reads.series_at(c, partition.key, path))

    async def series_members(self, series: SeriesState, after: int) -> Sequence[StoredInstance]:
        """See Index."""
        return await self.database.read(lambda c: reads.series_members(c, series, after))

    async def series_member_uids(self, series: SeriesState, up_to: int) -> Sequence[Uid]:
        """See Index."""
        return await self.database.read(lambda c: reads.series_member_uids(c, series, up_to))

    async def record_series_document(
        self, series: SeriesState, revision: int, count: int, superseded_until: datetime
    ) -> bool:
        """See Index."""
        return await self.database.write(
            lambda c: series_documents.record(c, series.key, revision, count, superseded_until)
        )

    async def delete(
        self,
        partition: Partition,
        path: ResourcePath,
        blobs_until: datetime,
        *,
        noted: Collection[str] | None = None,
    ) -> Sequence[StoredInstance]:
        """See Index."""
        return await self.database.write(
            lambda c: delete_at(c, partition.key, path, blobs_until, noted)
        )

    async def has_deletion(self, partition: Partition, path: ResourcePath) -> bool:
        """See Index."""
        return await self.database.read(lambda c: changes.has_deletion(c, partition.key, path))

    async def search(self, partition: Partition, query: SearchQuery) -> Matches:
        """See Index."""
        return await self.database.search(
            lambda c: search(c, partition.key, query), seconds=self._search_seconds
        )

    async def matches(self, level: Level, keys: Sequence[int]) -> Sequence[Match]:
        """See Index."""
        return await self.database.search(lambda c: matches_of(c, level, keys))

    async def number_changes(self) -> int:
        """See Index."""
        if not await self.database.read(changes.has_unnumbered):
            return 0
        return await self.database.write(changes.number_changes)

    async def changes(self, after: int, limit: int) -> Sequence[Change]:
        """See Index."""
        await self.number_changes()
        return await self.database.read(lambda c: changes.changes_after(c, after, limit))

    async def changes_in_window(
        self, start: datetime, end: datetime, offset: int, limit: int
    ) -> Sequence[Change]:
        """See Index."""
        await self.number_changes()
        return await self.database.read(
            lambda c: changes.changes_in_window(c, start, end, offset, limit)
        )

    async def latest_change(self) -> Change | None:
        """See Index."""
        await self.number_changes()
        return await self.database.read(changes.latest_change)

    async def add_deleted_blobs(self, names: Sequence[str], until: datetime) -> None:
        """See Index."""
        await self.database.write(lambda c: deleted_blobs.add_names(c, names, until))

    async def due_blobs(self, now: datetime, limit: int) -> Sequence[DeletedBlobs]:
        """See Index."""
        return await self.database.write(lambda c: deleted_blobs.due(c, now, limit))

    async def waiting_blobs(self) -> int:
        """See Index."""
        return await self.database.read(deleted_blobs.count)

    async def postpone_blobs(self, keys: Sequence[int], until: datetime) -> None:
        """See Index."""
        await self.database.write(lambda c: deleted_blobs.postpone(c, keys, until))

    async def forget_blobs(self, keys: Sequence[int]) -> None:
        """See Index."""
        await self.database.write(lambda c: deleted_blobs.forget(c, keys))

    async def known_blob_ids(self, blob_ids: Sequence[str]) -> frozenset[str]:
        """See Index."""
        return await self.database.read(lambda c: deleted_blobs.known_blob_ids(c, blob_ids))

    async def check(self) -> None:
        """See Index; also that the schema is the one this code needs."""
        await self.database.read(check_schema)

    async def close(self) -> None:
        """See Index."""
        await self.database.close()
