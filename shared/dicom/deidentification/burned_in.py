"""Images in whose pixels somebody may be named.

Standard: PS3.3 C.7.6.1.1.1, PS3.15 E.3.1 (2026c); of slides PS3.3 C.8.12.4.1.1 (2025b).
"""

from pydicom import Dataset

_SUSPECTS = frozenset({"ES", "GM", "IVUS", "OT", "SC", "US", "XC"})
"""Modalities whose images are photographs, or are written on by the device."""

_SECONDARY_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"

_OF_SLIDES = {"LABEL", "OVERVIEW"}
"""Images of the label of a slide, and of all of it (third value of Image Type)."""

_OVERLAYS = 0x60
_IN_OVERLAY_DATA = {0x0100: 1, 0x0102: 0}
"""Bits allocated and bit position of an overlay that is kept outside the pixels."""


def may_name_somebody(dataset: Dataset) -> bool:
    """Whether an image says so, or is of a kind that often does and does not deny it.

    Labels of slides and overlays in the pixels are not what is denied: they are not burned in.
    """
    if _shows_label(dataset) or _has_overlay_in_pixels(dataset):
        return True
    said = _text(dataset.get("BurnedInAnnotation"))
    if said:
        return said != "NO"
    sop_class = str(dataset.get("SOPClassUID") or "")
    is_capture = sop_class == _SECONDARY_CAPTURES or sop_class.startswith(_SECONDARY_CAPTURES + ".")
    return "Rows" in dataset and (is_capture or _text(dataset.get("Modality")) in _SUSPECTS)


def _shows_label(dataset: Dataset) -> bool:
    kind = dataset.get("ImageType") or ()
    third = [] if isinstance(kind, str) else list(kind)[2:3]
    is_of_slide = any(_text(value) in _OF_SLIDES for value in third)
    return is_of_slide or _text(dataset.get("SpecimenLabelInImage")) == "YES"


def _has_overlay_in_pixels(dataset: Dataset) -> bool:
    """Whether one lies in bits that the pixels do not use, as it may no more (retired)."""
    return any(
        dataset[tag].value not in (None, _IN_OVERLAY_DATA[tag.element])
        for tag in list(dataset.keys())
        if tag.group >> 8 == _OVERLAYS and not tag.is_private and tag.element in _IN_OVERLAY_DATA
    )


def _text(value: object) -> str:
    return str(value or "").strip().upper()
