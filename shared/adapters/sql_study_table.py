"""The studies one after the other, in the index database."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Connection, bindparam, func, select

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.schema import partition, study
from shared.ports import KnownStudy, StudyTable

_SPAN = select(func.count(), func.coalesce(func.max(study.c.study_key), 0)).select_from(study)
_PAGE = (
    select(study.c.study_key, partition.c.name, study.c.study_instance_uid)
    .join_from(study, partition)
    .where(
        study.c.study_key > bindparam("after", type_=BigInteger),
        study.c.study_key <= bindparam("up_to", type_=BigInteger),
    )
    .order_by(study.c.study_key)
    .limit(bindparam("limit", type_=study.c.instance_count.type))
)
_SPAN_IN_PARTITION = _SPAN.join(partition).where(partition.c.name == bindparam("partition"))
_PAGE_IN_PARTITION = _PAGE.where(partition.c.name == bindparam("partition"))


class SqlStudyTable(StudyTable):
    """Studies in the database of an index, which also closes it."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def span(self, partition_name: str | None) -> tuple[int, int]:
        """See StudyTable."""
        return await self._database.read(lambda c: _span(c, partition_name))

    async def studies(
        self, partition_name: str | None, after: int, up_to: int, limit: int
    ) -> Sequence[KnownStudy]:
        """See StudyTable."""
        page: dict[str, int | str] = {"after": after, "up_to": up_to, "limit": limit}
        return await self._database.read(lambda c: _studies(c, partition_name, page))


def _span(connection: Connection, partition_name: str | None) -> tuple[int, int]:
    if partition_name is None:
        count, highest = connection.execute(_SPAN).one()
    else:
        count, highest = connection.execute(_SPAN_IN_PARTITION, {"partition": partition_name}).one()
    return count, highest


def _studies(
    connection: Connection, partition_name: str | None, page: dict[str, int | str]
) -> Sequence[KnownStudy]:
    if partition_name is None:
        rows = connection.execute(_PAGE, page)
    else:
        rows = connection.execute(_PAGE_IN_PARTITION, {**page, "partition": partition_name})
    return [KnownStudy(*row) for row in rows]
