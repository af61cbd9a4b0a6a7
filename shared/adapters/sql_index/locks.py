"""Locks of transactions that write on SQL Server; on SQLite there is only one at a time.

The row of a study is the lock of all that is below it. A transaction first locks its studies, in
the order of partitions and UIDs, those too that are not there yet, and only then reads of them: so
what it read stays true until it commits, two stores into one new study do not both add its row,
and none waits for another that waits for it. Besides, rows are locked that others reach without
their study: a series whose document is recorded, and those that belong to no study.

Readers take no locks and meet none: SQL Server keeps versions of rows for them. To wait for a lock
and to read what hangs on it are two statements; of one, the versions are those of before the wait.

Microsoft: Table hints (Transact-SQL); Transaction locking and row versioning guide.
"""

from collections.abc import Iterable
from itertools import batched
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, select

from shared.adapters.sql_index.schema import study

type _Select = Select[*tuple[Any, ...]]

_MSSQL = "mssql"
_UIDS_AT_ONCE = 50
"""So few that each is sought, and locked, by itself; a long list may be joined as a table."""

# Always by this index: the locks are on its keys, and on the gaps where keys are missing.
_STUDIES = (
    select(study.c.study_key)
    .where(
        study.c.partition_key == bindparam("partition_key"),
        study.c.study_instance_uid.in_(bindparam("study_uids", expanding=True)),
    )
    .order_by(study.c.study_instance_uid)
    .with_hint(
        study,
        "WITH (UPDLOCK, HOLDLOCK, ROWLOCK,"
        " FORCESEEK(ix_study_study_instance_uid(partition_key, study_instance_uid)))",
        _MSSQL,
    )
)


def locking_rows(statement: _Select, table: Table) -> _Select:
    """A statement that locks the rows it reads of a table, until the transaction ends."""
    return statement.with_hint(table, "WITH (UPDLOCK, ROWLOCK)", _MSSQL)


def locking_keys(statement: _Select, table: Table) -> _Select:
    """A statement that locks the keys it looks up in a table, whether there is a row or not."""
    return statement.with_hint(table, "WITH (UPDLOCK, HOLDLOCK, ROWLOCK)", _MSSQL)


def lock_studies(connection: Connection, partition_key: int, uids: Iterable[str]) -> None:
    """Have studies of a partition, and all that is below them, until the transaction ends."""
    if connection.dialect.name != _MSSQL:
        return
    for some in batched(sorted(set(uids)), _UIDS_AT_ONCE, strict=False):
        connection.execute(_STUDIES, {"partition_key": partition_key, "study_uids": some}).all()
