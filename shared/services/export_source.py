"""What an export is asked for, as paths: those it names, or the results of a search."""

from collections.abc import Sequence

from shared.dicom.resource import ResourcePath
from shared.dicom.searchable import SearchAttribute
from shared.dicomweb.export_request import MAX_IDENTIFIERS, QuerySource
from shared.dicomweb.query import SearchQuery, other_attributes, parse_query
from shared.errors import InvalidRequestError
from shared.ports import Index, Partition
from shared.services.extended_query_tags import ExtendedQueryTags

_VERSION = 2
"""The API version whose rules a search has that is a source."""
_RESULTS_AT_ONCE = 5000
_KEYS_AT_ONCE = 1000
_SWITCHES = ("fuzzymatching", "multiplevaluematching", "emptyvaluematching")


class ExportSource:
    """Finds what exports are asked for."""

    def __init__(self, index: Index, tags: ExtendedQueryTags) -> None:
        self._index = index
        self._tags = tags

    async def paths(
        self, partition: Partition, source: Sequence[ResourcePath] | QuerySource
    ) -> Sequence[ResourcePath]:
        """The paths of a source, each once.

        Raises:
            InvalidRequestError: The search is no search, or has too many results.
        """
        if not isinstance(source, QuerySource):
            return source
        others = other_attributes(source.parameters, _VERSION)
        extra = await self._tags.search_attributes(others) if others else ()
        found: dict[ResourcePath, None] = {}
        offset = 0
        while True:
            page = await self._page(partition, _query(source, offset, extra))
            found.update(dict.fromkeys(page))
            if len(found) > MAX_IDENTIFIERS:
                raise InvalidRequestError(
                    f"The search has more than {MAX_IDENTIFIERS} results: search at a level above,"
                    " or for less at a time."
                )
            if len(page) < _RESULTS_AT_ONCE:
                return tuple(found)
            offset += len(page)

    async def _page(self, partition: Partition, query: SearchQuery) -> Sequence[ResourcePath]:
        matches = await self._index.search(partition, query)
        paths = [match.path for match in matches.results]
        for start in range(0, len(matches.keys), _KEYS_AT_ONCE):
            keys = matches.keys[start : start + _KEYS_AT_ONCE]
            paths += [match.path for match in await self._index.matches(query.level, keys)]
        return paths


def _query(source: QuerySource, offset: int, extra: Sequence[SearchAttribute]) -> SearchQuery:
    """The search; what a search would ignore is refused, lest more is exported than is meant."""
    switches = [pair for pair in source.parameters if pair[0].lower() in _SWITCHES]
    for pair in source.parameters:
        if pair not in switches and not _parsed(source, [*switches, pair], extra).conditions:
            raise InvalidRequestError("A parameter of the search matches nothing that is indexed.")
    page = [("limit", str(_RESULTS_AT_ONCE)), ("offset", str(offset))]
    return _parsed(source, [*source.parameters, *page], extra)


def _parsed(
    source: QuerySource, pairs: Sequence[tuple[str, str]], extra: Sequence[SearchAttribute]
) -> SearchQuery:
    query = parse_query(
        pairs,
        source.level,
        version=_VERSION,
        study=source.study,
        series=source.series,
        max_limit=_RESULTS_AT_ONCE,
        extra=extra,
    )
    if query.warnings:
        raise InvalidRequestError("A parameter of the search cannot be matched.")
    return query
