"""Search: find studies, series and instances (PS3.18 10.6, 2025b)."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import batched

import orjson

from shared.dicom.blob_names import metadata_blob
from shared.dicom.json_model import Document, value, without_bulk
from shared.dicom.searchable import (
    AVAILABLE_TRANSFER_SYNTAX_UID,
    COMPUTED,
    IN_ROWS,
    RETRIEVE_URL,
    tag_of,
)
from shared.dicom.value_representation import element
from shared.dicomweb.query import SearchQuery
from shared.errors import BlobNotFoundError
from shared.ports import BlobStore, Index, Match, Partition
from shared.services.available_syntaxes import available_syntaxes
from shared.services.kept_instance import UNREADABLE
from shared.services.metadata_file import document_of, with_base_url
from shared.services.read_ahead import read_ahead

_BITS_ALLOCATED = tag_of("BitsAllocated")
_KEYS_AT_ONCE = 1000
_BLOBS_AT_ONCE = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """A page of data sets.

    Attributes:
        documents: The first ones of the page, all of them unless it is a large one.
        remaining: How many results come after the page, None when it is not known.
        others: The rest of a large page, read as it is taken.
    """

    documents: Sequence[Document]
    remaining: int | None
    others: AsyncIterator[Sequence[Document]]


class Search:
    """Answers from the rows of the index; opens a blob only for attributes that rows lack."""

    def __init__(self, blobs: BlobStore, index: Index) -> None:
        self._blobs = blobs
        self._index = index

    async def search(
        self, partition: Partition, query: SearchQuery, *, base_url: str
    ) -> SearchAnswer:
        """The results of a query, newest first, with the attributes it asks for."""
        matches = await self._index.search(partition, query)
        documents = await self._documents(matches.results, query, base_url)
        return SearchAnswer(
            documents, matches.remaining, self._others(matches.keys, query, base_url)
        )

    async def _others(
        self, keys: Sequence[int], query: SearchQuery, base_url: str
    ) -> AsyncIterator[Sequence[Document]]:
        for some in batched(keys, _KEYS_AT_ONCE, strict=False):
            yield await self._documents(
                await self._index.matches(query.level, some), query, base_url
            )

    async def _documents(
        self, matches: Sequence[Match], query: SearchQuery, base_url: str
    ) -> Sequence[Document]:
        fields = sorted(query.return_tags)
        if query.return_tags <= IN_ROWS[query.level]:
            return [_chosen(_available(match, base_url), fields) for match in matches]
        load = partial(self._metadata, query, base_url)
        loaded = read_ahead(matches, load, depth=_BLOBS_AT_ONCE)
        return [
            _chosen({**metadata, **_available(match, base_url)}, fields)
            async for match, metadata in loaded
        ]

    async def _metadata(
        self, query: SearchQuery, base_url: str, match: Match
    ) -> tuple[Match, Document]:
        try:
            content = await self._blobs.get(metadata_blob(match.newest_blob_id))
        except BlobNotFoundError:
            return match, {}  # Deleted, and cleaned up, since the row was read.
        try:
            metadata = orjson.loads(with_base_url(document_of(content), base_url))
            metadata = metadata if query.has_bulk else without_bulk(metadata)
            return match, {tag: found for tag, found in metadata.items() if tag not in COMPUTED}
        except UNREADABLE:
            # The others are found all the same, and what the row has of this one.
            _log.error("%s: its metadata blob is damaged", match.newest_blob_id)
            return match, {}


def _available(match: Match, base_url: str) -> Document:
    """What is known of a result without opening a blob."""
    available = {**match.attributes, **match.computed}
    available[RETRIEVE_URL] = {"vr": "UR", "Value": [f"{base_url}/{match.path}"]}
    if match.transfer_syntax_uid is not None:
        syntaxes = available_syntaxes(
            match.transfer_syntax_uid,
            has_pixels=match.has_pixels,
            bits_allocated=value(match.attributes, _BITS_ALLOCATED),
        )
        available[AVAILABLE_TRANSFER_SYNTAX_UID] = element("UI", list(syntaxes))
    return available


def _chosen(available: Document, fields: Sequence[str]) -> Document:
    return {tag: available[tag] for tag in fields if tag in available}
