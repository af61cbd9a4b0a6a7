"""Delete: take studies, series and instances out of the archive; the Standard has no such thing."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from shared.dicom.resource import ResourcePath
from shared.errors import ConflictError, NotFoundError
from shared.ports import BlobStore, Index, Partition, StoredInstance
from shared.services.tombstones import add_tombstone

_TRIES = 5


class Delete:
    """Removes instances from the index at once, and lets their blobs wait for the cleanup."""

    def __init__(self, blobs: BlobStore, index: Index, *, grace: timedelta) -> None:
        self._blobs = blobs
        self._index = index
        self._grace = grace

    async def delete(self, partition: Partition, path: ResourcePath) -> None:
        """Delete everything at or below a path.

        A tombstone blob names the instances before they go, so that an index rebuilt from blobs
        leaves them out, whatever crashes when.

        Raises:
            NotFoundError: Nothing is there.
        """
        until = datetime.now(UTC) + self._grace
        noted: set[str] = set()
        for _ in range(_TRIES):
            await self._note(partition, path, noted, until)
            with suppress(ConflictError):
                self._found(await self._index.delete(partition, path, until, noted=noted), path)
                return
        # Instances arrive all the time: those that came last are noted behind.
        deleted = self._found(await self._index.delete(partition, path, until), path)
        await self._bury(partition, deleted, noted, until)

    async def _note(
        self, partition: Partition, path: ResourcePath, noted: set[str], until: datetime
    ) -> None:
        present = [item async for item in self._index.instances(partition, path)]
        await self._bury(partition, present, noted, until)

    async def _bury(
        self,
        partition: Partition,
        instances: Sequence[StoredInstance],
        noted: set[str],
        until: datetime,
    ) -> None:
        paths = {item.file.blob_id: item.path for item in instances}
        new = {blob_id: path for blob_id, path in paths.items() if blob_id not in noted}
        if new:
            await add_tombstone(self._blobs, partition.name, new, until)
            noted.update(new)

    @staticmethod
    def _found(deleted: Sequence[StoredInstance], path: ResourcePath) -> Sequence[StoredInstance]:
        if not deleted:
            raise NotFoundError(f"The specified {path.level.name.lower()} cannot be found.")
        return deleted
