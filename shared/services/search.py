"""Search: find studies, series and instances (PS3.18 10.6, 2025b)."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.dicom.blob_names import metadata_blob
from shared.dicom.json_model import Document
from shared.dicom.searchable import COMPUTED, INDEXED, RETRIEVE_URL
from shared.dicomweb.query import SearchQuery
from shared.errors import BlobNotFoundError
from shared.ports import BlobStore, Index, Match, Partition
from shared.services.metadata_file import unpack

_ALL_INDEXED = frozenset().union(*INDEXED.values()) | COMPUTED


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """A page of data sets; `remaining` counts the results after it, None when it is not known."""

    documents: Sequence[Document]
    remaining: int | None


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
        fields = query.return_tags
        documents = [await self._document(match, fields, base_url) for match in matches.results]
        return SearchAnswer(documents, matches.remaining)

    async def _document(self, match: Match, fields: frozenset[str], base_url: str) -> Document:
        available = {**match.attributes, **match.computed}
        available[RETRIEVE_URL] = {"vr": "UR", "Value": [f"{base_url}/{match.path}"]}
        if not fields <= _ALL_INDEXED:
            available = {**await self._metadata(match), **available}
        return {tag: available[tag] for tag in sorted(fields) if tag in available}

    async def _metadata(self, match: Match) -> Document:
        try:
            return unpack(await self._blobs.get(metadata_blob(match.newest_blob_id))).document
        except BlobNotFoundError:
            return {}  # Deleted, and cleaned up, since the row was read.
