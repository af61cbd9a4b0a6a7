"""Palettes: numbers that stand for colours.

Standard: PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9 and C.7.6.19 (2025b).
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from shared.dicom.pixels.lookup_table import LookupTable, descriptor, words
from shared.errors import NotAcceptableError

_COLORS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
_OCTET = 8


@dataclass(frozen=True, slots=True)
class Palette:
    """The colour of each value, (entries, 3) of 8 bits; `first` is the value of the first one."""

    first: int
    colors: NDArray[np.uint8]

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Read the palette of an image.

        Raises:
            NotAcceptableError: It has none, or one that is damaged.
        """
        tables = [_table(dataset, f"{color}PaletteColorLookupTable") for color in _COLORS]
        lengths = {len(table.entries) for table in tables}
        if len(lengths) > 1 or len({table.first for table in tables}) > 1:
            raise NotAcceptableError("The colours of the palette differ in length.")
        columns = [table.entries >> (table.bits - _OCTET) for table in tables]
        return cls(tables[0].first, np.stack(columns, axis=-1).astype(np.uint8))

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The colours of values, (..., 3)."""
        return self.colors[np.clip(values.astype(np.int64) - self.first, 0, len(self.colors) - 1)]


def _table(dataset: Dataset, prefix: str) -> LookupTable:
    segmented = f"Segmented{prefix}Data"
    if segmented not in dataset:
        return LookupTable.of(dataset, prefix)
    count, first, bits = descriptor(dataset, f"{prefix}Descriptor")
    data = words(dataset, segmented, 0, bits)
    if bits == _OCTET:
        data = np.frombuffer(data.tobytes(), np.uint8).astype(np.uint16)
    try:
        entries = _Expansion(data.tolist(), count, is_of_octets=bits == _OCTET).run()
    except (IndexError, ZeroDivisionError) as error:
        raise NotAcceptableError("The segments of the palette end too early.") from error
    return LookupTable(first, entries, bits)


class _Expansion:
    """The entries that segments stand for, never more than the descriptor has."""

    def __init__(self, data: list[int], count: int, *, is_of_octets: bool) -> None:
        self._data = data
        self._count = count
        self._is_of_octets = is_of_octets
        self._entries: list[int] = []

    def run(self) -> NDArray[np.uint16]:
        at = 0
        while len(self._entries) < self._count:
            at = self._expand(at)
        return np.array(self._entries[: self._count], np.uint16)

    def _expand(self, at: int) -> int:
        """Expand the segment at a place, and give the place after it."""
        kind, length = self._data[at], self._data[at + 1]
        if not length:
            raise IndexError(at)
        if kind == _INDIRECT:
            return self._repeat(at, length)
        return self._direct(at)

    def _direct(self, at: int) -> int:
        kind, length = self._data[at], self._data[at + 1]
        if kind == _DISCRETE:
            self._entries += [self._data[at + 2 + number] for number in range(length)]
            return at + 2 + length
        if kind != _LINEAR or not self._entries:
            raise IndexError(at)
        start, end = self._entries[-1], self._data[at + 2]
        step = (end - start) / length
        self._entries += [round(start + step * number) for number in range(1, length + 1)]
        return at + 3

    def _repeat(self, at: int, segments: int) -> int:
        """Expand again so many segments from an offset; none of those is indirect (C.7.9.2.3)."""
        width = 4 if self._is_of_octets else 2
        low, *high = self._data[at + 2 : at + 2 + width]
        bits = _OCTET if self._is_of_octets else 16
        there = low
        for number, part in enumerate(high, 1):
            there |= part << bits * number
        for _ in range(segments):
            if len(self._entries) >= self._count:
                break
            there = self._direct(there)
        return at + 2 + width
