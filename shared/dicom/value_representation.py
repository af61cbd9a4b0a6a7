"""Elements of the DICOM JSON model from the bytes of a value field, little endian.

Standard: PS3.5 6.2, PS3.18 F.2 (2025b).
"""

from binascii import b2a_base64
from collections.abc import Callable, Iterable
from struct import Struct, calcsize, unpack
from typing import Any

from shared.dicom.charset import Encodings, decode

type Element = dict[str, Any]
"""`vr`, and at most one of `Value`, `InlineBinary` and `BulkDataURI`."""

type Document = dict[str, Element]
"""A data set: elements by tag, eight upper-case hexadecimal digits, in ascending order."""

type Convert = Callable[[bytes, Encodings], Element]

PADDING = " \0"
# All that Python calls white space, and NUL: for the VRs whose outer spaces mean nothing.
BLANK = " \0\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0"
# Beyond this a double no longer holds every integer, and infinity and NaN fail it too.
_EXACT = 2.0**53
_MAX_PERSON_NAME_GROUPS = 3
_PERSON_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_INTEGER_RANGE = range(-(2**63), 2**64)
_MAX_IS_LENGTH = 12
_PLAIN_INTEGER, _PLAIN_DECIMAL = b"0123456789+- ", b"0123456789+-.eE \\"

BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
LONG_VRS = BULK_VRS | {"SQ", "UC", "UR", "UT", "SV", "UV"}
"""The VRs with a 32-bit length in explicit VR (PS3.5 7.1.2, 2025b)."""

MAY_BE_BY_REFERENCE = BULK_VRS | {
    *("DS", "FL", "FD", "IS", "LT", "SL", "SS", "ST", "SV", "UC", "UL", "US", "UT", "UV")
}
"""The VRs that PS3.18 F.2.2 (2025b) lets have a BulkDataURI."""

TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"}
)
"""The VRs whose padding is a space, never NUL; a UID's is NUL (PS3.5 6.2, 2025b)."""

_NUMBERS = {
    "FD": "d",
    "FL": "f",
    "SL": "i",
    "SS": "h",
    "SV": "q",
    "UL": "I",
    "US": "H",
    "UV": "Q",
}


UNIT_LENGTHS = {vr: calcsize("<" + code) for vr, code in _NUMBERS.items()} | {"AT": 4}
"""Bytes that one value takes, for the VRs where that is fixed."""


def element(vr: str, values: list[Any]) -> Element:
    """An element of these values, where None stands for an empty one among others.

    Standard: PS3.18 F.2.5 (2025b).
    """
    if not values or (len(values) == 1 and values[0] is None):
        return {"vr": vr}
    return {"vr": vr, "Value": values}


def binary_element(vr: str, raw: bytes) -> Element:
    """An element whose bytes stand in the document itself."""
    if not raw:
        return {"vr": vr}
    return {"vr": vr, "InlineBinary": b2a_base64(raw, newline=False).decode("ascii")}


def decimal(text: str) -> float | int | str | None:
    """A DS value as a number, or as the string it is if no JSON number equals it."""
    text = text.strip(BLANK)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    if -_EXACT < number < _EXACT and "_" not in text:
        return number
    return text


def integer(text: str) -> int | str | None:
    """An IS value as an integer, or as the string it is if it is none."""
    text = text.strip(BLANK)
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        return text
    return number if number in _INTEGER_RANGE and "_" not in text else text


def finite(number: float) -> float | str:
    """A floating point value; JSON has no number for those that are not finite.

    The Standard says nothing of them; the strings are what the reference sends and reads.
    """
    if number - number == 0:
        return number
    return "NaN" if number != number else ("Infinity" if number > 0 else "-Infinity")  # noqa: PLR0124


def person_name(text: str) -> dict[str, str] | None:
    """The groups of a PN value that are not empty, or None if all are.

    Standard: PS3.18 F.2.2, PS3.5 6.2.1 (2025b).
    """
    text = text.rstrip(PADDING)
    if "=" not in text:
        return {"Alphabetic": text} if text else None
    groups = text.split("=", _MAX_PERSON_NAME_GROUPS)
    return {
        name: group for name, group in zip(_PERSON_NAME_GROUPS, groups, strict=False) if group
    } or None


def _texts(values: Iterable[str]) -> list[str | None]:
    return [value.rstrip(PADDING) or None for value in values]


def _code_text(vr: str) -> Convert:
    """The VRs of the default character repertoire."""
    empty = {"vr": vr}

    def convert(raw: bytes, _: Encodings) -> Element:
        text = raw.decode("latin-1").rstrip(PADDING)
        if "\\" in text:
            return element(vr, _texts(text.split("\\")))
        return {"vr": vr, "Value": [text]} if text else empty.copy()

    return convert


def _application_entity(raw: bytes, _: Encodings) -> Element:
    values = raw.decode("latin-1").split("\\")
    return element("AE", [value.strip(BLANK) or None for value in values])


def _text(vr: str, separator: str | None = "\\") -> Convert:
    """The VRs of the declared character sets; without a separator they hold one value."""

    def convert(raw: bytes, encodings: Encodings) -> Element:
        text = decode(raw, encodings).rstrip(PADDING)
        if separator and separator in text:
            return element(vr, _texts(text.split(separator)))
        return {"vr": vr, "Value": [text]} if text else {"vr": vr}

    return convert


def _uri(raw: bytes, _: Encodings) -> Element:
    return element("UR", [raw.decode("latin-1").rstrip(BLANK) or None])


def _person_names(raw: bytes, encodings: Encodings) -> Element:
    text = decode(raw.rstrip(b" \0"), encodings)
    if "\\" in text:
        return element("PN", [person_name(value) for value in text.split("\\")])
    name = person_name(text)
    return {"vr": "PN", "Value": [name]} if name else {"vr": "PN"}


def _decimals(raw: bytes, _: Encodings) -> Element:
    if not raw.translate(None, _PLAIN_DECIMAL):
        try:
            numbers = [float(value) for value in raw.split(b"\\")]
        except ValueError:
            numbers = []
        if numbers and min(numbers) > -_EXACT and max(numbers) < _EXACT:
            return {"vr": "DS", "Value": numbers}
    text = raw.decode("latin-1").rstrip(BLANK)
    return element("DS", [decimal(value) for value in text.split("\\")])


def _integers(raw: bytes, _: Encodings) -> Element:
    if len(raw) <= _MAX_IS_LENGTH and not raw.translate(None, _PLAIN_INTEGER):
        try:
            return {"vr": "IS", "Value": [int(raw)]}
        except ValueError:
            pass
    text = raw.decode("latin-1").rstrip(BLANK)
    return element("IS", [integer(value) for value in text.split("\\")])


def _numbers(vr: str) -> Convert:
    code = _NUMBERS[vr]
    size = calcsize("<" + code)
    single = Struct("<" + code).unpack
    is_real = vr in {"FL", "FD"}

    def convert(raw: bytes, _: Encodings) -> Element:
        length = len(raw)
        if length % size:
            return binary_element("UN", raw)
        values = single(raw) if length == size else unpack(f"<{length // size}{code}", raw)
        return {"vr": vr, "Value": [*map(finite, values)] if is_real else [*values]}

    return convert


def _attribute_tags(raw: bytes, _: Encodings) -> Element:
    if len(raw) % 4:
        return binary_element("UN", raw)
    halves = unpack(f"<{len(raw) // 2}H", raw)
    return element(
        "AT", [f"{g:04X}{e:04X}" for g, e in zip(halves[::2], halves[1::2], strict=True)]
    )


def _binary(vr: str) -> Convert:
    def convert(raw: bytes, _: Encodings) -> Element:
        return binary_element(vr, raw)

    return convert


CONVERT: dict[str, Convert] = {
    "AE": _application_entity,
    "AT": _attribute_tags,
    "DS": _decimals,
    "IS": _integers,
    "PN": _person_names,
    "UR": _uri,
    **{vr: _code_text(vr) for vr in ("AS", "CS", "DA", "DT", "TM", "UI")},
    **{vr: _text(vr) for vr in ("LO", "SH", "UC")},
    **{vr: _text(vr, None) for vr in ("LT", "ST", "UT")},
    **{vr: _numbers(vr) for vr in _NUMBERS},
    **{vr: _binary(vr) for vr in BULK_VRS},
}
"""How the bytes of a value that is not empty become an element, by VR; all but SQ.

Trailing padding is dropped. A value whose length is no multiple of what its VR takes is given as
UN: its bytes are kept and nobody is told numbers that are not there.
"""
