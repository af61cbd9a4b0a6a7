"""Blobs in a container of a storage account."""

import asyncio
from collections.abc import AsyncIterator, Buffer, Iterator, Sequence
from contextlib import contextmanager
from itertools import batched
from uuid import uuid4

import obstore
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobBlock, BlobClient, StorageErrorCode
from obstore.exceptions import AlreadyExistsError

from shared.adapters.azure_account import CONNECTIONS, StorageAccount, make_container
from shared.adapters.obstore_blobs import ObstoreBlobs, gathered, unavailable
from shared.errors import BlobExistsError, BlobNotFoundError

_BLOCK_BYTES = 4_194_304
"""Of 50 000 blocks at most; a stream holds two. 4 GiB are 1024."""
_DELETIONS = 4
_DELETED_AT_ONCE = 32
"""Of 256 that one request may name: it must be done within the time for an answer."""


class AzureBlobs(ObstoreBlobs):
    """Blobs in a container, which is made when it is missing.

    obstore cannot commit blocks on a condition, so the storage SDK writes what takes several.
    Uploads cut short leave nothing to be swept: Azure drops blocks that are not committed within a
    week (Microsoft Learn, "Put Block").
    """

    def __init__(self, account: StorageAccount, container: str) -> None:
        super().__init__(account.container(container), threads=CONNECTIONS)
        self._container = account.blobs.get_container_client(container)
        self._is_there = False

    def _put(self, name: str, content: Buffer) -> None:
        try:
            super()._put(name, content)
        except AlreadyExistsError:
            # Blocks that nobody will commit keep a name from being put, though not from a commit.
            _Upload(self._container.get_blob_client(name)).finish(bytes(content))

    async def put_stream(self, name: str, chunks: AsyncIterator[Buffer]) -> int:
        """See BlobStore; what fits in one block costs no more than `put`."""
        upload = _Upload(self._container.get_blob_client(self._checked(name)))
        length = 0
        block = b""
        async for batch in gathered(chunks, _BLOCK_BYTES):
            if block:
                await self._run(upload.stage, block)
            block = b"".join(batch)
            length += len(block)
        if upload.is_begun:
            await self._run(upload.finish, block)
        else:
            await self._run(self._put, name, block)
        return length

    async def delete(self, names: Sequence[str]) -> None:
        """See BlobStore; many in one request."""
        checked = [self._checked(name) for name in names]
        shares = (checked[first::_DELETIONS] for first in range(min(_DELETIONS, len(checked))))
        await asyncio.gather(*(self._delete_share(share) for share in shares))

    async def _delete_share(self, names: Sequence[str]) -> None:
        for batch in batched(names, _DELETED_AT_ONCE, strict=False):
            try:
                await self._run(obstore.delete, self._store, batch)
            except BlobNotFoundError:
                # One of them was not there, which hides what became of the others.
                await super().delete(batch)

    async def check(self) -> None:
        """See BlobStore."""
        await self._run(self._container.get_container_properties)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with super()._translated():
            try:
                self._make_container()
                yield
            except ResourceExistsError as error:
                raise BlobExistsError("A blob of this name exists.") from error
            except AzureError as error:
                raise unavailable(error) from error

    def _make_container(self) -> None:
        if not self._is_there:
            make_container(self._container)
            self._is_there = True


class _Upload:
    """Blocks of a blob to be, under names that no other upload of this blob has."""

    def __init__(self, blob: BlobClient) -> None:
        self._blob = blob
        self._name = uuid4().hex
        self._blocks: list[BlobBlock] = []

    @property
    def is_begun(self) -> bool:
        """Whether there is a block."""
        return bool(self._blocks)

    def stage(self, content: bytes) -> None:
        """Send a block; until all are committed, no reader sees any."""
        block = f"{self._name}{len(self._blocks):05}"
        self._blob.stage_block(block, content)
        self._blocks.append(BlobBlock(block))

    def finish(self, content: bytes) -> None:
        """Send the last block, which may be empty, and let all of them be the blob.

        Raises:
            ResourceExistsError: The name is taken.
        """
        if content:
            self.stage(content)
        try:
            self._blob.commit_block_list(self._blocks, match_condition=MatchConditions.IfMissing)
        except HttpResponseError as error:
            # Whoever was faster has taken our blocks away with the name.
            if getattr(error, "error_code", None) == StorageErrorCode.INVALID_BLOCK_LIST:
                raise ResourceExistsError from error
            raise
