"""Data sets of stored files for pydicom, without their pixel data.

Standard: PS3.10 7.1, PS3.5 7.1 and A.4 (2025b).
"""

from io import BytesIO
from struct import unpack

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from shared.dicom.deflated import data_set_offset
from shared.dicom.dictionary import PIXEL_DATA, UNDEFINED
from shared.dicom.file_meta import PREFIXED_LENGTH
from shared.dicom.header import PixelDataElement
from shared.dicom.pydicom_reading import PYDICOM_ERRORS
from shared.dicom.quiet import quiet
from shared.dicom.transfer_syntax import transfer_syntax
from shared.errors import NotAcceptableError

_HEADER_LENGTH, _LONG_HEADER_LENGTH = 8, 12
_FIRST_PIXEL_DATA = 0x7FE00008
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def read_data_set(content: bytes, syntax_uid: str, *, up_to_pixels: bool = True) -> Dataset:
    """The data set of a file, its file meta information with it, up to pixel data if it has any.

    `content` is that of the file, its data set inflated if it was deflated. Without `up_to_pixels`
    it is read to its end.

    Raises:
        NotAcceptableError: pydicom cannot read it.
    """
    try:
        with quiet():
            if transfer_syntax(syntax_uid).is_deflated:
                dataset = _read_inflated(content, up_to_pixels=up_to_pixels)
            else:
                dataset = dcmread(BytesIO(content), force=True, stop_before_pixels=up_to_pixels)
            if not hasattr(dataset, "file_meta"):
                dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = UID(syntax_uid)
    except PYDICOM_ERRORS as error:
        raise NotAcceptableError("The data set of the instance cannot be read again.") from error
    return dataset


def read_without_pixels(content: bytes, syntax_uid: str) -> Dataset:
    """The data set of a file, with what follows pixel data, but without these.

    Raises:
        NotAcceptableError: pydicom cannot read it.
    """
    dataset = read_data_set(content, syntax_uid, up_to_pixels=False)
    for tag in PIXEL_DATA:
        dataset.pop(int(tag, 16), None)
    return dataset


def _read_inflated(content: bytes, *, up_to_pixels: bool) -> Dataset:
    offset = data_set_offset(content)
    meta = BytesIO(content[PREFIXED_LENGTH:offset])
    dataset = read_dataset(
        BytesIO(content[offset:]),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=(lambda tag, _vr, _length: tag >= _FIRST_PIXEL_DATA) if up_to_pixels else None,
    )
    dataset.file_meta = FileMetaDataset(
        read_dataset(meta, is_implicit_VR=False, is_little_endian=True)
    )
    return dataset


def pixel_data_element(head: bytes, syntax_uid: str) -> PixelDataElement:
    """What the header of pixel data says; `head` is the file up to its value.

    Raises:
        NotAcceptableError: There is no such header.
    """
    order = "<" if transfer_syntax(syntax_uid).is_little_endian else ">"
    keyword, header = _pixel_data_header(head, order)
    (length,) = unpack(f"{order}I", header[-4:])
    is_explicit = len(header) == _LONG_HEADER_LENGTH
    vr = header[4:6].decode("latin-1") if is_explicit else "OW"
    return PixelDataElement(keyword, vr, len(head), None if length == UNDEFINED else length)


def pixel_data_start(head: bytes, syntax_uid: str) -> int:
    """Where the header of pixel data begins; `head` is the file up to its value.

    Raises:
        NotAcceptableError: There is no such header.
    """
    order = "<" if transfer_syntax(syntax_uid).is_little_endian else ">"
    return len(head) - len(_pixel_data_header(head, order)[1])


def _pixel_data_header(head: bytes, order: str) -> tuple[str, bytes]:
    """The keyword of the pixel data and the bytes of its header."""
    for header in (head[-_LONG_HEADER_LENGTH:], head[-_HEADER_LENGTH:]):
        if len(header) < _HEADER_LENGTH:
            break
        group, element = unpack(f"{order}HH", header[:4])
        keyword = PIXEL_DATA.get(f"{group:04X}{element:04X}")
        if keyword is not None:
            return keyword, header
    raise NotAcceptableError("The pixel data of the instance cannot be found again.")


def add_attributes_behind(dataset: Dataset, content: bytes, *, is_encapsulated: bool) -> None:
    """Add the attributes that follow pixel data; `content` is the file from its last byte on.

    Raises:
        NotAcceptableError: pydicom cannot read them.
    """
    if is_encapsulated:
        if not content.startswith(_SEQUENCE_END):
            return
        content = content[len(_SEQUENCE_END) :]
    is_implicit, is_little_endian = dataset.original_encoding
    try:
        with quiet():
            dataset.update(
                read_dataset(
                    BytesIO(content),
                    is_implicit_VR=bool(is_implicit),
                    is_little_endian=bool(is_little_endian),
                )
            )
    except PYDICOM_ERRORS as error:
        raise NotAcceptableError("What follows the pixel data cannot be read again.") from error
