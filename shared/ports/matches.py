"""What a search finds."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.dicom.json_model import Document
from shared.dicom.resource import ResourcePath


@dataclass(frozen=True, slots=True)
class Match:
    """One result of a search.

    Attributes:
        attributes: Everything the rows of the result's level and of the levels above keep, merged.
        computed: The computed attributes of the result's level and of the levels above
            (shared.dicom.searchable.COMPUTED), without those that depend on the request.
        newest_blob_id: Names the metadata of the newest instance below the result, for what rows
            do not keep.
        transfer_syntax_uid: In which the result is stored, if it is an instance.
        has_pixels: Whether it is an instance with pixel data.
    """

    path: ResourcePath
    attributes: Document
    computed: Document
    newest_blob_id: str
    transfer_syntax_uid: str | None = None
    has_pixels: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """A page of results.

    Attributes:
        results: The first results of the page, all of them unless it is a large one.
        remaining: How many come after the page, None when they were not counted.
        keys: The index's own keys of the other results of the page, to be read as they are needed.
    """

    results: Sequence[Match]
    remaining: int | None = None
    keys: Sequence[int] = ()
