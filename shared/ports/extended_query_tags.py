"""Extended query tags, and how what was there before gets to be indexed by them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from shared.dicom.extended_query_tag import IndexedTag, NewTag, TagSet, TagValues
from shared.dicom.resource import ResourcePath
from shared.ports.operations import (
    Operation,
)


class TagStatus(Enum):
    """Whether instances that were there before a tag are indexed by it."""

    ADDING = "adding"
    READY = "ready"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedQueryTag(NewTag):
    """A tag that instances are indexed by.

    Attributes:
        key: The index's own number of the tag, never used again.
        is_enabled: Whether it may be searched by.
        errors: How many instances have a value that cannot be indexed.
        operation_id: Of the operation that indexes the instances that were there before.
    """

    key: int
    status: TagStatus
    is_enabled: bool
    errors: int = 0
    operation_id: str | None = None

    @property
    def indexed(self) -> IndexedTag:
        """The tag as instances are indexed by it."""
        return IndexedTag(self.key, self.path, self.vr, self.level, self.private_creator)


@dataclass(frozen=True, slots=True)
class TagError:
    """Why an instance is not indexed by a tag; `message` quotes no value."""

    partition_name: str
    path: ResourcePath
    created: datetime
    message: str


class TagTable(Protocol):
    """The extended query tags, which all partitions share."""

    async def tag_set(self) -> TagSet:
        """The tags that new instances are indexed by, all but those that are being deleted."""

    async def add(
        self, tags: Sequence[NewTag], operation: Operation, most: int
    ) -> Operation | None:
        """Add tags, and note the operation that will index the present instances by them.

        Only if no other one of its type is unfinished; that one is given instead, and nothing is
        added. A tag whose own operation ended without success takes part in the new one.

        Raises:
            ConflictError: There is a tag of the same path.
            TagLimitError: There would be more than `most`.
        """

    async def list(self, limit: int, offset: int) -> Sequence[ExtendedQueryTag]:
        """The tags, oldest first."""

    async def find(self, path: str) -> ExtendedQueryTag | None:
        """Find a tag by its path."""

    async def enable(self, path: str, *, is_enabled: bool) -> ExtendedQueryTag | None:
        """Let a tag be searched by, or not; None when there is no such tag."""

    async def errors(self, path: str, limit: int, offset: int) -> Sequence[TagError]:
        """Why instances are not indexed by a tag, oldest instance first."""

    async def begin_deletion(self, path: str) -> int | None:
        """Index no instance by a tag any more; give its key, None when there is no such tag."""

    async def delete_some(self, key: int) -> bool:
        """Delete some rows of a tag that is being deleted; False when nothing of it is left."""

    async def restore(self, tags: Sequence[NewTag], version: int) -> TagSet:
        """Put tags into an index that has neither tags nor instances."""


@dataclass(frozen=True, slots=True)
class InstanceToIndex:
    """An instance that is there, by its watermark; `metadata_id` names its metadata blob."""

    partition_key: int
    study_uid: str
    watermark: int
    metadata_id: str


@dataclass(frozen=True, slots=True)
class InstanceTags:
    """What was found in an instance: its values, and what is wrong, by the keys of tags."""

    instance: InstanceToIndex
    values: TagValues
    errors: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Reindexing:
    """How far an operation is: instances from `lowest` to `highest` watermark are done."""

    highest: int
    lowest: int


class ReindexTable(Protocol):
    """How the instances that were there before a tag get to be indexed by it."""

    async def begin(self, operation_id: str) -> Reindexing:
        """How far an operation is; the first time, fix the highest watermark it goes up to."""

    async def tags(self, operation_id: str) -> TagSet:
        """The tags of an operation that are not being deleted."""

    async def slices(self, below: int, count: int, size: int) -> Sequence[tuple[int, int]]:
        """Watermarks, first and last, of the next slices of `size` instances, newest first."""

    async def instances(self, first: int, last: int) -> Sequence[InstanceToIndex]:
        """The instances from one watermark to another."""

    async def write(self, found: Sequence[InstanceTags]) -> None:
        """Add what was found in instances that are still there, where it is not there yet.

        An error disables its tag.
        """

    async def advance(self, operation_id: str, lowest: int) -> None:
        """Note that all instances from a watermark on are done."""

    async def finish(self, operation_id: str) -> None:
        """Make the tags of an operation ready, and forget how far it was."""
