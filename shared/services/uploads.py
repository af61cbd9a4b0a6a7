"""Uploads: addresses at which clients write large files straight to the inbox; ours, no Standard's.

The body of a request is bounded where the app runs; a write to the storage account is not.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.dicom.blob_names import new_blob_id
from shared.errors import NotFoundError, NotSupportedError
from shared.ports import Partition, UploadAddress, UploadAddresses
from shared.services.ingest_results import IngestResult, IngestResults, IngestStatus, result_id

_ID = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that may be uploaded; its result is found by the id."""

    id: str
    address: UploadAddress


class Uploads:
    """Issues addresses, and tells what became of files; `addresses` is None without an account."""

    def __init__(
        self, addresses: UploadAddresses | None, results: IngestResults, lifetime: timedelta
    ) -> None:
        self._addresses = addresses
        self._results = results
        self._lifetime = lifetime

    async def issue(self, partition: Partition) -> Upload:
        """Let one new file of a partition be uploaded.

        Raises:
            NotSupportedError: The inbox is no container of a storage account.
        """
        if self._addresses is None:
            raise NotSupportedError(
                "The inbox is a folder of the server: put the file there, or store it by a request."
            )
        name = f"{partition.name}/{new_blob_id()}.dcm"
        address = await self._addresses.issue(name, self._lifetime)
        waiting = IngestResult(
            id=result_id(name),
            partition_name=partition.name,
            status=IngestStatus.WAITING,
            at=datetime.now(UTC),
            expires=address.expires,
        )
        await self._results.put(waiting)
        return Upload(waiting.id, address)

    async def result(self, partition: Partition, upload_id: str) -> IngestResult:
        """What became of a file of a partition: an uploaded one, or another one of the inbox.

        Raises:
            NotFoundError: None of this partition is known under this id.
        """
        found = None
        if _ID.match(upload_id):
            found, _ = await self._results.find(upload_id)
        if found is None or found.partition_name != partition.name:
            raise NotFoundError("There is no such upload.")
        return found
