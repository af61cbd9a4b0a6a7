"""Delete: take studies, series and instances out of the archive; the Standard has no such thing."""

from datetime import UTC, datetime, timedelta

from shared.dicom.resource import ResourcePath
from shared.errors import NotFoundError
from shared.ports import BlobStore, Index, Partition
from shared.services.tombstones import add_tombstone


class Delete:
    """Removes instances from the index at once, and lets their blobs wait for the cleanup."""

    def __init__(self, blobs: BlobStore, index: Index, *, grace: timedelta) -> None:
        self._blobs = blobs
        self._index = index
        self._grace = grace

    async def delete(self, partition: Partition, path: ResourcePath) -> None:
        """Delete everything at or below a path.

        A tombstone blob names the instances, so that an index rebuilt from blobs leaves them out.

        Raises:
            NotFoundError: Nothing is there.
        """
        until = datetime.now(UTC) + self._grace
        deleted = await self._index.delete(partition, path, until)
        if not deleted:
            raise NotFoundError(f"The specified {path.level.name.lower()} cannot be found.")
        await add_tombstone(self._blobs, [instance.file.blob_id for instance in deleted], until)
