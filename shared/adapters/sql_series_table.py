"""Series by their own numbers, in the index database."""

from collections.abc import Collection, Mapping
from itertools import batched

from sqlalchemy import Connection, bindparam, select

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.schema import series
from shared.ports import SeriesRevisions, SeriesTable

_KEYS_AT_ONCE = 500

_REVISIONS = select(series.c.series_key, series.c.revision, series.c.document_revision).where(
    series.c.series_key.in_(bindparam("keys", expanding=True))
)


class SqlSeriesTable(SeriesTable):
    """Series in the database of an index, which also closes it."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def revisions(self, keys: Collection[int]) -> Mapping[int, SeriesRevisions]:
        """See SeriesTable."""
        return await self._database.read(lambda c: _revisions(c, keys))


def _revisions(connection: Connection, keys: Collection[int]) -> dict[int, SeriesRevisions]:
    return {
        key: SeriesRevisions(revision, document_revision)
        for some in batched(keys, _KEYS_AT_ONCE, strict=False)
        for key, revision, document_revision in connection.execute(_REVISIONS, {"keys": some})
    }
