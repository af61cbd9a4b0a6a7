"""The inbox as a container of a storage account.

The storage SDK is used, as its names are those that triggers tell, and its requests can be bound
to the version of a blob.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import StorageStreamDownloader

from shared.adapters.azure_account import StorageAccount, make_container
from shared.adapters.failed_names import REASON, failed_names
from shared.adapters.own_threads import OwnThreads
from shared.errors import BlobNotFoundError, InboxFileError, StoreUnavailableError
from shared.ports import InboxFile

_LISTED_AT_ONCE = 1000
_LONGEST_NAME = 1024
_GONE = (ResourceNotFoundError, ResourceModifiedError)
_OF_ONE_BLOB = {
    "BlobArchived",
    "BlobBeingRehydrated",
    "BlobImmutableDueToPolicy",
    "SnapshotsPresent",
}
"""What the storage says of a blob that may not be read or removed, with status 409."""


class AzureInbox:
    """Blobs of one container, and refused ones in another, which is made when there are any."""

    def __init__(self, account: StorageAccount, inbox: str, failed: str) -> None:
        self._inbox = account.blobs.get_container_client(inbox)
        self._failed = account.blobs.get_container_client(failed)
        self._threads = OwnThreads("inbox")

    async def open(self, name: str) -> tuple[InboxFile, AsyncIterator[bytes]]:
        """See Inbox."""
        # All later requests of a download are bound to the version that the first one found.
        download = await self._run(lambda: self._inbox.download_blob(name))
        return _file(name, download.properties), self._read(download)

    async def _read(self, download: "StorageStreamDownloader[bytes]") -> AsyncIterator[bytes]:
        chunks = download.chunks()
        while (chunk := await self._run(lambda: next(chunks, None))) is not None:
            yield chunk

    async def list(self) -> AsyncIterator[InboxFile]:
        """See Inbox; a container that does not exist yet is empty."""
        pages = self._inbox.list_blobs(results_per_page=_LISTED_AT_ONCE).by_page()
        while (page := await self._run(lambda: _next_page(pages))) is not None:
            for blob in page:
                yield _file(str(blob.name), blob)

    async def remove(self, file: InboxFile) -> None:
        """See Inbox."""
        with suppress(BlobNotFoundError):
            await self._run(lambda: self._remove(file))

    def _remove(self, file: InboxFile) -> None:
        self._inbox.delete_blob(
            file.name, etag=file.version, match_condition=MatchConditions.IfNotModified
        )

    async def set_aside(self, file: InboxFile, reason: bytes) -> None:
        """See Inbox."""
        with suppress(BlobNotFoundError):
            await self._run(lambda: self._set_aside(file, reason))

    def _set_aside(self, file: InboxFile, reason: bytes) -> None:
        make_container(self._failed)
        for name in failed_names(file.name, lambda: _digest(self._chunks(file))):
            if len(name + REASON) <= _LONGEST_NAME and self._is_kept(file, name, reason):
                break
        self._remove(file)

    def _is_kept(self, file: InboxFile, name: str, reason: bytes) -> bool:
        """Keep a file under a name, unless another file has it."""
        chunks = self._chunks(file)
        try:
            self._failed.upload_blob(name, chunks, length=file.length)
        except ResourceExistsError:
            if _digest(self._failed.download_blob(name).chunks()) != _digest(self._chunks(file)):
                return False
        self._failed.upload_blob(name + REASON, reason, overwrite=True)
        return True

    def _chunks(self, file: InboxFile) -> Iterator[bytes]:
        condition = MatchConditions.IfNotModified
        blob = self._inbox.get_blob_client(file.name)
        return iter(blob.download_blob(etag=file.version, match_condition=condition).chunks())

    async def _run[R](self, function: Callable[[], R]) -> R:
        def translated() -> R:
            with _translated():
                return function()

        return await self._threads.run(translated)


def _next_page(pages: Iterator[Any]) -> Sequence[Any] | None:
    try:
        page = next(pages, None)
        return None if page is None else list(page)
    except ResourceNotFoundError:
        return None


def _digest(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _file(name: str, properties: Any) -> InboxFile:  # noqa: ANN401 - one of two kinds of the SDK
    return InboxFile(name, properties.etag, properties.size, properties.last_modified)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _GONE as error:
        raise BlobNotFoundError("The file is gone or was written again.") from error
    except AzureError as error:
        if getattr(error, "error_code", None) in _OF_ONE_BLOB:
            # Without the cause, which tells the name.
            raise InboxFileError("The blob may not be read, moved or removed.") from None
        raise StoreUnavailableError("The inbox does not answer.") from error
