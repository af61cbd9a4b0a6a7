"""The DICOM JSON model: data sets as documents, and what is asked of them.

Standard: PS3.18 Annex F (2025b).
"""

from typing import Any

import orjson
from pydicom import Dataset

from shared.dicom.header import Limits
from shared.dicom.pydicom_reading import PydicomReading
from shared.dicom.value_representation import BULK_VRS, Document, Element

__all__ = [
    "Document",
    "Element",
    "dumps",
    "from_pydicom",
    "person_name",
    "strings",
    "value",
    "without_bulk",
]


def dumps(document: Document) -> bytes:
    """A document as JSON in UTF-8."""
    return orjson.dumps(document)


def value(document: Document, tag: str) -> Any:  # noqa: ANN401 - as many types as VRs
    """The first value of an attribute, or None if it is absent or that value is empty."""
    values = document.get(tag, {}).get("Value")
    return values[0] if values else None


def strings(document: Document, tag: str) -> tuple[str, ...]:
    """All values of an attribute as text, empty ones as "", names with their groups joined by =."""
    return tuple(_string(item) for item in document.get(tag, {}).get("Value", ()))


def _string(item: Any) -> str:  # noqa: ANN401
    if isinstance(item, dict):
        groups = (item.get(name, "") for name in ("Alphabetic", "Ideographic", "Phonetic"))
        return "=".join(groups).rstrip("=")
    return "" if item is None else str(item)


def person_name(document: Document, tag: str) -> str | None:
    """The first name of an attribute, its groups joined by =, or None if it is absent or empty."""
    first = value(document, tag)
    return _string(first) if isinstance(first, dict) else None


def without_bulk(document: Document) -> Document:
    """The document without attributes of binary VRs, at any depth: metadata as v1 gives it."""
    return {
        tag: _without_bulk_in(element)
        for tag, element in document.items()
        if element["vr"] not in BULK_VRS
    }


def _without_bulk_in(element: Element) -> Element:
    if element["vr"] != "SQ" or "Value" not in element:
        return element
    return {"vr": "SQ", "Value": [without_bulk(item) for item in element["Value"]]}


def from_pydicom(dataset: Dataset, limits: Limits | None = None) -> Document:
    """The document of a data set that pydicom has read or a program has made.

    Bulk values are given by reference where they have a place in a file, otherwise inline.

    Raises:
        InvalidInstanceError: It is nested too deeply or otherwise beyond the limits.
    """
    return PydicomReading(limits or Limits()).read(dataset)
