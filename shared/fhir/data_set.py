"""Values of data sets in the DICOM JSON model, as FHIR needs them: trimmed, and never empty."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.dicom.json_model import Document
from shared.dicom.searchable import tag_of

_PADDING = " \0\t\n\r"
_INTEGER = re.compile(r"[+-]?\d{1,19}\Z", re.ASCII)
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set whose attributes are asked for by keyword; a wrong value is as none at all."""

    document: Document

    def values(self, keyword: str) -> Sequence[Any]:
        """All values, whatever they are."""
        found = self.document.get(tag_of(keyword), {}).get("Value")
        return found if isinstance(found, list) else ()

    def texts(self, keyword: str) -> Sequence[str]:
        """The values as texts, without empty ones."""
        texts = (_text(value) for value in self.values(keyword))
        return [text for text in texts if text]

    def text(self, keyword: str) -> str | None:
        """The first value as text, None where it is empty."""
        values = self.values(keyword)
        return (_text(values[0]) or None) if values else None

    def integer(self, keyword: str) -> int | None:
        """The first value as an integer, None where it is none."""
        values = self.values(keyword)
        found = str(values[0]).strip(_PADDING) if values else ""
        return int(found) if _INTEGER.match(found) else None

    def names(self, keyword: str) -> Sequence[str]:
        """Person names as texts, each with its groups joined by `=`, without empty ones."""
        return [name for value in self.values(keyword) if (name := person_name(value))]

    def items(self, keyword: str) -> Sequence["DataSet"]:
        """The items of a sequence that have content."""
        return [DataSet(item) for item in self.values(keyword) if isinstance(item, dict) and item]

    def item(self, keyword: str) -> "DataSet":
        """The first item of a sequence, an empty one where there is none."""
        return next(iter(self.items(keyword)), _NOTHING)

    def has(self, keyword: str) -> bool:
        """Whether there is a value that is not empty."""
        return any(value not in (None, "", {}) for value in self.values(keyword))


_NOTHING = DataSet({})


def _text(value: object) -> str:
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


def cleaned(text: str) -> str:
    """Text without padding and control characters, its blanks those that FHIR takes.

    Source: FHIR R4, 2.24.0.1, string.
    """
    text = text.strip(_PADDING)
    if text.isprintable():
        return text
    signs = (" " if _is_blank(sign) and sign not in "\t\r\n" else sign for sign in text)
    return "".join(sign for sign in signs if sign >= " " or sign in "\t\r\n").strip(_PADDING)


def _is_blank(sign: str) -> bool:
    """Whether a sign is a blank, or a byte order mark, which FHIR takes for one."""
    return sign.isspace() or sign == "\ufeff"


def person_name(value: object) -> str:
    """A value of a name as text, its groups joined by `=`; empty where it is none."""
    if isinstance(value, str):
        return cleaned(value)
    if not isinstance(value, dict):
        return ""
    groups = (_text(value.get(group, "")) for group in _GROUPS)
    return "=".join(groups).rstrip("=")
