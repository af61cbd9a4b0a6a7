"""Partitions and instances, as the index knows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.dicom.extended_query_tag import TagValues
from shared.dicom.json_model import Document
from shared.dicom.resource import Level, ResourcePath

DEFAULT_PARTITION_NAME = "Microsoft.Default"
DEFAULT_PARTITION_KEY = 1
_NO_TAG_VALUES = TagValues()


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
    (shared.dicom.searchable.INDEXED); `tag_values` what it has of the extended query tags, and
    `tag_errors` why it cannot be indexed by some, by their keys. An error that the instance in
    whose place it comes did not have disables its tag.
    """

    path: ResourcePath
    file: InstanceFile
    attributes: Mapping[Level, Document]
    tag_values: TagValues = _NO_TAG_VALUES
    tag_errors: Mapping[int, str] = field(default_factory=dict)


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
