"""Which VR an attribute has where the encoding does not say.

Standard: PS3.6, PS3.5 6.2.2, 7.8.1, Annex A (2025b).
"""

from functools import lru_cache

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR

from shared.dicom.value_representation import Document, Element

SPECIFIC_CHARACTER_SET = "00080005"
PIXEL_REPRESENTATION = "00280103"
PIXEL_DATA = {"7FE00008": "FloatPixelData", "7FE00009": "DoubleFloatPixelData"} | {
    "7FE00010": "PixelData"
}
EXTENDED_OFFSET_TABLES = ("7FE00001", "7FE00002")
LUT_DESCRIPTORS = frozenset({"00281101", "00281102", "00281103", "00283002"})

UNDEFINED = 0xFFFFFFFF
US_OR_SS = "US or SS"
_US_OR_OW = "US or OW"
_LUT_DESCRIPTOR = "00283002"
_MAX_CORRECTED_UN = 0xFFFF
MIN_PRIVATE_CREATOR, _MAX_PRIVATE_CREATOR = 0x10, 0xFF


def key_of(tag: int) -> str:
    """A tag as the name of its attribute in the JSON model."""
    return f"{tag:08X}"


# The tags that a scan can take without a second look, by their little-endian bytes.
PLAIN_TAGS: dict[bytes, tuple[str, str]] = {
    (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little"): (
        key_of(tag),
        entry[0],
    )
    for tag, entry in DicomDictionary.items()
    if tag >> 16 not in {0, 2, 0xFFFE}
    and tag & 0xFFFF
    and key_of(tag) != SPECIFIC_CHARACTER_SET
    and key_of(tag) not in LUT_DESCRIPTORS
}


@lru_cache(maxsize=4096)
def known_vr(tag: int) -> str | None:
    """The VR of an attribute of the Standard, possibly a choice as `US or SS`."""
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return None
    return vr if vr != "NONE" else None


def vr_of(tag: int, written: str | None, length: int) -> str:
    """The VR to read a value in, given what is written: nothing in implicit VR.

    A private attribute is UN but for its creator: no dictionary of private attributes is used, so
    that all instances are read alike. UN of a known attribute is corrected, as long as its length
    shows that the sender had no reason for it (PS3.5 6.2.2 note 3).
    """
    if written is not None and written != "UN":
        return written
    if written == "UN" and length == UNDEFINED:
        return "SQ"
    if not tag & 0xFFFF:
        return "UL"
    vr = _private_vr(tag) if tag >> 16 & 1 else known_vr(tag)
    if vr is None:
        return "SQ" if length == UNDEFINED else "UN"
    return "UN" if written == "UN" and length >= _MAX_CORRECTED_UN else vr


def _private_vr(tag: int) -> str | None:
    is_creator = MIN_PRIVATE_CREATOR <= tag & 0xFFFF <= _MAX_PRIVATE_CREATOR
    return "LO" if is_creator else None


def settle(vr: str, document: Document) -> str:
    """Settle a choice of VRs, all but `US or SS`, which needs the data set around it.

    Standard: PS3.5 Annex A.1, PS3.3 C.11.1.1.1 (2025b).
    """
    if " or " not in vr or vr == US_OR_SS:
        return vr
    if vr == _US_OR_OW:
        entries = document.get(_LUT_DESCRIPTOR, {}).get("Value", [None])
        return "US" if entries[0] == 1 else "OW"
    return "OW"


def is_signed(documents: tuple[Document, ...]) -> bool:
    """Whether the pixels around an attribute are signed, looking from the innermost data set out.

    Standard: PS3.3 C.7.6.3.1.2 (2025b).
    """
    for document in reversed(documents):
        values = document.get(PIXEL_REPRESENTATION, {}).get("Value")
        if values:
            return bool(values[0] == 1)
    return False


def correct_lut_descriptor(key: str, element: Element) -> None:
    """Read the number of entries as unsigned, which it is even where it is written as SS.

    Standard: PS3.3 C.11.1.1.1 (2025b).
    """
    values = element.get("Value")
    if key in LUT_DESCRIPTORS and values and isinstance(values[0], int) and values[0] < 0:
        values[0] += 1 << 16
