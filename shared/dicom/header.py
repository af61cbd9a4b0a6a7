"""What one reading of a Part 10 file yields: everything that Store needs, and no pixels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from shared.dicom.frames import FramePositions
from shared.dicom.preamble import PreambleKind
from shared.dicom.value_representation import Document, Element


class NeedsPydicom(Exception):  # noqa: N818 - a signal, not an error
    """The scan gives up on an odd or rare encoding; reading it with pydicom may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what a header may make us hold; lengths are bytes.

    Attributes:
        bulk_threshold: A longer value of a binary VR is given by reference.
        max_value_length: A longer value of a text or number VR is given by reference, or refused
            if the Standard does not allow that for its VR. Not less than 65 535.
        max_held_length: Of all values together that are not given by reference.
        max_elements: Elements and sequence items together.
        max_depth: Of sequences in sequences.
        max_fragments: Of encapsulated pixel data.
        max_inflated_length: Of a deflated data set.
        max_inflation_ratio: Of a deflated data set longer than 1 MiB once inflated.
    """

    bulk_threshold: int = 1024
    max_value_length: int = 1 << 20
    max_held_length: int = 32 << 20
    max_elements: int = 1_000_000
    max_depth: int = 64
    max_fragments: int = 2_000_000
    max_inflated_length: int = 256 << 20
    max_inflation_ratio: int = 200


@dataclass(frozen=True, slots=True)
class PixelDataElement:
    """The pixel data of the data set itself, not of an icon in it.

    `offset` counts from the start of the file: of the value field when native, of the item tag of
    the basic offset table when encapsulated; `length` is None when undefined.
    """

    keyword: str
    vr: str
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class BulkValue:
    """A value that the document gives by reference.

    `path` is tags and 1-based item numbers: `7FE00010`, `00081140/1/00420011`; it also stands as
    BulkDataURI in `element`, which is the very object in the document, for the caller to rewrite.
    An encapsulated value begins with the item of its offset table and ends before its delimiter.
    """

    path: str
    offset: int
    length: int
    element: Element


def values_within(values: Iterable[BulkValue], end: int) -> Iterator[BulkValue]:
    """Values as far as a file of `end` bytes has them; one it has nothing of is no reference."""
    for value in values:
        if value.offset + value.length <= end:
            yield value
        elif value.offset < end:
            yield replace(value, length=end - value.offset)
        else:
            del value.element["BulkDataURI"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A Part 10 file without its bulk values.

    Attributes:
        document: The data set in the JSON model, text in UTF-8 whatever it was declared in.
        character_sets: Specific Character Set as it was declared, which `document` no longer says.
        null_padded: Tags of top-level text attributes whose value field ends in NUL; the document
            is free of padding. UIDs, where NUL is right, are never among them.
        is_truncated: The file ends inside a value.
        is_inflated: The data set was deflated; positions are those in the file if it were not.
    """

    transfer_syntax_uid: str
    preamble: PreambleKind
    media_storage_sop_class_uid: str | None
    media_storage_sop_instance_uid: str | None
    document: Document
    pixel_data: PixelDataElement | None
    bulk_values: tuple[BulkValue, ...]
    frames: FramePositions | None
    character_sets: tuple[str, ...]
    null_padded: tuple[str, ...]
    is_truncated: bool
    is_inflated: bool = False
