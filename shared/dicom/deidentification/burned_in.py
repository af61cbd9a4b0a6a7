"""Images in whose pixels somebody may be named (PS3.3 C.7.6.1.1.1, PS3.15 E.3.1; 2026c)."""

from pydicom import Dataset

_SUSPECTS = frozenset({"ES", "GM", "IVUS", "OT", "SC", "US", "XC"})
"""Modalities whose images are photographs, or are written on by the device."""

_SECONDARY_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"


def may_name_somebody(dataset: Dataset) -> bool:
    """Whether an image says so, or is of a kind that often does and does not deny it."""
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    if said:
        return said != "NO"
    sop_class = str(dataset.get("SOPClassUID") or "")
    is_capture = sop_class == _SECONDARY_CAPTURES or sop_class.startswith(_SECONDARY_CAPTURES + ".")
    modality = str(dataset.get("Modality") or "").strip().upper()
    return "Rows" in dataset and (is_capture or modality in _SUSPECTS)
