"""Delete: take studies, series and instances out of the archive; the Standard has no such thing."""

from datetime import UTC, datetime, timedelta

import orjson

from shared.dicom.blob_names import new_blob_id, tombstone_blob
from shared.dicom.resource import ResourcePath
from shared.errors import NotFoundError
from shared.ports import BlobStore, Index, Partition


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
        tombstone = {"until": until, "blobIds": [instance.file.blob_id for instance in deleted]}
        await self._blobs.put(tombstone_blob(new_blob_id()), orjson.dumps(tombstone))
