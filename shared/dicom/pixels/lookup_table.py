"""Lookup tables: of the modality, of values of interest, of palettes.

Standard: PS3.3 C.11.1.1, C.11.2.1.1 and C.7.6.3.1.5 (2025b).
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from shared.errors import NotAcceptableError

_ENTRIES = 1 << 16
_OCTET, _WORD = 8, 16


@dataclass(frozen=True, slots=True)
class LookupTable:
    """What each value becomes.

    Attributes:
        first: The value that the first entry is for; it is also for those below.
        entries: One for each value from `first` on, the last also for those above.
        bits: Of an entry.
    """

    first: int
    entries: NDArray[np.uint16]
    bits: int

    @classmethod
    def of(cls, dataset: Dataset, prefix: str = "LUT", data: str | None = None) -> Self:
        """Read the table whose descriptor is the attribute `prefix` and "Descriptor".

        `data` is the keyword of its values, where that is not `prefix` and "Data".

        Raises:
            NotAcceptableError: The table is not as long as it should be.
        """
        count, first, bits = descriptor(dataset, f"{prefix}Descriptor")
        entries = words(dataset, data or f"{prefix}Data", count, bits)
        if len(entries) < count:
            raise NotAcceptableError("A lookup table of the image is shorter than it should be.")
        return cls(first, entries[:count], bits)

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Look up values, which are rounded to whole numbers."""
        index = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[index]


def descriptor(dataset: Dataset, keyword: str) -> tuple[int, int, int]:
    """The number of entries, the first value mapped, and the bits of an entry.

    Raises:
        NotAcceptableError: It is not three numbers, or they cannot be.
    """
    value = dataset.get(keyword)
    try:
        count, first, bits = (int(number) for number in value)
    except (TypeError, ValueError) as error:
        raise NotAcceptableError("A lookup table of the image has no descriptor.") from error
    if not 0 <= count <= _ENTRIES or not _OCTET <= bits <= _WORD:
        raise NotAcceptableError("A lookup table of the image has an impossible descriptor.")
    return count or _ENTRIES, first, bits


def words(dataset: Dataset, keyword: str, count: int, bits: int) -> NDArray[np.uint16]:
    """The values of a table, be they numbers, words or, where the words are too few, bytes.

    Raises:
        NotAcceptableError: There are none.
    """
    value = dataset.get(keyword)
    if isinstance(value, bytes):
        is_little_endian = dataset.original_encoding[1] is not False
        order = "<" if is_little_endian else ">"
        found = np.frombuffer(value, f"{order}u2", len(value) // 2).astype(np.uint16)
        if bits > _OCTET or len(found) >= count:
            return found
        return np.frombuffer(found.tobytes(), np.uint8).astype(np.uint16)
    try:
        return np.array(value, np.int64).reshape(-1).astype(np.uint16)
    except (TypeError, ValueError) as error:
        raise NotAcceptableError("A lookup table of the image has no values.") from error
