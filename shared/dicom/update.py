"""Attributes of stored instances changed: in their files, and in the documents of their metadata.

What is replaced is noted in the Original Attributes Sequence. Everything else of a data set stays
as it is, byte for byte, unless a new value is one that its character set cannot hold: then all its
text becomes UTF-8.

Standard: PS3.3 C.12.1.1.9 (Original Attributes Sequence), PS3.5 6.1.2 and 7.1, PS3.10 7.1 (2025b).
"""

import zlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from shared.dicom.charset import DEFAULT_ENCODINGS, Encodings, decode, encode, encodings_of
from shared.dicom.composition import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from shared.dicom.data_set_encoding import DECLARED_VRS, UTF_8, text_of
from shared.dicom.dictionary import PIXEL_DATA, SPECIFIC_CHARACTER_SET, vr_of
from shared.dicom.json_model import Document, dumps
from shared.dicom.preamble import PREAMBLE_LENGTH, PreambleKind, kind_of_preamble
from shared.dicom.pydicom_reading import PYDICOM_ERRORS, character_sets, stored
from shared.dicom.quiet import quiet
from shared.dicom.stored_data_set import read_data_set
from shared.dicom.transfer_syntax import transfer_syntax
from shared.dicom.verbatim import ByteOrder, data_set_bytes
from shared.errors import NotAcceptableError

_ORIGINAL_ATTRIBUTES = "04000561"
_MODIFIED_ATTRIBUTES = "04000550"
_CHARACTER_SET_TAG = Tag(int(SPECIFIC_CHARACTER_SET, 16))
_OWN_PREAMBLES = (PreambleKind.EMPTY, PreambleKind.OTHER)
_FIRST_GROUP = 0x0008


class NeedsWholeFileError(Exception):
    """What follows the header depends on what changes in it."""


@dataclass(frozen=True, slots=True)
class Update:
    """New values of top-level attributes of text, and the moment of the change, UTC."""

    changes: Document
    moment: datetime


@dataclass(frozen=True, slots=True)
class UpdatedFile:
    """A header, or a whole file, with new values.

    `is_utf_8` tells that the character set had to be changed for them.
    """

    content: bytes
    is_utf_8: bool


def update_file(content: bytes, syntax_uid: str, update: Update, document: Document) -> UpdatedFile:
    """Give a file, or the header of one up to pixel data, its new values.

    `content` is inflated if its data set was deflated; what is given back is deflated then.
    `document` is that of the file: what it has and the header lacks lies behind.

    Raises:
        NeedsWholeFileError: A header alone cannot be updated.
        NotAcceptableError: pydicom cannot read the file or not write it anew, or among its data set
            are elements of commands or of the file meta information.
    """
    dataset = read_data_set(content, syntax_uid, up_to_pixels=False)
    try:
        with quiet():
            return _updated(dataset, update, document)
    except PYDICOM_ERRORS as error:
        raise NotAcceptableError("The data set of the instance cannot be written anew.") from error


def _updated(dataset: Dataset, update: Update, document: Document) -> UpdatedFile:
    _demand_order(dataset)
    behind = {key: held for key, held in document.items() if Tag(int(key, 16)) not in dataset}
    if behind.keys() & {*update.changes, _ORIGINAL_ATTRIBUTES}:
        raise NeedsWholeFileError
    is_declared = _CHARACTER_SET_TAG in dataset
    declared = character_sets(dataset) if is_declared else ()
    encodings = encodings_of(declared)
    values = {key: _encoded(update.changes, key, encodings) for key in update.changes}
    replaced = [stored(dataset, tag) for tag in map(_tag, values) if tag in dataset]
    is_utf_8 = None in values.values()
    if is_utf_8:
        texts = {key: held for key, held in behind.items() if key not in PIXEL_DATA}
        if not dumps(texts).isascii():
            raise NeedsWholeFileError
        replaced.append(_raw(dataset, SPECIFIC_CHARACTER_SET, "CS", "\\".join(declared).encode()))
        _to_utf_8(dataset, encodings)
        _put(dataset, SPECIFIC_CHARACTER_SET, "CS", UTF_8["Value"][0].encode())
    for key, value in values.items():
        element = update.changes[key]
        content = _text(update.changes, key).encode() if is_utf_8 or value is None else value
        _put(dataset, key, element["vr"], content)
    _note(dataset, replaced, update.moment)
    return UpdatedFile(_file(dataset), is_utf_8)


def _demand_order(dataset: Dataset) -> None:
    """See that no element would be moved to the front, where readers look for what is no data set.

    Raises:
        NotAcceptableError: One of groups that come before those of data sets is not there already.
    """
    tags = [tag for tag in dataset.keys() if tag.element]  # noqa: SIM118 - in the order of the file
    early = sorted(tag for tag in tags if tag.group < _FIRST_GROUP)
    if tags[: len(early)] != early:
        raise NotAcceptableError(
            "The instance has elements among its data set that belong to none."
        )


def _tag(key: str) -> BaseTag:
    return Tag(int(key, 16))


def _text(changes: Document, key: str) -> str:
    element = changes[key]
    return text_of(element["vr"], element.get("Value", ()))


def _encoded(changes: Document, key: str, encodings: Encodings) -> bytes | None:
    text = _text(changes, key)
    return encode(text, encodings if changes[key]["vr"] in DECLARED_VRS else DEFAULT_ENCODINGS)


def _put(dataset: Dataset, key: str, vr: str, content: bytes) -> None:
    dataset[_tag(key)] = _raw(dataset, key, vr, content)


def _raw(dataset: Dataset, key: str, vr: str, content: bytes) -> RawDataElement:
    is_implicit, is_little_endian = dataset.original_encoding
    padded = content + b" " * (len(content) % 2)
    written_vr = None if is_implicit else vr
    return RawDataElement(
        _tag(key), written_vr, len(padded), padded, 0, bool(is_implicit), bool(is_little_endian)
    )


def _to_utf_8(dataset: Dataset, encodings: Encodings) -> None:
    """Transcode all text that is in the character set of the data set, and not in one of an item's.

    Numbers and bytes are not touched, whatever they are.
    """
    for tag in list(dataset.keys()):
        item = stored(dataset, tag)
        vr = item.VR
        if isinstance(item, RawDataElement):
            vr = vr_of(tag, item.VR, item.length)
            if vr in DECLARED_VRS and item.value:
                text = decode(item.value, encodings).encode()
                padded = text + b" " * (len(text) % 2)
                dataset[tag] = item._replace(value=padded, length=len(padded))
        if vr == "SQ":
            items = dataset[tag].value
            for inner in items if isinstance(items, Sequence) else ():
                if _CHARACTER_SET_TAG not in inner:
                    _to_utf_8(inner, encodings)


def _note(dataset: Dataset, replaced: list[DataElement | RawDataElement], moment: datetime) -> None:
    modified = Dataset()
    for element in replaced:
        modified[element.tag] = element
    note = Dataset()
    note.add_new(_tag(_MODIFIED_ATTRIBUTES), "SQ", [modified])
    for key, told in _circumstances(moment).items():
        note.add_new(_tag(key), told["vr"], told.get("Value", [""])[0])
    tag = _tag(_ORIGINAL_ATTRIBUTES)
    if tag not in dataset:
        dataset.add_new(tag, "SQ", [note])
        return
    notes = dataset[tag].value
    if not isinstance(notes, Sequence):
        raise NotAcceptableError("The Original Attributes Sequence of the instance is none.")
    notes.append(note)


def _circumstances(moment: datetime) -> Document:
    """When, by whom and why attributes are changed."""
    return {
        "04000562": {"vr": "DT", "Value": [moment.strftime("%Y%m%d%H%M%S.%f+0000")]},
        "04000563": {"vr": "LO", "Value": [IMPLEMENTATION_VERSION_NAME]},
        "04000564": {"vr": "LO"},
        "04000565": {"vr": "CS", "Value": ["CORRECT"]},
    }


def _file(dataset: Dataset) -> bytes:
    is_implicit, is_little_endian = dataset.original_encoding
    content = data_set_bytes(
        dataset,
        ByteOrder(is_implicit=bool(is_implicit), is_little_endian=bool(is_little_endian)),
    )
    if transfer_syntax(str(dataset.file_meta.TransferSyntaxUID)).is_deflated:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = deflater.compress(content) + deflater.flush()
        content += bytes(len(content) % 2)
    return _beginning(dataset) + content


def _beginning(dataset: Dataset) -> bytes:
    """The preamble, prefix and file meta information.

    A preamble that makes the file another one, too, tells positions that have changed.
    """
    preamble = getattr(dataset, "preamble", None) or bytes(PREAMBLE_LENGTH)
    if kind_of_preamble(preamble) not in _OWN_PREAMBLES:
        preamble = bytes(PREAMBLE_LENGTH)
    meta: FileMetaDataset = deepcopy(dataset.file_meta)
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.FileMetaInformationGroupLength = 0
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = DicomBytesIO()
    buffer.write(preamble + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=False)
    return buffer.getvalue()


def update_document(
    document: Document, update: Update, *, is_utf_8: bool
) -> tuple[Document, Mapping[str, str]]:
    """The document of an instance with new values.

    Also where values that are given by reference have gone: their old paths and new ones.
    """
    old = {key: document[key] for key in update.changes if key in document}
    notes = list(document.get(_ORIGINAL_ATTRIBUTES, {}).get("Value", ()))
    place = f"{_ORIGINAL_ATTRIBUTES}/{len(notes) + 1}/{_MODIFIED_ATTRIBUTES}/1/"
    moved = {key: place + key for key, element in old.items() if "BulkDataURI" in element}
    for key, path in moved.items():
        address = old[key]["BulkDataURI"].removesuffix(key) + path
        old[key] = {**old[key], "BulkDataURI": address}
    changes = dict(update.changes)
    if is_utf_8:
        changes[SPECIFIC_CHARACTER_SET] = old[SPECIFIC_CHARACTER_SET] = UTF_8
    modified = {"vr": "SQ", "Value": [dict(sorted(old.items()))]}
    notes.append({_MODIFIED_ATTRIBUTES: modified, **_circumstances(update.moment)})
    changes[_ORIGINAL_ATTRIBUTES] = {"vr": "SQ", "Value": notes}
    return dict(sorted({**document, **changes}.items())), moved
