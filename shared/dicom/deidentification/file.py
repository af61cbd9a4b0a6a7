"""De-identification of Part 10 files, whose pixel data are copied and never held.

All else of one file is in memory at a time, while it is dealt with, and in temporary files then.

Standard: PS3.10 7.1, PS3.5 7.1 and A.4 (2025b).
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from struct import Struct
from tempfile import TemporaryFile
from typing import IO, BinaryIO, cast

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID

from shared.dicom.composition import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from shared.dicom.deflated import Inflater, data_set_offset
from shared.dicom.deidentification.burned_in import may_name_somebody
from shared.dicom.deidentification.deidentifier import Deidentifier
from shared.dicom.dictionary import PIXEL_DATA, UNDEFINED
from shared.dicom.file_meta import MAX_META_LENGTH
from shared.dicom.preamble import PREAMBLE_LENGTH
from shared.dicom.pydicom_reading import PYDICOM_ERRORS
from shared.dicom.quiet import quiet
from shared.dicom.resource import ResourcePath, parse_path
from shared.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from shared.dicom.value_representation import LONG_VRS
from shared.errors import InvalidInstanceError

_MAX_HELD_BYTES = 256 << 20
_MAX_INFLATED_BYTES = 1 << 32
_CHUNK_BYTES = 1 << 20
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_PIXEL_TAGS = frozenset(int(tag, 16) for tag in PIXEL_DATA)


class BurnedInAnnotationError(InvalidInstanceError):
    """Somebody may be named in the pixels."""


@dataclass(frozen=True, slots=True)
class DeidentifiedFile:
    """A file that is another one from its start to its pixel data.

    Attributes:
        path: What it is called now.
        content: What it is cut from, to be closed: the file that was given, or an inflated copy.
        header: Where all that comes before the pixel data lies in it, offset and length in bytes.
        pixels: Where the pixel data element lies in it, likewise.
    """

    path: ResourcePath
    content: IO[bytes]
    header: tuple[int, int]
    pixels: tuple[int, int]


def deidentify_file(
    file: IO[bytes], syntax_uid: str, deidentifier: Deidentifier, *, keeps_burned_in: bool
) -> DeidentifiedFile:
    """De-identify a file of a transfer syntax; a deflated one becomes Explicit VR Little Endian.

    What lies behind the pixel data is left out: padding and signatures. The file that is given is
    made longer.

    Raises:
        BurnedInAnnotationError: Somebody may be named in the pixels.
        InvalidInstanceError: It cannot be read or written so that all of it is judged.
        OSError: There is no room for what is inflated or written.
    """
    with ExitStack() as closing:
        content, is_inflated = file, transfer_syntax(syntax_uid).is_deflated
        if is_inflated:
            content = closing.enter_context(_inflated(file))
            syntax_uid = EXPLICIT_VR_LITTLE_ENDIAN
        # One file at a time, also while it is written: so much memory there is.
        with quiet():
            with _refusing():
                dataset = _read_data_set(content) if is_inflated else _read_file(content)
                pixels = _pixels(content, dataset.original_encoding)
                if not keeps_burned_in and may_name_somebody(dataset):
                    raise BurnedInAnnotationError("The pixels may name somebody.")
                deidentifier.deidentify(dataset)
                path, header = _path(dataset), _encoded(dataset, syntax_uid)
            start = content.seek(0, os.SEEK_END)
            content.write(header.getbuffer())
            length = content.tell() - start
        closing.pop_all()  # It goes with whoever holds it.
        return DeidentifiedFile(path, content, (start, length), pixels)


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell of what cannot be read or written as of an instance that is no good."""
    try:
        yield
    except InvalidInstanceError:
        raise
    except PYDICOM_ERRORS as error:
        raise InvalidInstanceError("The instance cannot be de-identified.") from error


def _path(dataset: Dataset) -> ResourcePath:
    return parse_path(
        str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)
    )


class _Bounded:
    """A file for pydicom, which holds what it reads: so much and no more."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = _MAX_HELD_BYTES
        self.seek = file.seek
        self.tell = file.tell

    def read(self, length: int = -1) -> bytes:
        """Read as a file does."""
        content = self._file.read(min(length, self._left) if length >= 0 else self._left)
        self._left -= len(content)
        if self._left <= 0:
            raise InvalidInstanceError("The instance is too large to be de-identified.")
        return content


def _inflated(file: IO[bytes]) -> IO[bytes]:
    """A file that is only the data set."""
    file.seek(0)
    file.seek(data_set_offset(file.read(MAX_META_LENGTH + 1)))
    inflater = Inflater()
    with ExitStack() as closing:
        inflated: IO[bytes] = closing.enter_context(TemporaryFile())
        while chunk := file.read(_CHUNK_BYTES):
            for piece in inflater.pieces(chunk):
                inflated.write(piece)
                if inflated.tell() > _MAX_INFLATED_BYTES:
                    raise InvalidInstanceError("The instance is too large to be de-identified.")
        inflated.flush()
        closing.pop_all()  # It goes with whoever holds it.
    return inflated


def _read_file(file: IO[bytes]) -> Dataset:
    file.seek(0)
    dataset: Dataset = dcmread(_Bounded(file), force=True, stop_before_pixels=True)
    return dataset


def _read_data_set(file: IO[bytes]) -> Dataset:
    file.seek(0)
    dataset: Dataset = read_dataset(
        cast("BinaryIO", _Bounded(file)),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag in _PIXEL_TAGS,
    )
    dataset.set_original_encoding(False, True)  # noqa: FBT003 - implicit, little endian
    return dataset


def _pixels(file: IO[bytes], encoding: tuple[bool | None, bool | None]) -> tuple[int, int]:
    """Where the pixel data element lies, before which the reading has stopped."""
    is_implicit, order = encoding[0], "<" if encoding[1] else ">"
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(start)
    header = file.read(12)
    if len(header) < 8:  # noqa: PLR2004 - nothing follows
        return start, 0
    group, element = Struct(order + "HH").unpack_from(header)
    if (group << 16 | element) not in _PIXEL_TAGS:
        return start, 0
    is_long = not is_implicit and header[4:6].decode("latin-1") in LONG_VRS
    at = 8 if is_long or not is_implicit else 4
    if not is_implicit and not is_long:
        (length,) = Struct(order + "H").unpack_from(header, 6)
        return start, min(8 + length, end - start)
    (length,) = Struct(order + "I").unpack_from(header, at)
    if length != UNDEFINED:
        return start, min(at + 4 + length, end - start)
    return start, _fragments_end(file, start + at + 4, end, order) - start


def _fragments_end(file: IO[bytes], at: int, end: int, order: str) -> int:
    """Where a sequence of fragments ends; in a file that is cut short, at its end."""
    item = Struct(order + "HHI")
    while at + item.size <= end:
        file.seek(at)
        group, element, length = item.unpack(file.read(item.size))
        at += item.size
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise InvalidInstanceError("The fragments of the pixel data cannot be told apart.")
        at += length
    return end


def _encoded(dataset: Dataset, syntax_uid: str) -> BytesIO:
    """Preamble and file meta information, nothing of which is what it was, and the data set."""
    encoded = BytesIO()
    encoded.write(bytes(PREAMBLE_LENGTH) + b"DICM")
    buffer = DicomIO(encoded)
    write_file_meta_info(buffer, _meta(dataset, syntax_uid), enforce_standard=True)
    buffer.is_implicit_VR, buffer.is_little_endian = map(bool, dataset.original_encoding)
    write_dataset(buffer, dataset)
    return encoded


def _meta(dataset: Dataset, syntax_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.SOPClassUID))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.SOPInstanceUID))
    meta.TransferSyntaxUID = UID(syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
