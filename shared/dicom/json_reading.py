"""Documents of the JSON model from outside: checked, and made as regular as those we write.

Nothing of what clients send is trusted: not the tags, nor the VRs, nor that a value is of the kind
that its VR has.

Standard: PS3.18 Annex F (2025b).
"""

import math
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

import orjson

from shared.dicom.dictionary import MIN_PRIVATE_CREATOR, key_of, known_vr
from shared.dicom.header import Limits
from shared.dicom.value_representation import (
    BLANK,
    BULK_VRS,
    CONVERT,
    MAY_BE_BY_REFERENCE,
    PADDING,
    Document,
    Element,
    decimal,
    element,
    finite,
    integer,
    person_name,
)
from shared.errors import InvalidInstanceError, InvalidRequestError

KNOWN_VRS = frozenset(CONVERT) | {"SQ"}
"""The value representations of the Standard."""

_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")
_CONTENTS = ("Value", "InlineBinary", "BulkDataURI")
_PERSON_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_SINGLE_VALUED = frozenset({"LT", "ST", "UR", "UT"})
_WITHOUT_BACKSLASH = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"})
_MAX_NUMBER_LENGTH = 64
_SINGLE = Struct("<f")
_RANGES = {
    "SL": range(-(2**31), 2**31),
    "SS": range(-(2**15), 2**15),
    "SV": range(-(2**63), 2**63),
    "UL": range(2**32),
    "US": range(2**16),
    "UV": range(2**64),
}
# No part of a data set: command and file meta elements.
_OTHER_GROUPS = frozenset({0x0000, 0x0002})
_ITEM_GROUP = 0xFFFE


def loads(content: bytes, limits: Limits | None = None) -> list[Document]:
    """The documents in a body of application/dicom+json: an array of them, or one alone.

    Raises:
        InvalidRequestError: It is no JSON, or something else than objects.
        InvalidInstanceError: A document is not as the JSON model has it, or breaks a bound.
    """
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError("The body is not valid JSON.") from error
    documents = parsed if isinstance(parsed, list) else [parsed]
    if not all(isinstance(document, dict) for document in documents):
        raise InvalidRequestError("The body is not an array of DICOM JSON objects.")
    return [document_of(document, limits) for document in documents]


def document_of(outside: Mapping[str, Any], limits: Limits | None = None) -> Document:
    """The document that an object from outside is meant to be.

    Tags are put in order; group lengths, command and file meta elements are left out; a VR that
    is missing is taken from the Standard; numbers sent as text and text with padding are
    understood.

    Raises:
        InvalidInstanceError: It is not as the JSON model has it, or it breaks a bound.
    """
    return _Reading(limits or Limits()).document(outside, 0)


class _Reading:
    def __init__(self, limits: Limits) -> None:
        self._max_depth = limits.max_depth
        self._elements_left = limits.max_elements

    def document(self, outside: Mapping[str, Any], depth: int) -> Document:
        if depth > self._max_depth:
            raise InvalidInstanceError("Sequences are nested deeper than this service takes.")
        self._hold(len(outside))
        document: Document = {}
        for name, content in outside.items():
            if not _TAG.match(name):
                raise InvalidInstanceError("An attribute is named by something else than a tag.")
            tag = int(name, 16)
            if not tag & 0xFFFF or tag >> 16 in _OTHER_GROUPS:
                continue
            if key_of(tag) in document or tag >> 16 == _ITEM_GROUP:
                raise refused(key_of(tag), "is given twice, or is none of a data set")
            document[key_of(tag)] = self._element(tag, content, depth)
        return dict(sorted(document.items()))

    def _hold(self, elements: int) -> None:
        self._elements_left -= elements
        if self._elements_left < 0:
            raise InvalidInstanceError("The data set has more attributes than this service takes.")

    def _element(self, tag: int, outside: object, depth: int) -> Element:
        key = key_of(tag)
        if not isinstance(outside, Mapping):
            raise refused(key, "is not an object")
        vr = outside.get("vr") or _unspoken_vr(tag)
        if not isinstance(vr, str) or vr not in KNOWN_VRS:
            raise refused(key, "has no value representation of the Standard")
        given = [name for name in _CONTENTS if outside.get(name)]
        if len(given) > 1:
            raise refused(key, "has more than one kind of content")
        match given:
            case ["BulkDataURI"]:
                return _by_reference(key, vr, outside["BulkDataURI"])
            case ["InlineBinary"]:
                return _inline(key, vr, outside["InlineBinary"])
            case ["Value"]:
                return self._valued(key, vr, (outside["Value"], depth))
            case _:
                return {"vr": vr}

    def _valued(self, key: str, vr: str, value: tuple[object, int]) -> Element:
        values, depth = value
        if not isinstance(values, list):
            raise refused(key, "has a Value that is no array")
        if vr == "SQ":
            return self._sequence(key, values, depth)
        return _valued(key, vr, values)

    def _sequence(self, key: str, items: list[Any], depth: int) -> Element:
        self._hold(len(items))
        if not all(item is None or isinstance(item, Mapping) for item in items):
            raise refused(key, "has an item that is no object")
        return {"vr": "SQ", "Value": [self.document(item or {}, depth + 1) for item in items]}


def refused(key: str, why: str) -> InvalidInstanceError:
    """The error that names the attribute it is about."""
    return InvalidInstanceError(f"Attribute ({key[:4]},{key[4:]}) {why}.")


def _unspoken_vr(tag: int) -> str | None:
    """The VR of an attribute that comes without one; None where the Standard leaves a choice."""
    if not tag >> 16 & 1:
        return known_vr(tag)
    return "LO" if MIN_PRIVATE_CREATOR <= tag & 0xFFFF <= 0xFF else "UN"  # noqa: PLR2004


def _by_reference(key: str, vr: str, uri: object) -> Element:
    if not isinstance(uri, str) or vr not in MAY_BE_BY_REFERENCE:
        raise refused(key, "cannot be given by reference")
    return {"vr": vr, "BulkDataURI": uri}


def _inline(key: str, vr: str, text: object) -> Element:
    if not isinstance(text, str) or vr not in BULK_VRS:
        raise refused(key, "cannot be given as InlineBinary")
    packed = "".join(text.split())
    try:
        a2b_base64(packed, strict_mode=True)
    except (Base64Error, ValueError) as error:
        raise refused(key, "has an InlineBinary that is not base64") from error
    return {"vr": vr, "InlineBinary": packed} if packed else {"vr": vr}


def _valued(key: str, vr: str, values: list[Any]) -> Element:
    convert = _FROM_OUTSIDE.get(vr)
    if convert is None or (vr in _SINGLE_VALUED and len(values) > 1):
        raise refused(key, f"has a Value that {vr} does not allow")
    try:
        return element(vr, [None if one is None else convert(one) for one in values])
    except (TypeError, ValueError, OverflowError) as error:
        raise refused(key, f"has a value that is none of {vr}") from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(vr: str) -> Callable[[Any], str | None]:
    outer = BLANK if vr in {"AE", "UR"} else PADDING

    def convert(value: Any) -> str | None:  # noqa: ANN401
        if not isinstance(value, str):
            raise TypeError
        if vr in _WITHOUT_BACKSLASH and "\\" in value:
            raise ValueError
        return (value.strip(outer) if vr == "AE" else value.rstrip(outer)) or None

    return convert


def _number_text(value: Any) -> str:  # noqa: ANN401
    """The text of a number that is given as one or as text."""
    if _is_number(value):
        if not math.isfinite(value):
            raise ValueError
        return repr(value)
    if not isinstance(value, str):
        raise TypeError
    if "\\" in value:
        raise ValueError
    return value


def _decimal(value: Any) -> float | int | str | None:  # noqa: ANN401
    return decimal(_number_text(value))


def _integer_string(value: Any) -> int | str | None:  # noqa: ANN401
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return integer(_number_text(whole))


def _real(vr: str) -> Callable[[Any], float | str | None]:
    def convert(value: Any) -> float | str | None:  # noqa: ANN401
        if isinstance(value, str):
            if "_" in value or len(value) > _MAX_NUMBER_LENGTH:
                raise ValueError
            if not value.strip(BLANK):
                return None
        elif not _is_number(value):
            raise TypeError
        number = float(value)
        if vr == "FL":
            _SINGLE.pack(number)
        return finite(number)

    return convert


def _whole(vr: str) -> Callable[[Any], int | None]:
    allowed = _RANGES[vr]

    def convert(value: Any) -> int | None:  # noqa: ANN401
        if isinstance(value, str):
            if "_" in value or len(value) > _MAX_NUMBER_LENGTH:
                raise ValueError
            if not value.strip(BLANK):
                return None
        elif not _is_number(value) or value != int(value):
            raise TypeError
        number = int(value)
        if number not in allowed:
            raise ValueError
        return number

    return convert


def _attribute_tag(value: Any) -> str | None:  # noqa: ANN401
    if not isinstance(value, str):
        raise TypeError
    text = value.strip(BLANK)
    if text and not _TAG.match(text):
        raise ValueError
    return text.upper() or None


def _person_name(value: Any) -> dict[str, str] | None:  # noqa: ANN401
    if isinstance(value, str):
        if "\\" in value:
            raise ValueError
        return person_name(value)
    if not isinstance(value, Mapping):
        raise TypeError
    groups = [value.get(name) or "" for name in _PERSON_NAME_GROUPS]
    if not all(isinstance(group, str) and not set(group) & {"\\", "="} for group in groups):
        raise ValueError
    return person_name("=".join(groups).rstrip("="))


_FROM_OUTSIDE: dict[str, Callable[[Any], Any]] = {
    "AT": _attribute_tag,
    "DS": _decimal,
    "IS": _integer_string,
    "PN": _person_name,
    **{vr: _text(vr) for vr in _WITHOUT_BACKSLASH | _SINGLE_VALUED},
    **{vr: _real(vr) for vr in ("FD", "FL")},
    **{vr: _whole(vr) for vr in _RANGES},
}
