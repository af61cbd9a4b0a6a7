"""Where each frame of an image lies in its file.

Frames are 0-based here. Standard: PS3.5 8.1.1, 8.2 and A.4, PS3.3 C.7.6.3 (2025b).
"""

from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from struct import unpack
from typing import Any, NamedTuple

import orjson

from shared.dicom.value_representation import Document

ROWS, COLUMNS, SAMPLES_PER_PIXEL = "00280010", "00280011", "00280002"
BITS_ALLOCATED, NUMBER_OF_FRAMES, PHOTOMETRIC = "00280100", "00280008", "00280004"
END_OF_IMAGE_WINDOW = 10
"""How many bytes at the end of a fragment are searched for JPEG's end of image."""

_ITEM_HEADER = 8
_MAX_FRAMES = 2**31 - 1
_MAX_US = 0xFFFF
_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_BITS_ALLOCATED = frozenset({1, 8, 16, 32, 64})
# Native chrominance at half the columns, or half of both (PS3.3 C.7.6.3.1.2): numerator over 6.
_SUBSAMPLED_SIXTHS = {"YBR_FULL_422": 4, "YBR_PARTIAL_422": 4, "YBR_PARTIAL_420": 3}


class ByteRange(NamedTuple):
    """Bytes of a file: `offset` from its start, and how many."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class NativeFrames:
    """Frames one after the other without gaps, at `offset` bytes from the start of the file.

    When `frame_bits` is no multiple of 8 (1-bit images), the range of a frame is the shortest that
    holds it; its first `bit_offset(frame)` low-order bits belong to the frame before.
    """

    offset: int
    frame_bits: int
    count: int

    def range_of(self, frame: int) -> tuple[ByteRange, ...]:
        """The one range that holds a frame.

        Raises:
            IndexError: There is no such frame.
        """
        if not 0 <= frame < self.count:
            raise IndexError(frame)
        first, last = frame * self.frame_bits, (frame + 1) * self.frame_bits
        start = first >> 3
        return (ByteRange(self.offset + start, (last + 7 >> 3) - start),)

    def bit_offset(self, frame: int) -> int:
        """How many low-order bits of the first byte are not of this frame."""
        return frame * self.frame_bits & 7

    def to_json(self) -> str:
        """All there is to know, in less than 80 characters."""
        return orjson.dumps({"native": [self.offset, self.frame_bits, self.count]}).decode()


@dataclass(frozen=True, slots=True)
class EncapsulatedFrames:
    """Frames made of one or more fragments each.

    Attributes:
        offset: Of the first byte of the first fragment, from the start of the file.
        lengths: Of each fragment, items following one another as PS3.5 A.4 has them.
        firsts: Index of the first fragment of each frame, then the number of fragments; None when
            each frame is one fragment.
        paddings: Bytes at the end of each frame's last fragment that are not of the frame; None
            when there are none.
    """

    offset: int
    lengths: array[int]
    firsts: array[int] | None = None
    paddings: bytes | None = None
    _starts: array[int] | None = None

    def __post_init__(self) -> None:
        steps = accumulate(
            (length + _ITEM_HEADER for length in self.lengths[:-1]), initial=self.offset
        )
        object.__setattr__(self, "_starts", array("Q", steps if self.lengths else ()))

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self.lengths) if self.firsts is None else len(self.firsts) - 1

    def range_of(self, frame: int) -> tuple[ByteRange, ...]:
        """The ranges that make up a frame, in order, without the item headers between them.

        Raises:
            IndexError: There is no such frame.
        """
        if not 0 <= frame < self.count or self._starts is None:
            raise IndexError(frame)
        first, end = frame, frame + 1
        if self.firsts is not None:
            first, end = self.firsts[frame], self.firsts[frame + 1]
        padding = self.paddings[frame] if self.paddings else 0
        return tuple(
            ByteRange(self._starts[i], self.lengths[i] - (padding if i == end - 1 else 0))
            for i in range(first, end)
        )

    def bit_offset(self, frame: int) -> int:  # noqa: ARG002 - the same question as of native frames
        """Zero: an encapsulated frame begins at a byte."""
        return 0

    def to_json(self) -> str:
        """Compact text, about 5 characters a fragment; small for all but the largest images."""
        fields: dict[str, Any] = {"encapsulated": self.offset, "lengths": _pack(self.lengths)}
        if self.firsts is not None:
            fields["firsts"] = _pack(self.firsts)
        if self.paddings is not None:
            fields["paddings"] = b64encode(self.paddings).decode()
        return orjson.dumps(fields).decode()


type FramePositions = NativeFrames | EncapsulatedFrames


def from_json(text: str | bytes) -> FramePositions:
    """Read back what `to_json` wrote."""
    fields = orjson.loads(text)
    if "native" in fields:
        return NativeFrames(*fields["native"])
    return EncapsulatedFrames(
        fields["encapsulated"],
        _unpack(fields["lengths"]),
        _unpack(fields["firsts"]) if "firsts" in fields else None,
        b64decode(fields["paddings"]) if "paddings" in fields else None,
    )


def _pack(numbers: array[int]) -> str:
    return b64encode(numbers.tobytes()).decode()


def _unpack(text: str) -> array[int]:
    numbers = array("I")
    numbers.frombytes(b64decode(text))
    return numbers


def native_frames(
    document: Document, keyword: str, offset: int, length: int
) -> NativeFrames | None:
    """Where native frames lie, of which `length` bytes are there.

    A frame of which bytes are missing does not exist. None when the image's description does not
    tell how long a frame is.
    """
    frame_bits = _frame_bits(document, keyword)
    declared = number_of_frames(document)
    if not frame_bits or not declared:
        return None
    return NativeFrames(offset, frame_bits, min(declared, length * 8 // frame_bits))


def _frame_bits(document: Document, keyword: str) -> int:
    rows, columns = _us(document, ROWS), _us(document, COLUMNS)
    bits = _FLOAT_BITS.get(keyword) or _us(document, BITS_ALLOCATED)
    samples = _us(document, SAMPLES_PER_PIXEL) or 1
    if bits not in _BITS_ALLOCATED:
        return 0
    size = rows * columns * samples * bits
    photometric = document.get(PHOTOMETRIC, {}).get("Value", [None])[0]
    return size * _SUBSAMPLED_SIXTHS.get(str(photometric), 6) // 6


def _us(document: Document, tag: str) -> int:
    value = document.get(tag, {}).get("Value", [0])[0]
    return value if isinstance(value, int) and 0 < value <= _MAX_US else 0


def number_of_frames(document: Document) -> int:
    """The declared number of frames: 1 where nothing is declared, 0 where it is nonsense."""
    value = document.get(NUMBER_OF_FRAMES, {}).get("Value", [1])[0]
    return value if isinstance(value, int) and 0 < value <= _MAX_FRAMES else 0


class Fragments:
    """The items of an encapsulated value, gathered one by one.

    Offsets count from the start of the file. `basic_offsets` is the value of the first item.
    """

    __slots__ = ("basic_offsets", "first", "last_in_frame", "lengths")

    def __init__(self) -> None:
        self.basic_offsets: bytes | None = None
        self.first = 0
        self.lengths = array("I")
        self.last_in_frame = bytearray()

    def add(self, offset: int, length: int, end: bytes) -> None:
        """Add a fragment, given its last bytes."""
        if not self.lengths:
            self.first = offset
        self.lengths.append(length)
        # A JPEG end of image, with what padding there may be after it.
        self.last_in_frame.append(b"\xff\xd9" in end)

    def item_offsets(self) -> Iterator[int]:
        """Where each item begins, counted from the first fragment's item as offset tables do."""
        return accumulate((length + _ITEM_HEADER for length in self.lengths), initial=0)


def encapsulated_frames(
    fragments: Fragments,
    declared: int,
    *,
    is_video: bool = False,
    extended: tuple[bytes, bytes] | None = None,
) -> EncapsulatedFrames | None:
    """Where encapsulated frames lie, or None where that is not certain.

    In order of trust: one frame; the extended offset table; the basic offset table; a fragment a
    frame; JPEG's end of image at the end of a fragment. A table is trusted when it has one entry a
    frame and each entry is where a fragment begins. A video is one stream, given as one frame.
    """
    lengths = fragments.lengths
    if not lengths or not declared:
        return None
    if declared == 1 or is_video:
        return _frames(fragments, [0])
    if extended is not None:
        found = _by_extended_offsets(fragments, extended, declared)
        if found is not None:
            return found
    firsts = _by_basic_offsets(fragments, declared)
    if firsts is None and len(lengths) > declared:
        firsts = _by_end_of_image(fragments, declared)
    if firsts is not None:
        return _frames(fragments, firsts)
    return EncapsulatedFrames(fragments.first, lengths) if len(lengths) == declared else None


def _frames(
    fragments: Fragments, firsts: list[int], paddings: bytes | None = None
) -> EncapsulatedFrames:
    count = len(fragments.lengths)
    is_plain = len(firsts) == count
    bounds = None if is_plain else array("I", [*firsts, count])
    return EncapsulatedFrames(fragments.first, fragments.lengths, bounds, paddings)


def _fragments_at(fragments: Fragments, offsets: tuple[int, ...]) -> list[int] | None:
    """The fragments that begin at these offsets, or None unless all do, in order from the first."""
    starts = list(fragments.item_offsets())[:-1]
    indexes = [bisect_left(starts, offset) for offset in offsets]
    found = all(
        index < len(starts) and starts[index] == offset
        for index, offset in zip(indexes, offsets, strict=True)
    )
    is_ascending = all(a < b for a, b in pairwise(indexes))
    return indexes if found and is_ascending and indexes[0] == 0 else None


def _by_basic_offsets(fragments: Fragments, declared: int) -> list[int] | None:
    table = fragments.basic_offsets or b""
    if len(table) != declared * 4:
        return None
    return _fragments_at(fragments, unpack(f"<{declared}I", table))


def _by_extended_offsets(
    fragments: Fragments, tables: tuple[bytes, bytes], declared: int
) -> EncapsulatedFrames | None:
    if any(len(table) != declared * 8 for table in tables):
        return None
    firsts = _fragments_at(fragments, unpack(f"<{declared}Q", tables[0]))
    lengths = unpack(f"<{declared}Q", tables[1])
    # The Standard allows one fragment a frame here (PS3.3 C.7.6.3.1.8).
    if firsts is None or len(firsts) != len(fragments.lengths):
        return None
    paddings = [held - real for held, real in zip(fragments.lengths, lengths, strict=True)]
    if not all(0 <= padding <= 1 for padding in paddings):
        return None
    return _frames(fragments, firsts, bytes(paddings) if any(paddings) else None)


def _by_end_of_image(fragments: Fragments, declared: int) -> list[int] | None:
    ends = [i + 1 for i, is_last in enumerate(fragments.last_in_frame) if is_last]
    is_whole = len(ends) == declared and ends[-1] == len(fragments.lengths)
    return [0, *ends[:-1]] if is_whole else None
