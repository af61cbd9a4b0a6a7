"""Extended query tags: what else an archive can be searched by (reference)."""

from collections.abc import Sequence

from shared.dicom.extended_query_tag import NewTag
from shared.dicom.searchable import Extension, SearchAttribute
from shared.errors import NotFoundError
from shared.ports import (
    BlobStore,
    ExtendedQueryTag,
    Operation,
    OperationType,
    Orchestrations,
    TagError,
    TagStatus,
    TagTable,
)
from shared.services.operations import Operations
from shared.services.tag_sets import keep_tag_set


class ExtendedQueryTags:
    """The tags of all partitions, at most a number of them."""

    def __init__(
        self, table: TagTable, blobs: BlobStore, operations: Operations, *, most: int
    ) -> None:
        self._table = table
        self._blobs = blobs
        self._operations = operations
        self._most = most

    async def add(self, orchestrations: Orchestrations, tags: Sequence[NewTag]) -> Operation:
        """Add tags, and start to index by them what is there already.

        What is stored from here on is indexed by them at once.

        Raises:
            OperationRunningError: Tags are being added; that must end first.
            ConflictError: One of the tags is there already.
            TagLimitError: There would be too many.
        """
        return await self._operations.start(
            orchestrations,
            OperationType.REINDEX,
            {"tags": [tag.path for tag in tags]},
            note=lambda operation: self._table.add(tags, operation, self._most),
        )

    async def list(self, limit: int, offset: int) -> Sequence[ExtendedQueryTag]:
        """The tags, oldest first."""
        return await self._table.list(limit, offset)

    async def get(self, path: str) -> ExtendedQueryTag:
        """Find a tag.

        Raises:
            NotFoundError: There is none.
        """
        return _found(await self._table.find(path))

    async def enable(self, path: str, *, is_enabled: bool) -> ExtendedQueryTag:
        """Let a tag be searched by, also in spite of errors, or not.

        Raises:
            NotFoundError: There is none.
        """
        return _found(await self._table.enable(path, is_enabled=is_enabled))

    async def errors(self, path: str, limit: int, offset: int) -> Sequence[TagError]:
        """Why instances are not indexed by a tag.

        Raises:
            NotFoundError: There is no such tag.
        """
        await self.get(path)
        return await self._table.errors(path, limit, offset)

    async def delete(self, path: str) -> None:
        """Delete a tag with all that instances have of it; what was cut short can be repeated.

        Raises:
            NotFoundError: There is none.
        """
        key = await self._table.begin_deletion(path)
        if key is None:
            raise _not_found()
        await keep_tag_set(self._blobs, await self._table.tag_set())
        while await self._table.delete_some(key):
            pass

    async def search_attributes(self, paths: Sequence[str]) -> Sequence[SearchAttribute]:
        """Those of some attributes that are tags by which all instances are indexed."""
        tags = [await self._table.find(path) for path in paths]
        return [
            _attribute(tag) for tag in tags if tag is not None and tag.status is TagStatus.READY
        ]


def _attribute(tag: ExtendedQueryTag) -> SearchAttribute:
    extension = Extension(tag.key, is_enabled=tag.is_enabled, has_errors=tag.errors > 0)
    return SearchAttribute(tag.path, tag.path, tag.vr, tag.level, extension=extension)


def _found(tag: ExtendedQueryTag | None) -> ExtendedQueryTag:
    if tag is None:
        raise _not_found()
    return tag


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such extended query tag.")
