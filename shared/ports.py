"""What the use cases need from the world, as Protocols; adapters implement them.

Every method raises StoreUnavailableError when its store does not answer now.
"""

from collections.abc import AsyncIterator, Buffer, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol

from shared.access import Principal
from shared.dicom.extended_query_tag import IndexedTag, NewTag, TagSet, TagValues
from shared.dicom.json_model import Document
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.dicomweb.export_container import BlobContainer
from shared.dicomweb.export_request import ExportFolder
from shared.dicomweb.query import SearchQuery

DEFAULT_PARTITION_NAME = "Microsoft.Default"
DEFAULT_PARTITION_KEY = 1
_NO_TAG_VALUES = TagValues()


# --- blobs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as a listing shows it; `length` in bytes."""

    name: str
    length: int


class BlobStore(Protocol):
    """Bytes under names; a blob is created once, never changed, and deleted.

    What `put` and `put_stream` acknowledge survives a crash of the process and of the machine.
    """

    async def put(self, name: str, content: Buffer) -> None:
        """Create a blob.

        Raises:
            BlobExistsError: The name is taken.
        """

    async def put_stream(self, name: str, chunks: AsyncIterator[Buffer]) -> int:
        """Create a blob from chunks without holding it whole, and give its length in bytes.

        A failure while the chunks arrive leaves no blob of this name.

        Raises:
            BlobExistsError: The name is taken.
        """

    async def get(self, name: str) -> Buffer:
        """Read a whole, small blob.

        Raises:
            BlobNotFoundError: No such blob.
        """

    async def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        """Read byte ranges, each (offset, length); neighbouring ones are read together.

        Raises:
            BlobNotFoundError: No such blob.
        """

    def stream(
        self, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[Buffer]:
        """Read a blob, or `length` bytes of it from `offset`, in chunks of at most about 1 MiB.

        Raises:
            BlobNotFoundError: No such blob; raised before the first chunk.
        """

    async def delete(self, names: Sequence[str]) -> None:
        """Remove blobs; a name without a blob is no error."""

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """List the blobs whose names begin with a prefix that ends in a slash, in any order."""

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """List the distinct next segments of the names below a prefix that ends in a slash."""

    async def remove_leftovers(self, older_than: timedelta) -> int:
        """Remove what writes cut short have left behind, and tell how many there were."""

    async def check(self) -> None:
        """Touch the store, to see that it answers."""


# --- the inbox ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A file that waits to be taken in.

    Attributes:
        version: Another one whenever the file is written again.
        length: Bytes of the file.
        changed: When it was written, UTC.
    """

    name: str
    version: str
    length: int
    changed: datetime


class Inbox(Protocol):
    """Files that others leave under names of their own choice, until they are taken in.

    What is done to a file is done to the version that was looked at: one that is written again
    meanwhile stays, and waits anew.
    """

    async def open(self, name: str) -> tuple[InboxFile, AsyncIterator[bytes]]:
        """Find a file, and give its bytes in chunks of a few MiB at most.

        Raises:
            BlobNotFoundError: There is none, also later: it is gone or written again.
        """

    def list(self) -> AsyncIterator[InboxFile]:
        """All files, in any order."""

    async def remove(self, file: InboxFile) -> None:
        """Remove a file; one that is gone or written again is no error."""

    async def set_aside(self, file: InboxFile, reason: bytes) -> None:
        """Move a file to where refused ones are kept, with the reason in a file beside it.

        Both are durable before it leaves the inbox, and nothing that is kept there already is
        lost. A file that is gone or written again is no error.
        """


@dataclass(frozen=True, slots=True)
class UploadAddress:
    """Where one new file of the inbox may be written, and how.

    Attributes:
        url: To be used with PUT; whoever has it may write.
        headers: What the request must have.
        expires: Until when it is good, UTC.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str]
    expires: datetime


class UploadAddresses(Protocol):
    """Addresses at which clients write to the inbox themselves."""

    async def issue(self, name: str, lifetime: timedelta) -> UploadAddress:
        """Give the address of a file that does not exist yet; it allows nothing but to make it."""


# --- index --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Partition:
    """A tenant's part of the archive; `key` is the index's own number."""

    key: int
    name: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """What an updated instance begins with, in the place of the beginning of its stored file.

    Attributes:
        blob_id: Names the blobs of the head and of the metadata of the version.
        length: Bytes of the head.
        body_offset: Bytes of the stored file that the head replaces; the others follow it.
    """

    blob_id: str
    length: int
    body_offset: int

    def is_whole(self, file_length: int) -> bool:
        """Whether nothing of the stored file follows it."""
        return self.body_offset >= file_length


@dataclass(frozen=True, slots=True)
class InstanceFile:
    """What is kept of a stored file beside its bytes.

    The file never changes; what the instance is now may differ from it by a head. All positions
    are those in the stored file.

    Attributes:
        blob_id: Names its blobs; 32 hexadecimal digits, time-ordered.
        length: Bytes of the file.
        sha256: Hexadecimal digest of the file.
        pixel_data_offset: Bytes from the start of the file to the value of its pixel data.
        frames: The frame map as JSON text, "blob" when it is too big for a row and lies in a blob
            of its own, or None where frames cannot be told apart.
        head: Of the newest version, None where that is the file as it was stored.
    """

    blob_id: str
    length: int
    sha256: str
    transfer_syntax_uid: str
    pixel_data_offset: int | None = None
    frames: str | None = None
    head: Head | None = None

    @property
    def as_stored(self) -> "InstanceFile":
        """The first version, whatever has become of the instance since."""
        return self if self.head is None else replace(self, head=None)

    @property
    def metadata_id(self) -> str:
        """Names the metadata blob of the version."""
        return self.blob_id if self.head is None else self.head.blob_id

    @property
    def version_length(self) -> int:
        """Bytes of the version as a file."""
        if self.head is None:
            return self.length
        return self.head.length + self.length - self.head.body_offset


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance whose blobs are written, ready for the index.

    `attributes` holds, per level, those of its attributes that a search returns or matches
    (shared.dicom.searchable.INDEXED); `tag_values` what it has of the extended query tags.
    """

    path: ResourcePath
    file: InstanceFile
    attributes: Mapping[Level, Document]
    tag_values: TagValues = _NO_TAG_VALUES


@dataclass(frozen=True, slots=True)
class Committed:
    """The instance is in the index.

    Attributes:
        watermark: The number of the change that put it there; 0 when, by the time that was known,
            another change had already replaced or deleted it.
        replaced_blob_id: Blob of the instance that was there before.
    """

    watermark: int
    replaced_blob_id: str | None = None


@dataclass(frozen=True, slots=True)
class AlreadyStored:
    """Another blob already holds this instance."""

    blob_id: str
    sha256: str


type CommitOutcome = Committed | AlreadyStored


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance of the index."""

    path: ResourcePath
    watermark: int
    file: InstanceFile


@dataclass(frozen=True, slots=True)
class SeriesState:
    """A series as its documents see it.

    Attributes:
        key: The index's own number of the series, never used again.
        revision: Number of the newest change in the series.
        instance_count: How many instances it has now.
        changed_at: When it last changed, UTC.
        document_revision: Revision of the newest series document, None when there is none.
        document_count: How many instances that document holds.
    """

    path: ResourcePath
    key: int
    revision: int
    instance_count: int
    changed_at: datetime
    document_revision: int | None
    document_count: int


@dataclass(frozen=True, slots=True)
class Version:
    """What an ETag is made of: newest change and number of instances below a resource."""

    revision: int
    instance_count: int


@dataclass(frozen=True, slots=True)
class DeletedBlobs:
    """Names of blobs that wait for their removal, with the row's own number."""

    key: int
    names: tuple[str, ...]


class ChangeAction(Enum):
    """What a change did to an instance."""

    CREATE = "Create"
    DELETE = "Delete"
    UPDATE = "Update"


class InstanceState(Enum):
    """What has become of the instance since a change."""

    CURRENT = "Current"
    REPLACED = "Replaced"
    DELETED = "Deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the change feed.

    Attributes:
        sequence: From 1, without gaps.
        timestamp: UTC; never less than that of an entry before.
        blob_id: Names the metadata of the instance as it is now, None where it is deleted.
    """

    sequence: int
    timestamp: datetime
    action: ChangeAction
    state: InstanceState
    partition_name: str
    path: ResourcePath
    blob_id: str | None


@dataclass(frozen=True, slots=True)
class Match:
    """One result of a search.

    Attributes:
        attributes: Everything the rows of the result's level and of the levels above keep, merged.
        computed: The computed attributes of the result's level and of the levels above
            (shared.dicom.searchable.COMPUTED), without those that depend on the request.
        newest_blob_id: Names the metadata of the newest instance below the result, for what rows
            do not keep.
        transfer_syntax_uid: In which the result is stored, if it is an instance.
        has_pixels: Whether it is an instance with pixel data.
    """

    path: ResourcePath
    attributes: Document
    computed: Document
    newest_blob_id: str
    transfer_syntax_uid: str | None = None
    has_pixels: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """A page of results.

    Attributes:
        results: The first results of the page, all of them unless it is a large one.
        remaining: How many come after the page, None when they were not counted.
        keys: The index's own keys of the other results of the page, to be read as they are needed.
    """

    results: Sequence[Match]
    remaining: int | None = None
    keys: Sequence[int] = ()


class Index(Protocol):
    """The truth about what is stored: what it does not name does not exist."""

    # Partitions

    async def find_partition(self, name: str) -> Partition | None:
        """Find a partition by its name."""

    async def create_partition(self, name: str) -> Partition:
        """Find a partition, or make it; concurrent calls give the same one."""

    async def list_partitions(self) -> Sequence[Partition]:
        """All partitions, oldest first."""

    # Instances

    async def commit(
        self,
        partition: Partition,
        instances: Sequence[NewInstance],
        *,
        replaced_until: datetime | None = None,
    ) -> Sequence[CommitOutcome]:
        """Add instances with their change rows in one transaction; outcomes in the order given.

        An instance that exists stays as it is; one that an earlier commit of the same `blob_id`
        added counts as committed. With `replaced_until`, one that exists is replaced unless its
        file is the very same, and its blobs wait until then (UTC) for their removal. Study and
        series attributes follow the newest instance; an empty value never replaces one.

        Raises:
            TagSetChangedError: Nothing is added: there is another set of extended query tags than
                the one whose values the instances have.
        """

    def instances(
        self, partition: Partition, path: ResourcePath, after: int = 0
    ) -> AsyncIterator[StoredInstance]:
        """The instances at or below a path with a watermark above `after`, by it, in pages."""

    async def find_instance(
        self, partition: Partition, path: ResourcePath
    ) -> StoredInstance | None:
        """Find one instance by its full path."""

    async def version(self, partition: Partition, path: ResourcePath) -> Version | None:
        """The newest change at or below a path, None when nothing is there."""

    async def series(self, partition: Partition, path: ResourcePath) -> Sequence[SeriesState]:
        """The series at or below a study or series path."""

    async def series_members(self, series: SeriesState, after: int) -> Sequence[StoredInstance]:
        """The instances of a series whose watermark is above `after`, by watermark."""

    async def series_member_uids(self, series: SeriesState, up_to: int) -> Sequence[Uid]:
        """The SOP Instance UIDs of a series whose watermark is at most `up_to`."""

    async def record_series_document(
        self, series: SeriesState, revision: int, count: int, superseded_until: datetime
    ) -> bool:
        """Make the document of `revision` the newest; an older one waits for its removal.

        False when a newer document is recorded already, or the series is gone.
        """

    async def delete(
        self,
        partition: Partition,
        path: ResourcePath,
        blobs_until: datetime,
        *,
        noted: Collection[str] | None = None,
    ) -> Sequence[StoredInstance]:
        """Remove everything at or below a path with its change rows, and give what was removed.

        The study and series attributes become those of the instances that remain; the blobs wait
        until `blobs_until` (UTC) for their removal.

        Raises:
            ConflictError: Nothing is removed: `noted` does not name the blobs of all instances.
        """

    async def has_deletion(self, partition: Partition, path: ResourcePath) -> bool:
        """Whether an instance at or below a path has ever been deleted."""

    # Search

    async def search(self, partition: Partition, query: SearchQuery) -> Matches:
        """The results of a query, newest first.

        Raises:
            StoreUnavailableError: Also when it would take too long.
        """

    async def matches(self, level: Level, keys: Sequence[int]) -> Sequence[Match]:
        """The results of keys that a search gave, without those that are gone since."""

    # Change feed

    async def number_changes(self) -> int:
        """Give committed changes their sequence and timestamp, and tell how many got one."""

    async def changes(self, after: int, limit: int) -> Sequence[Change]:
        """The entries with a sequence above `after`, numbering new ones first."""

    async def changes_in_window(
        self, start: datetime, end: datetime, offset: int, limit: int
    ) -> Sequence[Change]:
        """The entries from `start` to before `end` (UTC) without the first `offset` of them.

        New ones are numbered first. A window that ended before the call is final.
        """

    async def latest_change(self) -> Change | None:
        """The entry with the highest sequence."""

    # Blobs to remove

    async def add_deleted_blobs(self, names: Sequence[str], until: datetime) -> None:
        """Let blobs wait for their removal."""

    async def due_blobs(self, now: datetime, limit: int) -> Sequence[DeletedBlobs]:
        """Blobs whose time has come, oldest first; from now on nothing brings them back."""

    async def waiting_blobs(self) -> int:
        """How many rows wait, whether their time has come or not."""

    async def forget_blobs(self, keys: Sequence[int]) -> None:
        """Drop rows whose blobs are removed."""

    async def known_blob_ids(self, blob_ids: Sequence[str]) -> frozenset[str]:
        """Those that an instance or its head names, or that wait for their removal."""

    # Life

    async def check(self) -> None:
        """Touch the index, to see that it answers."""

    async def close(self) -> None:
        """Let go of connections and threads."""


@dataclass(frozen=True, slots=True)
class SeriesRevisions:
    """The newest change of a series, and its newest document, None when there is none."""

    revision: int
    document_revision: int | None


class SeriesTable(Protocol):
    """The series by the index's own numbers of them."""

    async def revisions(self, keys: Collection[int]) -> Mapping[int, SeriesRevisions]:
        """How far series are, of those that are there."""


# --- what is gone -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeletedInstance:
    """An instance that was deleted, and whose blobs wait for their removal.

    Attributes:
        blob_id: Names its blobs.
        metadata_id: Names the metadata blob of its newest version.
        is_stored: Whether another instance of the same UIDs is there now.
    """

    path: ResourcePath
    blob_id: str
    metadata_id: str
    is_stored: bool


class BlobUse(Enum):
    """Why the blobs of an instance are there."""

    STORED = "stored"
    WAITING = "waiting"


class Deletions(Protocol):
    """What has been deleted and can be brought back."""

    async def of_study(self, partition: Partition, study: Uid) -> Sequence[DeletedInstance]:
        """What of a study can be brought back: of each instance what was deleted last.

        They are in the order of their deletion, which within one is that of their storing.
        """

    async def restore(
        self, partition: Partition, instances: Sequence[NewInstance]
    ) -> Collection[str]:
        """Put deleted instances of one study back with change rows, in one transaction.

        Nothing is put back unless all can be; given are the blob ids of those that cannot: others
        of the same UIDs are there, or their blobs wait no more. One that is back already is fine.

        Raises:
            TagSetChangedError: As with Index.commit.
        """

    async def replaced_by(
        self, partition: Partition, instances: Sequence[NewInstance]
    ) -> Sequence[str]:
        """The blob ids of the instances whose place others would take, if they were there now."""

    async def uses(self, blob_ids: Collection[str]) -> Mapping[str, BlobUse]:
        """Why the blobs of instances are there, of those whose blobs are."""


# --- long-running operations --------------------------------------------------------------------


class OperationType(Enum):
    """What a long-running operation does."""

    REINDEX = "reindex"
    UPDATE = "update"
    EXPORT = "export"

    @property
    def workflow(self) -> str:
        """Name of the orchestrator that does it."""
        return f"{self.value}_workflow"


class OperationStatus(Enum):
    """How far a long-running operation is."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (OperationStatus.NOT_STARTED, OperationStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A long-running operation.

    Attributes:
        id: 32 hexadecimal digits; also the id of its orchestration.
        created: When it was asked for, UTC.
        last_updated: When its status, progress or results last changed, UTC.
        percent_complete: 0 to 100, None where that cannot be told.
        input: What was asked for, as JSON; never a secret.
        results: What it has done so far or in the end, as JSON.
    """

    id: str
    type: OperationType
    status: OperationStatus
    created: datetime
    last_updated: datetime
    percent_complete: int | None
    input: Mapping[str, Any]
    results: Mapping[str, Any] | None


class OperationTable(Protocol):
    """The long-running operations, kept so that none is lost with the engine that drives it."""

    async def add(self, operation: Operation, *, alone: bool) -> Operation | None:
        """Note a new operation.

        With `alone`, only if no other one of its type is unfinished; that one is given instead.
        """

    async def find(self, operation_id: str) -> Operation | None:
        """Find an operation."""

    async def list(self, limit: int, offset: int) -> Sequence[Operation]:
        """The operations, newest first."""

    async def unfinished(self) -> Sequence[Operation]:
        """Those that are not final, oldest first."""

    async def update(
        self,
        operation_id: str,
        now: datetime,
        *,
        status: OperationStatus,
        percent_complete: int | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> bool:
        """Change an operation that is not final; False, and nothing, if it is final or unknown.

        What is None stays as it was.
        """

    async def final(self, before: datetime, limit: int) -> Sequence[str]:
        """The ids of final ones that last changed before a moment."""

    async def remove(self, operation_id: str) -> None:
        """Forget an operation; one that is not there is no error."""


class OrchestrationState(Enum):
    """What an engine knows of an orchestration."""

    UNKNOWN = "unknown"
    UNFINISHED = "unfinished"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"


class Orchestrations(Protocol):
    """The engine that drives long-running operations, one orchestration each."""

    async def start(self, operation: Operation) -> None:
        """Start the orchestration of an operation; one that is known already goes on."""

    async def state(self, operation_id: str) -> OrchestrationState:
        """What is known of an orchestration."""

    async def terminate(self, operation_id: str) -> None:
        """End an orchestration where it stands; activities under way end by themselves."""

    async def forget(self, operation_id: str) -> None:
        """Drop the history of an orchestration that has ended."""


# --- updates of studies -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpdatedInstance:
    """An instance with a new head, whose blobs are written.

    `watermark` is that of the version which the head was made from.
    """

    watermark: int
    head_id: str
    instance: NewInstance


@dataclass(frozen=True, slots=True)
class UpdateProgress:
    """How far an operation is before and after a study; `before` is empty at its beginning."""

    operation_id: str
    before: Mapping[str, Any]
    results: Mapping[str, Any]
    percent_complete: int


class UpdateOutcome(Enum):
    """What became of the commit of an updated study."""

    COMMITTED = "committed"
    OVERTAKEN = "overtaken"
    """The study is another one than the heads were made for, or they may be gone."""
    ENDED = "ended"
    """The operation has ended, or another run of it has done the study."""


class StudyUpdates(Protocol):
    """New heads for the instances of studies."""

    async def prepare(self, head_ids: Sequence[str], until: datetime) -> None:
        """Let the blobs of heads that will be written wait for their removal (UTC).

        So they are removed if no commit takes them before, whatever happens.
        """

    async def commit(
        self,
        partition: Partition,
        study_uid: Uid,
        updated: Sequence[UpdatedInstance],
        progress: UpdateProgress,
        superseded_until: datetime,
    ) -> UpdateOutcome:
        """Put heads in place and note the progress of their operation, in one transaction.

        Nothing is changed unless `updated` is the whole study as it is now. The heads that are
        superseded wait until then (UTC) for their removal; the files as stored stay.

        Raises:
            TagSetChangedError: As with Index.commit.
        """


# --- extended query tags ------------------------------------------------------------------------


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


# --- exports -------------------------------------------------------------------------------------


class ExportDestination(Protocol):
    """Where one export writes: below a folder named by the id of its operation.

    Every method raises DestinationRefusedError where the destination does not let the app write.
    """

    @property
    def errors_href(self) -> str:
        """Where the log of errors is found, for those who may read it; never a secret."""

    async def begin(self) -> None:
        """Make the log of errors, empty, which proves that the destination can be written to."""

    async def write(self, name: str, chunks: AsyncIterator[Buffer]) -> None:
        """Write a file, in the place of one of that name; it shows when it is whole."""

    async def log(self, lines: bytes) -> None:
        """Add whole lines to the log of errors."""

    async def close(self) -> None:
        """Close the connections."""


class ExportDestinations(Protocol):
    """The destinations that the settings allow."""

    def open(self, operation_id: str, place: BlobContainer | ExportFolder) -> ExportDestination:
        """Reach a destination, without touching it.

        Raises:
            InvalidRequestError: The settings do not allow it.
        """


# --- callers ------------------------------------------------------------------------------------


class Tokens(Protocol):
    """The tokens that callers prove with who they are."""

    async def principal(self, token: str) -> Principal | None:
        """Tell whose a token is; None where it does not hold, for whatever reason."""

    async def check(self) -> None:
        """See that tokens can be checked: that the keys they are signed with are known."""


# --- secrets and small state --------------------------------------------------------------------


class Secrets(Protocol):
    """Secret texts under names of letters, digits and dashes."""

    async def get(self, name: str) -> str | None:
        """Read a secret."""

    async def set(self, name: str, value: str) -> None:
        """Write a secret."""

    async def delete(self, name: str) -> None:
        """Remove a secret; one that is not there is no error."""


type StateValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class StateRow:
    """A row of a state table; `version` changes on every write."""

    key: str
    values: Mapping[str, StateValue]
    version: str


class StateTable(Protocol):
    """Small rows under (table, partition, key), written with optimistic concurrency."""

    async def get(self, table: str, partition: str, key: str) -> StateRow | None:
        """Read a row."""

    async def put(
        self,
        table: str,
        partition: str,
        key: str,
        values: Mapping[str, StateValue],
        *,
        if_version: str | None = None,
    ) -> str:
        """Write a row and give its new version.

        With `if_version`, only a row of that version is replaced; with an empty one, only a row
        that does not exist is made.

        Raises:
            ConflictError: The row is not of that version.
        """

    async def delete(self, table: str, partition: str, key: str) -> None:
        """Remove a row; one that is not there is no error."""

    def list(self, table: str, partition: str) -> AsyncIterator[StateRow]:
        """The rows of a partition, by key."""
