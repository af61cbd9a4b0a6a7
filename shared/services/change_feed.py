"""The change feed: what happened to instances of all partitions, in order (reference)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Buffer, Sequence
from dataclasses import dataclass

import orjson

from shared.dicom.blob_names import metadata_blob
from shared.dicom.json_model import dumps, without_bulk
from shared.dicomweb.change_feed import ChangeFeedQuery, Entry
from shared.errors import BlobNotFoundError
from shared.ports import BlobStore, Change, Index
from shared.services.kept_instance import UNREADABLE
from shared.services.metadata_file import document_of, with_base_url
from shared.services.partitions import Partitions
from shared.services.read_ahead import read_ahead

_log = logging.getLogger(__name__)

_BLOBS_AT_ONCE = 8
_TRIES = 3
_LARGE_BYTES = 16_384
"""Of compressed metadata: more than this would keep the event loop for more than a moment."""


@dataclass(frozen=True, slots=True)
class FeedView:
    """How a client wants its entries.

    Attributes:
        root: Service root without a partition, for the references to bulk values.
        has_bulk: Whether metadata shows bulk values; v1 leaves them out.
    """

    root: str
    has_bulk: bool
    has_metadata: bool


class ChangeFeed:
    """Answers entries from the index, with metadata from the blobs of what is there now."""

    def __init__(self, blobs: BlobStore, index: Index, partitions: Partitions) -> None:
        self._blobs = blobs
        self._index = index
        self._partitions = partitions

    async def page(self, query: ChangeFeedQuery, view: FeedView) -> AsyncIterator[bytes]:
        """The JSON array of the entries of a page, in chunks."""
        opening = b"["
        entries = read_ahead(
            await self._changes(query),
            lambda change: self._entry(change, view),
            depth=_BLOBS_AT_ONCE,
        )
        async for entry in entries:
            yield opening + entry
            opening = b","
        yield b"]" if opening != b"[" else b"[]"

    async def latest(self, view: FeedView) -> bytes | None:
        """The entry of the latest change as JSON, None when there has been none."""
        change = await self._index.latest_change()
        return None if change is None else await self._entry(change, view)

    async def _changes(self, query: ChangeFeedQuery) -> Sequence[Change]:
        if query.window is None:
            return await self._index.changes(query.offset, query.limit)
        return await self._index.changes_in_window(*query.window, query.offset, query.limit)

    async def _entry(self, change: Change, view: FeedView) -> bytes:
        content = None
        if view.has_metadata:
            change, content = await self._with_metadata(change)
        return Entry(
            sequence=change.sequence,
            partition_name=change.partition_name,
            path=change.path,
            action=change.action.value,
            timestamp=change.timestamp,
            state=change.state.value,
            metadata=None if content is None else await self._document(change, content, view),
        ).to_json()

    async def _with_metadata(self, change: Change) -> tuple[Change, Buffer | None]:
        """The change with its metadata blob, as it is by then: both may have gone meanwhile."""
        for _ in range(_TRIES):
            if change.blob_id is None:
                return change, None
            try:
                return change, await self._blobs.get(metadata_blob(change.blob_id))
            except BlobNotFoundError:
                (change,) = await self._index.changes(change.sequence - 1, 1)
        # Readers must get past it all the same.
        _log.error("change %d: the metadata blob of its instance is missing", change.sequence)
        return change, None

    async def _document(self, change: Change, content: Buffer, view: FeedView) -> bytes | None:
        base_url = self._partitions.base_url(view.root, change.partition_name)
        try:
            if memoryview(content).nbytes > _LARGE_BYTES:
                return await asyncio.to_thread(_shown, content, base_url, has_bulk=view.has_bulk)
            return _shown(content, base_url, has_bulk=view.has_bulk)
        except UNREADABLE:
            # As with one that is missing, readers must get past it.
            _log.error("change %d: the metadata blob of its instance is damaged", change.sequence)
            return None


def _shown(content: Buffer, base_url: str, *, has_bulk: bool) -> bytes:
    document = document_of(content)
    if not (document.startswith(b"{") and document.endswith(b"}")):
        raise ValueError("a metadata blob without a data set")
    if has_bulk:
        return with_base_url(document, base_url)
    return dumps(without_bulk(orjson.loads(document)))
