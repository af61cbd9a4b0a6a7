"""The metadata blob of an instance: everything that was read from its file.

Two lines of JSON, compressed: what is kept beside the data set (so that the index can be rebuilt
from blobs alone), then the data set itself. References to bulk values are written relative to the
service root, as no host name is known when they are stored.
"""

import zlib
from collections.abc import Buffer
from dataclasses import dataclass
from typing import Any

import orjson

from shared.dicom.json_model import Document, dumps
from shared.dicom.resource import ResourcePath, parse_path
from shared.ports import Head, InstanceFile

_GZIP = 31  # window bits of zlib for the gzip format
_LEVEL = 4
_LENGTH_BYTES = 4  # at the end of a member (RFC 1952 2.3.1)

_STORED_REFERENCE = b'"BulkDataURI":"studies/'
# Inside a JSON text a quote is escaped, so this pattern is never part of a value.


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """What a metadata blob holds.

    That of an updated instance has the head of its version in `file`, and lies under the head's
    id: it is newer than that of the file as stored, and than those of older heads.

    Attributes:
        bulk: Where bulk values lie in the file: tag path -> (offset, length in bytes).
    """

    partition_name: str
    path: ResourcePath
    file: InstanceFile
    bulk: dict[str, tuple[int, int]]
    document: Document

    def pack(self) -> bytes:
        """The bytes of the blob."""
        study, series, instance = self.path.study, self.path.series, self.path.instance
        head: dict[str, Any] = {
            "partition": self.partition_name,
            "study": study,
            "series": series,
            "instance": instance,
            "blobId": self.file.blob_id,
            "length": self.file.length,
            "sha256": self.file.sha256,
            "transferSyntax": self.file.transfer_syntax_uid,
            "pixelDataOffset": self.file.pixel_data_offset,
            "frames": self.file.frames,
            "bulk": self.bulk,
        }
        if (version := self.file.head) is not None:
            head["head"] = [version.blob_id, version.length, version.body_offset]
        return compress(orjson.dumps(head) + b"\n" + dumps(self.document))


def unpack(content: Buffer) -> MetadataFile:
    """Read a metadata blob whole."""
    first, _, second = decompress(content).partition(b"\n")
    head = orjson.loads(first)
    return MetadataFile(
        partition_name=head["partition"],
        path=parse_path(head["study"], head["series"], head["instance"]),
        file=InstanceFile(
            blob_id=head["blobId"],
            length=head["length"],
            sha256=head["sha256"],
            transfer_syntax_uid=head["transferSyntax"],
            pixel_data_offset=head["pixelDataOffset"],
            frames=head["frames"],
            head=Head(*head["head"]) if "head" in head else None,
        ),
        bulk={path: (offset, length) for path, (offset, length) in head["bulk"].items()},
        document=orjson.loads(second),
    )


def bulk_of(content: Buffer) -> dict[str, tuple[int, int]]:
    """Where bulk values lie in the file, as in MetadataFile, without parsing the data set."""
    head = orjson.loads(decompress(content).partition(b"\n")[0])
    return {path: (offset, length) for path, (offset, length) in head["bulk"].items()}


def document_of(content: Buffer) -> bytes:
    """The data set of a metadata blob as JSON text, without parsing it."""
    return decompress(content).partition(b"\n")[2]


def with_base_url(document: bytes, base_url: str) -> bytes:
    """Make the references to bulk values absolute, below the service root `base_url`."""
    return document.replace(
        _STORED_REFERENCE, b'"BulkDataURI":"' + base_url.encode() + b"/studies/"
    )


def compress(content: Buffer) -> bytes:
    """One gzip member."""
    return zlib.compress(content, _LEVEL, _GZIP)


def decompress(content: Buffer) -> bytes:
    """What `compress` was given."""
    return zlib.decompress(content, _GZIP)


def unpacked_length(content: Buffer) -> int:
    """How many bytes `compress` was given, if they were less than 4 GiB."""
    return int.from_bytes(memoryview(content).cast("B")[-_LENGTH_BYTES:], "little")
