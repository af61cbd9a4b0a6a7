"""What the Standard says of values, checked for every element of a data set at any depth.

What is checked is the document, in which numbers are numbers already: a decimal string that is too
long, or an integer with odd padding, has lost nothing and counts as well-formed.

Standard: PS3.5 Table 6.2-1, PS3.6 for the number of values (2025b); texts: reference.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom._dicom_dict import DicomDictionary

from shared.dicom.value_representation import Document, Element

_PERSON_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_MAX_GROUP_LENGTH, _MAX_COMPONENTS = 64, 5
_INTEGER_STRINGS = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class MalformedElement:
    """An element that breaks a rule of its VR, or has more or fewer values than it may."""

    tag: str
    element: Element
    content: str
    reason: str

    @property
    def sentence(self) -> str:
        """What is wrong, in a report that goes to no one but who sent it: it quotes the value."""
        return f'Content "{self.content}" does not validate VR {self.element["vr"]}: {self.reason}'

    @property
    def plain_sentence(self) -> str:
        """What is wrong, without the value."""
        return f"The content does not validate VR {self.element['vr']}: {self.reason}"


def malformed_elements(document: Document) -> Iterator[MalformedElement]:
    """The elements of a data set, and of the items in it, that break a rule; those above first."""
    pending = [document]
    for data_set in pending:
        for tag, element in data_set.items():
            values = element.get("Value")
            if values is None:
                continue
            vr = element["vr"]
            if vr == "SQ":
                pending += values
                continue
            bounds = (_COUNTS if len(values) > 1 else _SEVERAL).get(tag)
            if bounds is not None and not bounds[0] <= len(values) <= bounds[1]:
                yield MalformedElement(tag, element, *_miscounted(values, bounds))
                continue
            rule = _RULES.get(vr)
            if rule is not None and (wrong := rule(values)) is not None:
                yield MalformedElement(tag, element, *wrong)


def _miscounted(values: Sequence[object], bounds: tuple[int, float]) -> tuple[str, str]:
    fewest, most = bounds
    if fewest == most:
        allowed = f"{fewest}"
    else:
        allowed = f"{fewest} or more" if most == _ANY else f"{fewest} to {most}"
    content = "\\".join(map(_text, values))
    return content, f"the attribute has {len(values)} values instead of {allowed}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "=".join(value.get(group, "") for group in _PERSON_NAME_GROUPS).rstrip("=")
    return "" if value is None else str(value)


# Each rule gives the first value that breaks it, and why it does.

type _Wrong = tuple[str, str] | None
type _Rule = Callable[[Sequence[Any]], _Wrong]

_INVALID_CHARACTER = "value contains invalid character"


def _matching(pattern: str, reason: str, max_length: int | None = None) -> _Rule:
    matches = re.compile(pattern + r"\Z", re.ASCII | re.DOTALL).match
    too_long = f"value exceeds maximum length of {max_length} characters"

    def wrong(values: Sequence[str | None]) -> _Wrong:
        for value in values:
            if value is not None and not matches(value):
                is_too_long = max_length is not None and len(value) > max_length
                return value, too_long if is_too_long else reason
        return None

    return wrong


def _person_names(values: Sequence[dict[str, str] | None]) -> _Wrong:
    for value in values:
        for group in (value or {}).values():
            if not _PLAIN_GROUP(group):
                reason = _wrong_in_group(group)
                if reason is not None:
                    return _text(value), reason
    return None


_PLAIN_GROUP = re.compile(r"[^\x00-\x1a\x1c-\x1f^]{0,30}(\^[^\x00-\x1a\x1c-\x1f^]{0,30})?\Z").match
_CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f]").search


def _wrong_in_group(group: str) -> str | None:
    if len(group) > _MAX_GROUP_LENGTH:
        return f"value exceeds maximum length of {_MAX_GROUP_LENGTH} characters"
    if group.count("^") >= _MAX_COMPONENTS:
        return "value contains too many components"
    return _INVALID_CHARACTER if _CONTROL(group) else None


def _decimal_strings(values: Sequence[object]) -> _Wrong:
    if len(values) == 1 and type(values[0]) is float:
        return None  # Most are so.
    texts = (value for value in values if isinstance(value, str))
    wrong = next((text for text in texts if not _DECIMAL(text)), None)
    return None if wrong is None else (wrong, "value is no decimal string")


# A number beyond what JSON holds exactly is text in the document.
_DECIMAL = re.compile(r" *[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)? *\Z", re.ASCII).match


def _integer_strings(values: Sequence[object]) -> _Wrong:
    for value in values:
        if isinstance(value, str):
            return value, "value is no integer string"
        if isinstance(value, int) and value not in _INTEGER_STRINGS:
            return str(value), "value does not fit into 32 bits"
    return None


_DAY = r"(0[1-9]|[12]\d|3[01])"
_MONTH = r"(0[1-9]|1[0-2])"
_CLOCK = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"

_RULES: dict[str, _Rule] = {
    "AE": _matching(r"[^\x00-\x1f]{0,16}", _INVALID_CHARACTER, 16),
    "AS": _matching(r"\d{3}[DWMY]", "value does not have pattern 000[DWMY]"),
    "CS": _matching(r"[A-Z0-9_ ]{0,16}", _INVALID_CHARACTER, 16),
    "DA": _matching(
        rf"\d{{4}}{_MONTH}{_DAY}", "one of the date values does not match the pattern YYYYMMDD"
    ),
    "DS": _decimal_strings,
    "DT": _matching(
        rf"\d{{4}}({_MONTH}({_DAY}({_CLOCK})?)?)?(\+\d{{4}}|-(?!0000)\d{{4}})?",
        "value does not match the pattern YYYYMMDDHHMMSS.FFFFFF&ZZXX",
    ),
    "IS": _integer_strings,
    "LO": _matching(r"[^\x00-\x1a\x1c-\x1f]{0,64}", _INVALID_CHARACTER, 64),
    "LT": _matching(r".{0,10240}", _INVALID_CHARACTER, 10240),
    "PN": _person_names,
    "SH": _matching(r"[^\x00-\x1a\x1c-\x1f]{0,16}", _INVALID_CHARACTER, 16),
    "ST": _matching(r".{0,1024}", _INVALID_CHARACTER, 1024),
    "TM": _matching(_CLOCK, "value does not match the pattern HHMMSS.FFFFFF"),
    # Leading zeros, which real modalities write, are let through.
    "UI": _matching(r"[0-9.]{0,63}[0-9]", _INVALID_CHARACTER, 64),
}

_ANY = float("inf")


def _bounds(multiplicity: str) -> tuple[int, float]:
    fewest, _, most = multiplicity.partition("-")
    if not most:
        return int(fewest), int(fewest)
    return int(fewest), int(most) if most.isdigit() else _ANY


_COUNTS: dict[str, tuple[int, float]] = {
    f"{tag:08X}": _bounds(entry[1])
    for tag, entry in DicomDictionary.items()
    if entry[1][0].isdigit() and entry[1] != "1-n"
}
"""How many values an attribute may have, where that is bounded."""

_SEVERAL = {tag: bounds for tag, bounds in _COUNTS.items() if bounds[0] > 1}
