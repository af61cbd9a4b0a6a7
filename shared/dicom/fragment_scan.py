"""Scanning the items of an encapsulated value.

Standard: PS3.5 A.4 (2025b).
"""

from struct import Struct

from shared.dicom.frames import END_OF_IMAGE_WINDOW, Fragments
from shared.dicom.header import Limits, NeedsPydicom
from shared.dicom.window import Window
from shared.errors import InvalidInstanceError

_ITEM_HEADER = Struct("<4sI")
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF


class FragmentScan:
    """Gathers where fragments are; of their bytes only the last few are looked at."""

    def __init__(self, window: Window, limits: Limits) -> None:
        self.fragments = Fragments()
        self.is_complete = False
        self._window = window
        self._limits = limits
        self._fragment = (0, 0)
        self._is_at_end_of_fragment = False

    def step(self) -> int:
        """Read on, and give 0, or how many bytes from the position are needed to read on.

        Raises:
            NeedsPydicom: The value is not made of items.
            InvalidInstanceError: A bound is broken.
        """
        return self._end_of_fragment() if self._is_at_end_of_fragment else self._next_item()

    def _next_item(self) -> int:
        window = self._window
        at = window.position
        if at + _ITEM_HEADER.size > len(window.buffer):
            return _ITEM_HEADER.size
        tag, length = _ITEM_HEADER.unpack_from(window.buffer, at)
        start = at + _ITEM_HEADER.size
        if tag == _SEQUENCE_END:
            window.position = start
            self.is_complete = True
            return 0
        if tag != _ITEM or length == _UNDEFINED:
            raise NeedsPydicom
        if self.fragments.basic_offsets is None:
            return self._offset_table(start, length)
        if len(self.fragments.lengths) >= self._limits.max_fragments:
            raise InvalidInstanceError("The pixel data has more fragments than this service takes.")
        self._fragment = (window.base + start, length)
        self._is_at_end_of_fragment = True
        window.position = start + length - min(length, END_OF_IMAGE_WINDOW)
        return 0

    def _offset_table(self, start: int, length: int) -> int:
        window, end = self._window, start + length
        if length > self._limits.max_held_length:
            raise InvalidInstanceError("The basic offset table is too long.")
        if end > len(window.buffer):
            return end - window.position
        self.fragments.basic_offsets = window.buffer[start:end]
        window.position = end
        return 0

    def _end_of_fragment(self) -> int:
        window = self._window
        offset, length = self._fragment
        end = window.position + min(length, END_OF_IMAGE_WINDOW)
        if end > len(window.buffer):
            return end - window.position
        self.fragments.add(offset, length, window.buffer[window.position : end])
        window.position = end
        self._is_at_end_of_fragment = False
        return 0
