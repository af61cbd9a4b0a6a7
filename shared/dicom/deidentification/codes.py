"""Codes of the Standard as the items that have them."""

from pydicom import Dataset


def code(value: str, meaning: str) -> Dataset:
    """A code of DCM."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = meaning
    return item
