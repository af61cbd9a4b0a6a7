"""Data sets written as they were read: what pydicom has not converted keeps its bytes.

Standard: PS3.5 7.1, 7.5 (2025b).
"""

from dataclasses import dataclass
from struct import pack

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence

from shared.dicom.dictionary import UNDEFINED
from shared.dicom.pydicom_reading import stored

_ITEM, _ITEM_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteOrder:
    """How elements are encoded."""

    is_implicit: bool
    is_little_endian: bool

    def of(self, item: Dataset) -> "ByteOrder":
        """That of an item, which may differ in a sequence whose VR was not known to its writer."""
        is_implicit, is_little_endian = item.original_encoding
        if is_implicit is None:
            return self
        return ByteOrder(is_implicit=bool(is_implicit), is_little_endian=bool(is_little_endian))

    def delimiter(self, tag: tuple[int, int], length: int) -> bytes:
        """The tag and length of an item, or of its end."""
        return pack("<HHI" if self.is_little_endian else ">HHI", *tag, length)


def data_set_bytes(dataset: Dataset, order: ByteOrder) -> bytes:
    """The bytes of a data set without its retired group lengths, which may have become wrong."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = order.is_little_endian, order.is_implicit
    for tag in sorted(dataset.keys()):
        if tag.element:
            element = stored(dataset, tag)
            if isinstance(element, DataElement) and element.VR == "SQ":
                element = _sequence(element, order)
            elif isinstance(element, RawDataElement) and element.value is None:
                element = element._replace(value=b"")  # As an empty one is read in implicit VR.
            write_data_element(buffer, element)
    return buffer.getvalue()


def _sequence(element: DataElement, order: ByteOrder) -> RawDataElement:
    items: Sequence = element.value
    inner = order.of(items[0]) if items else order
    # An item in implicit VR within explicit VR: only a UN can hold it (PS3.5 6.2.2 note 2).
    vr = "SQ" if inner == order else "UN"
    content = b"".join(_item(item, inner) for item in items)
    length = UNDEFINED if element.is_undefined_length else len(content)
    return RawDataElement(
        element.tag, vr, length, content, 0, order.is_implicit, order.is_little_endian
    )


def _item(item: Dataset, order: ByteOrder) -> bytes:
    content = data_set_bytes(item, order)
    if not getattr(item, "is_undefined_length_sequence_item", False):
        return order.delimiter(_ITEM, len(content)) + content
    return order.delimiter(_ITEM, UNDEFINED) + content + order.delimiter(_ITEM_END, 0)
