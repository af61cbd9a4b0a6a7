"""Reading with pydicom the files that the scan gives up on.

Big endian, deflated, without preamble or file meta information, elements out of order, VRs that
are not as declared: pydicom's tolerance decides what they say.

Standard: PS3.10 7.1, PS3.5 Annex A (2025b).
"""

import logging
import os
import zlib
from dataclasses import dataclass
from io import BytesIO
from struct import Struct
from typing import BinaryIO, cast

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset

from shared.dicom.dictionary import EXTENDED_OFFSET_TABLES, PIXEL_DATA, UNDEFINED
from shared.dicom.file_meta import MAX_META_LENGTH, FileMetaScan
from shared.dicom.frames import (
    END_OF_IMAGE_WINDOW,
    Fragments,
    FramePositions,
    encapsulated_frames,
    native_frames,
    number_of_frames,
)
from shared.dicom.header import (
    Header,
    Limits,
    NeedsPydicom,
    PixelDataElement,
    values_within,
)
from shared.dicom.preamble import PreambleKind
from shared.dicom.pydicom_reading import PYDICOM_ERRORS, PydicomReading, stored
from shared.dicom.quiet import quiet
from shared.dicom.transfer_syntax import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntax,
)
from shared.dicom.value_representation import Document
from shared.errors import InvalidInstanceError

# It logs values, which may tell who the patient is.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

_ITEM = Struct("<II")
_ITEM_TAG, _SEQUENCE_END_TAG = 0xE000FFFE, 0xE0DDFFFE
_CHUNK = 1 << 20
_SOP_INSTANCE_UID = "00080018"
_READS_PER_ELEMENT = 8
_UNSUSPICIOUS_LENGTH = 1 << 20
_NOT_DICOM = "This is not a DICOM file."


class _BoundedFile:
    """A file for pydicom, which holds what it reads: so much and no more."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        # A value up to this bound is read before anyone can say that it is bulk.
        self._bytes_left = 4 * limits.max_held_length
        self._reads_left = _READS_PER_ELEMENT * limits.max_elements
        self.seek = file.seek
        self.tell = file.tell

    def read(self, length: int = -1) -> bytes:
        """Read as a file does, but never to its end: only a data set to be inflated is read so."""
        self._reads_left -= 1
        if length < 0 or self._reads_left < 0:
            raise InvalidInstanceError("The data set is too large to be read in this encoding.")
        content = self._file.read(length)
        self._bytes_left -= len(content)
        if self._bytes_left < 0:
            raise InvalidInstanceError("The data set is too large to be read in this encoding.")
        return content


def read_with_pydicom(file: BinaryIO, limits: Limits | None = None) -> Header:
    """Read the header of a file, from its start.

    Raises:
        InvalidInstanceError: This is no DICOM, or it breaks a bound.
    """
    limits = limits or Limits()
    file.seek(0)
    meta = _file_meta(file.read(MAX_META_LENGTH + 1))
    try:
        with quiet():
            return _read(file, meta, limits)
    except PYDICOM_ERRORS as error:
        raise InvalidInstanceError(_NOT_DICOM) from error


def _file_meta(start: bytes) -> FileMetaScan | None:
    meta = FileMetaScan(start)
    try:
        return None if meta.run() else meta
    except NeedsPydicom:
        return None


def _read(file: BinaryIO, meta: FileMetaScan | None, limits: Limits) -> Header:
    uid = meta.transfer_syntax().uid if meta else ""
    source, shift = file, 0
    dataset: Dataset
    if meta and transfer_syntax(uid).is_deflated:
        file.seek(meta.position)
        source, shift = BytesIO(_inflate(file, limits)), meta.position
        dataset = read_dataset(
            cast("BinaryIO", _BoundedFile(source, limits)),
            is_implicit_VR=False,
            is_little_endian=True,
            defer_size=limits.max_held_length,
        )
    else:
        file.seek(0)
        bounded = _BoundedFile(file, limits)
        dataset = dcmread(bounded, force=True, defer_size=limits.max_held_length)
        uid = uid or _guessed_syntax(dataset)
    reading = PydicomReading(limits)
    document = reading.read(dataset, base=shift)
    if not document or (meta is None and _SOP_INSTANCE_UID not in document):
        raise InvalidInstanceError(_NOT_DICOM)
    pixels = _pixel_data(dataset, document, shift)
    source_length = source.seek(0, os.SEEK_END) + shift
    known = (pixels.length or 0) if pixels else 0
    missing = max(0, pixels.offset + known - source_length) if pixels else 0
    present = tuple(values_within(reading.bulk_values, source_length))
    return Header(
        transfer_syntax_uid=uid,
        preamble=meta.preamble if meta else PreambleKind.ABSENT,
        media_storage_sop_class_uid=meta.sop_class_uid if meta else None,
        media_storage_sop_instance_uid=meta.sop_instance_uid if meta else None,
        document=document,
        pixel_data=pixels,
        bulk_values=present,
        frames=_frames(_Pixels(source, shift, uid, missing, limits), dataset, document, pixels)
        if pixels
        else None,
        character_sets=reading.character_sets,
        null_padded=tuple(reading.null_padded),
        is_truncated=reading.is_cut_off or present != tuple(reading.bulk_values),
        is_inflated=source is not file,
    )


def _inflate(file: BinaryIO, limits: Limits) -> bytes:
    """Inflate the data set, as far as its size and ratio are believable."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    parts, length, read = [], 0, 0
    while not inflater.eof:
        deflated = inflater.unconsumed_tail or file.read(_CHUNK)
        if not deflated:
            raise InvalidInstanceError("The deflated data set ends too early.")
        try:
            parts.append(inflater.decompress(deflated, _CHUNK))
        except zlib.error as error:
            raise InvalidInstanceError("The data set is not deflated as declared.") from error
        length += len(parts[-1])
        read += len(deflated) - len(inflater.unconsumed_tail)
        is_bomb = length > max(_UNSUSPICIOUS_LENGTH, read * limits.max_inflation_ratio)
        if is_bomb or length > limits.max_inflated_length:
            raise InvalidInstanceError("The deflated data set inflates to more than is believable.")
    return b"".join(parts)


def _guessed_syntax(dataset: Dataset) -> str:
    """What pydicom took a data set for that does not say."""
    is_implicit, is_little_endian = dataset.original_encoding
    if is_implicit:
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_LITTLE_ENDIAN if is_little_endian else EXPLICIT_VR_BIG_ENDIAN


def _pixel_data(dataset: Dataset, document: Document, shift: int) -> PixelDataElement | None:
    for key, keyword in PIXEL_DATA.items():
        item = stored(dataset, int(key, 16)) if key in document else None
        if isinstance(item, RawDataElement):
            length = None if item.length == UNDEFINED else item.length
            offset = item.value_tell + shift
            return PixelDataElement(keyword, document[key]["vr"], offset, length)
    return None


@dataclass(frozen=True, slots=True)
class _Pixels:
    """The file that pixel data is in; positions in it are `shift` less than those we give."""

    file: BinaryIO
    shift: int
    transfer_syntax_uid: str
    missing: int
    limits: Limits


def _frames(
    source: _Pixels, dataset: Dataset, document: Document, pixels: PixelDataElement
) -> FramePositions | None:
    if pixels.length is not None:
        length = pixels.length - source.missing
        return native_frames(document, pixels.keyword, pixels.offset, length)
    fragments = _fragments(source, pixels.offset)
    if fragments is None:
        return None
    tables = [stored(dataset, int(key, 16)) for key in EXTENDED_OFFSET_TABLES if key in document]
    values = [table.value for table in tables if isinstance(table, RawDataElement) and table.value]
    return encapsulated_frames(
        fragments,
        number_of_frames(document),
        is_video=transfer_syntax(source.transfer_syntax_uid).is_video,
        extended=(values[0], values[1]) if len(values) == len(EXTENDED_OFFSET_TABLES) else None,
    )


def _fragments(source: _Pixels, offset: int) -> Fragments | None:
    """Gather the items of an encapsulated value; None when it is not made of items."""
    fragments, limits = Fragments(), source.limits
    at = offset - source.shift
    while True:
        source.file.seek(at)
        item = source.file.read(_ITEM.size)
        tag, length = _ITEM.unpack(item) if len(item) == _ITEM.size else (0, 0)
        if tag == _SEQUENCE_END_TAG:
            return fragments
        if (
            tag != _ITEM_TAG
            or length == UNDEFINED
            or len(fragments.lengths) >= limits.max_fragments
        ):
            return None
        at += _ITEM.size + length
        if fragments.basic_offsets is None:
            fragments.basic_offsets = source.file.read(min(length, limits.max_held_length))
            continue
        window = min(length, END_OF_IMAGE_WINDOW)
        source.file.seek(at - window)
        fragments.add(at - length + source.shift, length, source.file.read(window))
