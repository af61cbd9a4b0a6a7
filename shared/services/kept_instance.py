"""An instance read back from its metadata blob, ready for the index."""

import zlib
from collections.abc import Buffer
from dataclasses import dataclass

from shared.dicom.extended_query_tag import TagSet
from shared.dicom.json_model import value
from shared.dicom.searchable import indexed_attributes
from shared.dicom.tag_reading import read_tags
from shared.dicom.validation import SOP_CLASS_UID
from shared.errors import InvalidUidError
from shared.ports import NewInstance
from shared.services.metadata_file import unpack

UNREADABLE = (zlib.error, ValueError, LookupError, TypeError, AttributeError, InvalidUidError)
"""What reading a damaged blob may raise."""


@dataclass(frozen=True, slots=True)
class KeptInstance:
    """What a metadata blob tells."""

    partition_name: str
    instance: NewInstance
    sop_class_uid: str


def kept_instance(content: Buffer, tag_set: TagSet) -> KeptInstance:
    """Read a metadata blob, with the values of extended query tags, and their errors.

    Raises:
        ValueError: It is damaged, as it also is with any other of UNREADABLE.
    """
    metadata = unpack(content)
    attributes = indexed_attributes(metadata.document)
    reading = read_tags(metadata.document, tag_set)
    instance = NewInstance(
        metadata.path, metadata.file, attributes, reading.values, tag_errors=reading.sentences
    )
    sop_class_uid = value(metadata.document, SOP_CLASS_UID)
    return KeptInstance(metadata.partition_name, instance, str(sop_class_uid or ""))
