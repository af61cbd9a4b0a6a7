"""Data sets of pydicom as documents of the JSON model.

What pydicom reads is taken from it, its guesses apart: no dictionary of private attributes, and
the bytes themselves where it could not convert them.

Standard: PS3.18 F.2 (2025b).
"""

import struct
from array import array
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName
from pydicom.values import convert_numbers

from shared.dicom.charset import DEFAULT_ENCODINGS, Encodings, encodings_of
from shared.dicom.dictionary import (
    PIXEL_DATA,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    US_OR_SS,
    key_of,
    settle,
    vr_of,
)
from shared.dicom.header import BulkValue, Limits
from shared.dicom.value_representation import (
    BLANK,
    BULK_VRS,
    CONVERT,
    MAY_BE_BY_REFERENCE,
    PADDING,
    TEXT_VRS,
    UNIT_LENGTHS,
    Document,
    Element,
    binary_element,
    decimal,
    element,
    finite,
    integer,
    person_name,
)
from shared.errors import InvalidInstanceError

PYDICOM_ERRORS = (
    BytesLengthException,
    InvalidDicomError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises on bytes that make no sense to it."""

_SPECIFIC_CHARACTER_SET = BaseTag(int(SPECIFIC_CHARACTER_SET, 16))
_PIXEL_REPRESENTATION = BaseTag(0x00280103)
_WORD_CODES = {"OW": "H", "OF": "I", "OL": "I", "OD": "Q", "OV": "Q"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a data set is: `base` is what its positions count from, `depth` the sequences around.

    `encodings` and `is_signed` are what it inherits from the data sets around it.
    """

    path: str
    base: int
    depth: int
    encodings: Encodings
    is_signed: bool


class PydicomReading:
    """The reading of one data set, and what was noticed on the way."""

    def __init__(self, limits: Limits) -> None:
        self.bulk_values: list[BulkValue] = []
        self.null_padded: list[str] = []
        self.character_sets: tuple[str, ...] = ()
        self.is_cut_off = False
        self._limits = limits
        self._elements = 0

    def read(self, dataset: Dataset, *, base: int = 0) -> Document:
        """Read the whole data set, `base` being added to all positions.

        Raises:
            InvalidInstanceError: A bound is broken.
        """
        place = _Place("", base, 0, DEFAULT_ENCODINGS, is_signed=False)
        return self._document(dataset, place)

    def _document(self, dataset: Dataset, outer: _Place) -> Document:
        if outer.depth > self._limits.max_depth:
            raise InvalidInstanceError("Sequences are nested deeper than this service takes.")
        place = self._declarations(dataset, outer)
        document: Document = {}
        for tag in sorted(dataset.keys()):
            # Group lengths, command and file meta elements are no part of a document.
            if not tag.element or tag.group in {0, 2}:
                continue
            self._elements += 1
            if self._elements > self._limits.max_elements:
                raise InvalidInstanceError(
                    "The data set has more attributes than this service takes."
                )
            item = stored(dataset, tag)
            if isinstance(item, RawDataElement):
                document[key_of(tag)] = self._raw(dataset, item, (document, place))
            else:
                document[key_of(tag)] = self._converted(item, place)
        if SPECIFIC_CHARACTER_SET in document:
            document[SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        return document

    def _declarations(self, dataset: Dataset, outer: _Place) -> _Place:
        """What the data set says about all its values, or else inherits."""
        place = outer
        if _SPECIFIC_CHARACTER_SET in dataset:
            declared = character_sets(dataset)
            if not outer.depth:
                self.character_sets = declared
            place = replace(place, encodings=encodings_of(declared))
        is_implicit, is_little_endian = dataset.original_encoding
        if is_implicit is not None:
            dataset.set_original_encoding(is_implicit, is_little_endian, list(place.encodings))
        if _PIXEL_REPRESENTATION in dataset:
            written = _values(dataset[_PIXEL_REPRESENTATION].value)
            if written:
                place = replace(place, is_signed=written[0] == 1)
        return place

    def _raw(
        self, dataset: Dataset, raw: RawDataElement, context: tuple[Document, _Place]
    ) -> Element:
        """An element as it was read, its value not yet converted."""
        vr, place = _vr(raw, *context), context[1]
        if raw.value is not None and len(raw.value) < raw.length != UNDEFINED:
            self.is_cut_off = True
        if vr == "SQ":
            return self._sequence(dataset, raw, place)
        if not raw.length:
            return {"vr": vr}
        if raw.value is None or self._is_by_reference(raw.tag, vr, raw.length):
            length = len(raw.value or b"") if raw.length == UNDEFINED else raw.length
            return self._refer(place, (raw.tag, vr), (raw.value_tell, length))
        if not place.depth and vr in TEXT_VRS and raw.value.endswith(b"\0"):
            self.null_padded.append(key_of(raw.tag))
        if vr in BULK_VRS:
            return binary_element(vr, _little_endian(vr, raw))
        if len(raw.value) % UNIT_LENGTHS.get(vr, 1):
            return binary_element("UN", raw.value)
        return _value(dataset, raw, vr, place)

    def _is_by_reference(self, tag: int, vr: str, length: int) -> bool:
        if key_of(tag) in PIXEL_DATA or length == UNDEFINED:
            return True
        if vr in BULK_VRS:
            return length > self._limits.bulk_threshold
        return length > self._limits.max_value_length

    def _refer(self, place: _Place, what: tuple[int, str], where: tuple[int, int]) -> Element:
        (tag, vr), (position, length) = what, where
        if vr not in MAY_BE_BY_REFERENCE:
            raise InvalidInstanceError("A value is longer than its value representation allows.")
        path = place.path + key_of(tag)
        taken: Element = {"vr": vr, "BulkDataURI": path}
        self.bulk_values.append(BulkValue(path, place.base + position, length, taken))
        return taken

    def _sequence(self, dataset: Dataset, raw: RawDataElement, place: _Place) -> Element:
        if raw.length == UNDEFINED or not raw.length:
            return {"vr": "SQ"}
        if raw.value is None:
            raise InvalidInstanceError("The data set has more attributes than this service takes.")
        try:
            items = dataset[raw.tag].value
        except PYDICOM_ERRORS:
            items = None
        if isinstance(items, Sequence):
            # Positions inside count from the start of the sequence.
            return self._items(items, raw.tag, replace(place, base=place.base + raw.value_tell))
        if len(raw.value) > self._limits.bulk_threshold:
            return self._refer(place, (raw.tag, "UN"), (raw.value_tell, raw.length))
        return binary_element("UN", raw.value)

    def _items(self, items: Sequence, tag: int, place: _Place) -> Element:
        path = place.path + key_of(tag)
        documents = [
            self._document(item, replace(place, path=f"{path}/{number}/", depth=place.depth + 1))
            for number, item in enumerate(items, 1)
        ]
        return {"vr": "SQ", "Value": documents} if documents else {"vr": "SQ"}

    def _converted(self, item: DataElement, place: _Place) -> Element:
        """An element that pydicom or a program has given its value already."""
        vr = item.VR
        if vr == "SQ":
            return self._items(item.value, item.tag, place)
        if vr not in CONVERT:
            vr = _chosen(vr, item.value, place)
        if isinstance(item.value, bytes):
            is_long = self._is_by_reference(item.tag, vr, len(item.value))
            if is_long and item.file_tell is not None:
                return self._refer(place, (item.tag, vr), (item.file_tell, len(item.value)))
            return CONVERT[vr](item.value, place.encodings) if item.value else {"vr": vr}
        try:
            return element(vr, _json_values(vr, item.value))
        except TypeError:
            return element(vr, [str(one) for one in _values(item.value)])


def stored(dataset: Dataset, tag: int) -> DataElement | RawDataElement:
    """An element as it is held, read but not converted, deferred values left where they are."""
    return cast("DataElement | RawDataElement", dataset.get_item(BaseTag(tag), keep_deferred=True))


def _vr(raw: RawDataElement, document: Document, place: _Place) -> str:
    vr = settle(vr_of(raw.tag, raw.VR, raw.length), document)
    if vr == US_OR_SS:
        return "SS" if place.is_signed and raw.length else "US"
    if raw.length == UNDEFINED and raw.is_implicit_VR and key_of(raw.tag) in PIXEL_DATA:
        return "OB"
    return vr if vr in CONVERT or vr == "SQ" else "UN"


def character_sets(dataset: Dataset) -> tuple[str, ...]:
    """The values of Specific Character Set, which the data set must have."""
    item = stored(dataset, _SPECIFIC_CHARACTER_SET)
    if isinstance(item, RawDataElement):
        text = (item.value or b"").decode("latin-1").rstrip(PADDING)
        written = text.split("\\") if text else []
    else:
        written = [str(term) for term in _values(item.value)]
    return tuple(term.rstrip(PADDING) for term in written)


def _value(dataset: Dataset, raw: RawDataElement, vr: str, place: _Place) -> Element:
    """The value as pydicom converts it, or what can be made of its bytes where it cannot."""
    if vr in {"US", "SS"} and raw.VR in {None, "UN"} and raw.value is not None:
        code = "H" if vr == "US" else "h"
        return element(vr, _values(convert_numbers(raw.value, raw.is_little_endian, code)))
    try:
        item = dataset[raw.tag]
        if vr == item.VR:
            return element(vr, _json_values(vr, item.value))
    except PYDICOM_ERRORS:
        pass
    return CONVERT[vr](raw.value or b"", place.encodings)


def _chosen(vr: str, value: Any, place: _Place) -> str:  # noqa: ANN401 - whatever pydicom holds
    """Settle a choice of VRs by the value itself."""
    if vr == US_OR_SS:
        return "SS" if place.is_signed else "US"
    if " or " not in vr:
        return "UN"
    return "OW" if isinstance(value, bytes) else "US"


def _little_endian(vr: str, raw: RawDataElement) -> bytes:
    words = raw.value or b""
    code = _WORD_CODES.get(vr)
    if raw.is_little_endian or code is None or len(words) % array(code).itemsize:
        return words
    swapped = array(code, words)
    swapped.byteswap()
    return swapped.tobytes()


def _values(value: Any) -> list[Any]:  # noqa: ANN401 - whatever pydicom holds
    if value is None or (isinstance(value, str) and not value):
        return []
    return [*value] if isinstance(value, MutableSequence | tuple) else [value]


def _json_values(vr: str, value: Any) -> list[Any]:  # noqa: ANN401 - whatever pydicom holds
    """The values for the document.

    Raises:
        TypeError: pydicom holds something else than this VR has.
    """
    convert: Callable[[Any], Any] = _FROM_PYTHON.get(vr, _from_text)
    return [None if one is None else convert(one) for one in _values(value)]


def _from_text(value: Any) -> str | None:  # noqa: ANN401
    return _checked(value, str).rstrip(PADDING) or None


def _checked(value: Any, *types: type) -> Any:  # noqa: ANN401
    if not isinstance(value, types):
        raise TypeError
    return value


def _from_decimal(value: Any) -> float | int | str | None:  # noqa: ANN401
    if isinstance(value, str):
        # pydicom gives a string where it found no number, and an empty one for no value.
        return None if not value.strip(BLANK) else _checked(value, float)
    return decimal(str(getattr(value, "original_string", value)))


def _from_integer(value: Any) -> int | str | None:  # noqa: ANN401
    if isinstance(value, str):
        return None if not value.strip(BLANK) else _checked(value, int)
    return integer(str(getattr(value, "original_string", value)))


_FROM_PYTHON: dict[str, Callable[[Any], Any]] = {
    "AE": lambda value: _checked(value, str).strip(BLANK) or None,
    "AT": lambda value: key_of(_checked(value, int)),
    "DS": _from_decimal,
    "IS": _from_integer,
    "PN": lambda value: person_name(str(_checked(value, str, PersonName))),
    "UR": lambda value: _checked(value, str).rstrip(BLANK) or None,
    **dict.fromkeys(("FD", "FL"), lambda value: finite(_checked(value, float, int))),
    **dict.fromkeys(("SL", "SS", "SV", "UL", "US", "UV"), lambda value: _checked(value, int)),
}
