"""Data sets in explicit VR little endian, from documents of the JSON model.

The counterpart of `value_representation`. Text is UTF-8, and every data set that says what its
text is says that. Sequences and items are of undefined length, so that nothing is encoded twice.

Standard: PS3.5 6.2, 7.1.2 and 7.5 (2025b).
"""

from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from struct import error as StructError  # noqa: N812
from struct import pack
from typing import Any

from pydicom.valuerep import format_number_as_ds

from shared.dicom.dictionary import SPECIFIC_CHARACTER_SET, UNDEFINED
from shared.dicom.json_reading import refused
from shared.dicom.value_representation import LONG_VRS, TEXT_VRS, Document, Element

type Chunk = bytes | memoryview

MAX_LENGTH = 0xFFFFFFFE
"""The longest value field whose length can be told."""

UTF_8: Element = {"vr": "CS", "Value": ["ISO_IR 192"]}

DECLARED_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""The VRs whose text is of the declared character set; that of others is read as Latin-1."""

_ITEM = b"\xfe\xff\x00\xe0"
_ITEM_END = b"\xfe\xff\x0d\xe0" + bytes(4)
_SEQUENCE_END = b"\xfe\xff\xdd\xe0" + bytes(4)
_MAX_SHORT_LENGTH = 0xFFFE
_MAX_DS_LENGTH = 16
# A longer value is handed on as it is, a shorter one is copied: chunks have a cost of their own.
_UNCOPIED_LENGTH = 1 << 16
_CODES = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


class DataSetEncoder:
    """Encodes elements in the order they are given.

    `resolve` gives the value of an attribute that a document gives by reference.
    """

    def __init__(self, resolve: Callable[[str, Element], Chunk]) -> None:
        self._resolve = resolve
        self._chunks: list[Chunk] = []
        self._pending = bytearray()

    def chunks(self) -> list[Chunk]:
        """What has been encoded so far; long values are those that were given, not copies."""
        self._flush()
        return self._chunks

    def _flush(self) -> None:
        if self._pending:
            self._chunks.append(bytes(self._pending))
            self._pending = bytearray()

    def data_set(self, document: Document) -> None:
        """Encode a data set, or the attributes of an item.

        Raises:
            InvalidInstanceError: A value cannot be encoded; the attribute is named.
        """
        for key, element in document.items():
            self.element(key, UTF_8 if key == SPECIFIC_CHARACTER_SET else element)

    def element(self, key: str, element: Element) -> None:
        """Encode one attribute.

        Raises:
            InvalidInstanceError: Its value cannot be encoded.
        """
        vr = element["vr"]
        if vr == "SQ" and element.get("Value"):
            self._sequence(key, element["Value"])
        elif "BulkDataURI" in element:
            self.value(key, vr, self._resolve(key, element))
        elif "InlineBinary" in element:
            self.value(key, vr, b64decode(element["InlineBinary"]))
        else:
            self.value(key, vr, _encoded(key, vr, element.get("Value", ())))

    def value(self, key: str, vr: str, content: Chunk) -> None:
        """Encode one attribute, given its value field but for the padding.

        Raises:
            InvalidInstanceError: It is longer than any length that can be told.
        """
        length = len(content) + len(content) % 2
        if length > MAX_LENGTH:
            raise refused(key, "is longer than a value can be")
        if length > _MAX_SHORT_LENGTH and vr not in LONG_VRS:
            # PS3.5 6.2.2: what is too long for its VR is written as UN.
            vr = "UN"
        self.header(key, vr, length)
        self.raw(content)
        if len(content) % 2:
            self._pending += b" " if vr in TEXT_VRS else b"\0"

    def header(self, key: str, vr: str, length: int) -> None:
        """Encode the tag, VR and length of an attribute whose value comes next."""
        tag = int(key, 16)
        self._pending += pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
        self._pending += pack("<HI", 0, length) if vr in LONG_VRS else pack("<H", length)

    def raw(self, content: Chunk) -> None:
        """Add bytes as they are."""
        if len(content) < _UNCOPIED_LENGTH:
            self._pending += content
            return
        self._flush()
        self._chunks.append(content)

    def fragments(self, key: str, offset_table: Chunk, fragments: Sequence[Chunk]) -> None:
        """Encode an encapsulated value (PS3.5 A.4, 2025b)."""
        self.header(key, "OB", UNDEFINED)
        for fragment in (offset_table, *fragments):
            padding = len(fragment) % 2
            if len(fragment) + padding > MAX_LENGTH:
                raise refused(key, "has a frame that is longer than a fragment can be")
            self._pending += _ITEM + pack("<I", len(fragment) + padding)
            self.raw(fragment)
            self._pending += bytes(padding)
        self._pending += _SEQUENCE_END

    def _sequence(self, key: str, items: Sequence[Document]) -> None:
        self.header(key, "SQ", UNDEFINED)
        for item in items:
            self._pending += _ITEM + pack("<I", UNDEFINED)
            self.data_set(item)
            self._pending += _ITEM_END
        self._pending += _SEQUENCE_END


def _encoded(key: str, vr: str, values: Sequence[Any]) -> bytes:
    if not values:
        return b""
    try:
        return _ENCODE[vr](vr, values)
    except UnicodeEncodeError as error:
        raise refused(key, f"has a character that {vr} does not allow") from error
    except (StructError, TypeError, ValueError, OverflowError, KeyError) as error:
        raise refused(key, f"has a value that is none of {vr}") from error


def text_of(vr: str, values: Sequence[Any]) -> str:
    """The values of an attribute with a text VR as its value field has them."""
    return "\\".join(_TO_TEXT.get(vr, _plain)(value) for value in values)


def _text(vr: str, values: Sequence[Any]) -> bytes:
    return text_of(vr, values).encode("utf-8" if vr in DECLARED_VRS else "latin-1")


def _plain(value: str | None) -> str:
    return value or ""


def _decimal(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    text = repr(value).removesuffix(".0")
    return text if len(text) <= _MAX_DS_LENGTH else format_number_as_ds(float(value))


def _integer(value: int | str | None) -> str:
    return "" if value is None else str(value)


def _person_name(name: dict[str, str] | None) -> str:
    return "=".join((name or {}).get(group, "") for group in _GROUPS).rstrip("=")


_TO_TEXT: dict[str, Callable[[Any], str]] = {
    "DS": _decimal,
    "IS": _integer,
    "PN": _person_name,
}


def _numbers(vr: str, values: Sequence[Any]) -> bytes:
    numbers = map(float, values) if vr in {"FD", "FL"} else values
    return pack(f"<{len(values)}{_CODES[vr]}", *numbers)


def _attribute_tags(_: str, tags: Sequence[str]) -> bytes:
    halves: Iterator[int] = (int(tag[i : i + 4], 16) for tag in tags for i in (0, 4))
    return pack(f"<{2 * len(tags)}H", *halves)


_ENCODE: dict[str, Callable[[str, Sequence[Any]], bytes]] = {
    "AT": _attribute_tags,
    **dict.fromkeys(_CODES, _numbers),
    **dict.fromkeys((*TEXT_VRS, "UI"), _text),
}
