"""Scanning a little-endian data set, a buffer at a time, into the JSON model.

Standard: PS3.5 7.1, 7.5 and A.4 (2025b).
"""

import sys
from dataclasses import dataclass
from struct import Struct

from shared.dicom.charset import DEFAULT_ENCODINGS, encodings_of
from shared.dicom.dictionary import (
    EXTENDED_OFFSET_TABLES,
    PIXEL_DATA,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    US_OR_SS,
    correct_lut_descriptor,
    is_signed,
    key_of,
    settle,
    vr_of,
)
from shared.dicom.fragment_scan import FragmentScan
from shared.dicom.frames import Fragments
from shared.dicom.header import BulkValue, Limits, NeedsPydicom, PixelDataElement
from shared.dicom.plain_elements import (
    HEADER_LENGTH,
    OpenDataSet,
    take_explicit,
    take_implicit,
)
from shared.dicom.value_representation import (
    BULK_VRS,
    CONVERT,
    LONG_VRS,
    MAY_BE_BY_REFERENCE,
    TEXT_VRS,
    Document,
    Element,
)
from shared.dicom.window import Window
from shared.errors import InvalidInstanceError

_EXPLICIT = Struct("<4s2sH").unpack_from
_IMPLICIT = Struct("<4sI").unpack_from
_LENGTH = Struct("<I").unpack_from
_ITEM = b"\xfe\xff\x00\xe0"
_ITEM_END = b"\xfe\xff\x0d\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_ITEM_GROUP = 0xFFFE
_LONG_HEADER_LENGTH = 12
_UNBOUNDED = sys.maxsize

_VRS = {vr.encode(): vr for vr in [*CONVERT, "SQ"]}


@dataclass(slots=True)
class _Sequence:
    """A sequence being read, and the data set it is in."""

    parent: OpenDataSet
    element: Element
    items: list[Document]
    limit: int
    is_implicit: bool
    path: str


@dataclass(slots=True)
class _Encapsulated:
    """An encapsulated value being read."""

    element: Element
    path: str
    offset: int
    scan: FragmentScan


@dataclass(slots=True)
class _Undecided:
    """A value that is signed or not by an attribute that may yet come."""

    element: Element
    key: str
    raw: bytes
    documents: tuple[Document, ...]


class DataSetScan(Window):
    """The state of a scan.

    `base` is the offset in the file of the buffer's first byte. `run` advances `position`, beyond
    the end of the buffer when a value is to be skipped.
    """

    def __init__(self, window: Window, limits: Limits, *, is_implicit: bool) -> None:
        super().__init__(window.buffer, window.position, window.base)
        self.bulk_values: list[BulkValue] = []
        self.pixel_data: PixelDataElement | None = None
        self.fragments: Fragments | None = None
        self.offset_tables: dict[str, bytes] = {}
        self.character_sets: tuple[str, ...] = ()
        self._limits = limits
        self._file_is_explicit = not is_implicit
        self._current = OpenDataSet({}, _UNBOUNDED, DEFAULT_ENCODINGS, is_implicit, "")
        self.document = self._current.document
        self._sequences: list[_Sequence] = []
        self._encapsulated = _Encapsulated({}, "", 0, FragmentScan(self, limits))
        self._undecided: list[_Undecided] = []
        self._nul_ended: list[str] = []
        self._elements_left = limits.max_elements
        self._bytes_left = limits.max_held_length
        self._phase = self._first_element if is_implicit else self._next_elements

    def run(self) -> int:
        """Read on as far as the buffer goes, and give how many bytes from `position` come next.

        It is 0 when `position` is beyond the buffer.

        Raises:
            NeedsPydicom: This is not as the Standard has it.
            InvalidInstanceError: A bound is broken.
        """
        needed = 0
        while not needed and self.position <= len(self.buffer):
            needed = self._phase()
        return needed

    @property
    def is_between_elements(self) -> bool:
        """Whether the data set may end here."""
        return not self._sequences and self._phase == self._next_elements

    @property
    def is_in_native_pixels(self) -> bool:
        """Whether the last element read is native pixel data."""
        pixels = self.pixel_data
        is_native = pixels is not None and pixels.length is not None
        return is_native and self.is_between_elements and self._current.last in PIXEL_DATA

    def close(self) -> tuple[str, ...]:
        """Settle what could not be settled before, and give the tags padded with NUL."""
        for late in self._undecided:
            vr = "SS" if is_signed(late.documents) else "US"
            late.element.update(CONVERT[vr](late.raw, DEFAULT_ENCODINGS))
            correct_lut_descriptor(late.key, late.element)
        return tuple(
            key for key in self._nul_ended if self.document.get(key, {}).get("vr") in TEXT_VRS
        )

    def _first_element(self) -> int:
        """See whether what should be implicit VR is; some senders err, in items above all."""
        at = self.position
        if self.base + at < self._current.limit:
            if at + HEADER_LENGTH > len(self.buffer):
                return HEADER_LENGTH
            if self.buffer[at + 4 : at + 6].isupper() and self.buffer[at + 4 : at + 6].isalpha():
                raise NeedsPydicom
        self._phase = self._next_elements
        return 0

    def _next_elements(self) -> int:
        current = self._current
        start, before = self.position, len(current.document)
        # One more than may be held, so that the bound is seen to be broken below.
        stop = min(len(self.buffer), current.limit - self.base, start + self._bytes_left + 1)
        take = take_implicit if current.is_implicit else take_explicit
        nul_ended = [] if self._sequences else self._nul_ended
        self.position = take(
            current, self.buffer, (start, stop, self._limits.bulk_threshold), nul_ended
        )
        self._hold(self.position - start, len(current.document) - before)
        return self._next_element(current)

    def _hold(self, length: int, elements: int) -> None:
        self._bytes_left -= length
        self._elements_left -= elements
        if self._bytes_left < 0 or self._elements_left < 0:
            raise InvalidInstanceError("The data set has more attributes than this service takes.")

    def _next_element(self, current: OpenDataSet) -> int:
        """Take one element of any kind."""
        at, buffer = self.position, self.buffer
        if self.base + at >= current.limit:
            return self._close_item(current, at)
        if at + HEADER_LENGTH > len(buffer):
            return HEADER_LENGTH
        tag, written, length = _EXPLICIT(buffer, at)
        if tag == _ITEM_END:
            return self._delimited_item(current, at)
        vr, start = None, at + HEADER_LENGTH
        if current.is_implicit:
            length = _LENGTH(buffer, at + 4)[0]
        else:
            vr = _VRS.get(written)
            if vr is None:
                raise NeedsPydicom
            if vr in LONG_VRS:
                if at + _LONG_HEADER_LENGTH > len(buffer):
                    return _LONG_HEADER_LENGTH
                length, start = _LENGTH(buffer, at + 8)[0], at + _LONG_HEADER_LENGTH
        number = int.from_bytes(tag[1::-1]) << 16 | int.from_bytes(tag[:1:-1])
        return self._element(current, number, (vr, start, length))

    def _element(self, current: OpenDataSet, tag: int, field: tuple[str | None, int, int]) -> int:
        written, start, length = field
        key = key_of(tag)
        # Out of order, or a group that has no place here: pydicom's reading decides.
        if key <= current.last or tag >> 16 == _ITEM_GROUP:
            raise NeedsPydicom
        vr = settle(vr_of(tag, written, length), current.document)
        if key == SPECIFIC_CHARACTER_SET and vr != "CS":
            raise NeedsPydicom
        if vr == "SQ":
            return self._open_sequence(current, key, (written, start, length))
        if length == UNDEFINED:
            return self._open_encapsulated(current, key, (vr, start))
        if self.base + start + length > current.limit:
            raise NeedsPydicom
        is_pixel_data = key in PIXEL_DATA
        if is_pixel_data or length > self._inline_limit(vr):
            return self._refer(current, key, (vr, start, length))
        return self._take(current, key, (vr, start, length))

    def _inline_limit(self, vr: str) -> int:
        if vr in BULK_VRS:
            return self._limits.bulk_threshold
        return self._limits.max_value_length

    def _take(self, current: OpenDataSet, key: str, field: tuple[str, int, int]) -> int:
        """Take a value into the document."""
        vr, start, length = field
        end = start + length
        if end > len(self.buffer):
            return end - self.position
        raw = self.buffer[start:end]
        self._hold(end - self.position, 1)
        self.position = end
        current.last = key
        if not raw:
            taken: Element = {"vr": "US" if vr == US_OR_SS else vr}
        elif vr == US_OR_SS:
            taken = {}
            documents = (
                *(sequence.parent.document for sequence in self._sequences),
                current.document,
            )
            self._undecided.append(_Undecided(taken, key, raw, documents))
        else:
            taken = CONVERT[vr](raw, current.encodings)
            correct_lut_descriptor(key, taken)
        self._notice(current, key, (raw, taken))
        if not key.endswith("0000"):
            current.document[key] = taken
        return 0

    def _notice(self, current: OpenDataSet, key: str, value: tuple[bytes, Element]) -> None:
        """Remember what later elements, or the header, depend on."""
        raw, taken = value
        is_root = not self._sequences
        if key == SPECIFIC_CHARACTER_SET:
            declared = tuple(term or "" for term in taken.get("Value", ()))
            current.encodings = encodings_of(declared)
            if is_root:
                self.character_sets = declared
            taken["Value"] = ["ISO_IR 192"]
        elif is_root and key in EXTENDED_OFFSET_TABLES:
            self.offset_tables[key] = raw
        elif is_root and raw.endswith(b"\0"):
            self._nul_ended.append(key)

    def _refer(self, current: OpenDataSet, key: str, field: tuple[str, int, int]) -> int:
        """Give a value by reference, and skip it."""
        vr, start, length = field
        if vr not in MAY_BE_BY_REFERENCE:
            raise InvalidInstanceError("A value is longer than its value representation allows.")
        if not self._sequences and key in EXTENDED_OFFSET_TABLES:
            if length > self._limits.max_held_length:
                raise InvalidInstanceError("The extended offset table is too long.")
            if start + length > len(self.buffer):
                return start + length - self.position
            self.offset_tables[key] = self.buffer[start : start + length]
        self._hold(start - self.position, 1)
        path = current.path + key
        element: Element = {"vr": vr}
        if length:
            element["BulkDataURI"] = path
            self.bulk_values.append(BulkValue(path, self.base + start, length, element))
        current.document[key] = element
        current.last = key
        if not self._sequences and key in PIXEL_DATA:
            self.pixel_data = PixelDataElement(PIXEL_DATA[key], vr, self.base + start, length)
        self.position = start + length
        return 0

    def _open_sequence(
        self, current: OpenDataSet, key: str, field: tuple[str | None, int, int]
    ) -> int:
        written, start, length = field
        if len(self._sequences) >= self._limits.max_depth:
            raise InvalidInstanceError("Sequences are nested deeper than this service takes.")
        limit = _UNBOUNDED if length == UNDEFINED else self.base + start + length
        if length != UNDEFINED and limit > current.limit:
            raise NeedsPydicom
        self._hold(start - self.position, 1)
        self.position = start
        element: Element = {"vr": "SQ"}
        current.document[key] = element
        current.last = key
        is_implicit = current.is_implicit or written == "UN"
        self._sequences.append(
            _Sequence(current, element, [], limit, is_implicit, current.path + key)
        )
        self._phase = self._next_item
        return 0

    def _next_item(self) -> int:
        sequence, at = self._sequences[-1], self.position
        if self.base + at >= sequence.limit:
            return self._close_sequence(sequence)
        if at + HEADER_LENGTH > len(self.buffer):
            return HEADER_LENGTH
        tag, length = _IMPLICIT(self.buffer, at)
        self._hold(HEADER_LENGTH, 1)
        self.position = at + HEADER_LENGTH
        if tag == _SEQUENCE_END and sequence.limit == _UNBOUNDED:
            return self._close_sequence(sequence)
        limit = _UNBOUNDED if length == UNDEFINED else self.base + self.position + length
        if tag != _ITEM or (length != UNDEFINED and limit > sequence.limit):
            raise NeedsPydicom
        document: Document = {}
        sequence.items.append(document)
        path = f"{sequence.path}/{len(sequence.items)}/"
        encodings = sequence.parent.encodings
        self._current = OpenDataSet(document, limit, encodings, sequence.is_implicit, path)
        is_doubtful = sequence.is_implicit and self._file_is_explicit
        self._phase = self._first_element if is_doubtful else self._next_elements
        return self._phase()

    def _close_sequence(self, sequence: _Sequence) -> int:
        if self.base + self.position > sequence.limit:
            raise NeedsPydicom
        if sequence.items:
            sequence.element["Value"] = sequence.items
        self._sequences.pop()
        self._current = sequence.parent
        self._phase = self._next_elements
        return 0

    def _close_item(self, current: OpenDataSet, at: int) -> int:
        if self.base + at > current.limit:
            raise NeedsPydicom
        self._phase = self._next_item
        return 0

    def _delimited_item(self, current: OpenDataSet, at: int) -> int:
        if not self._sequences or current.limit != _UNBOUNDED:
            raise NeedsPydicom
        self.position = at + HEADER_LENGTH
        self._phase = self._next_item
        return 0

    def _open_encapsulated(self, current: OpenDataSet, key: str, field: tuple[str, int]) -> int:
        vr, start = field
        if vr not in BULK_VRS:
            raise NeedsPydicom
        if current.is_implicit and key in PIXEL_DATA:
            vr = "OB"
        self._hold(start - self.position, 1)
        self.position = start
        path = current.path + key
        element: Element = {"vr": vr, "BulkDataURI": path}
        current.document[key] = element
        current.last = key
        is_pixel_data = not self._sequences and key in PIXEL_DATA
        offset = self.base + start
        scan = FragmentScan(self, self._limits)
        if is_pixel_data:
            self.fragments = scan.fragments
            self.pixel_data = PixelDataElement(PIXEL_DATA[key], vr, offset, None)
        self._encapsulated = _Encapsulated(element, path, offset, scan)
        self._phase = self._next_fragment
        return 0

    def _next_fragment(self) -> int:
        scan = self._encapsulated.scan
        needed = scan.step()
        if scan.is_complete:
            self._close_encapsulated()
        return needed

    def _close_encapsulated(self) -> None:
        value = self._encapsulated
        length = self.base + self.position - HEADER_LENGTH - value.offset
        self.bulk_values.append(BulkValue(value.path, value.offset, length, value.element))
        self._phase = self._next_elements
