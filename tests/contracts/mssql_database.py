"""The database of a real SQL Server that tests of the index share, empty before each."""

import os
from functools import cache

from sqlalchemy import Connection, Engine, delete, make_url, text, true, update

from shared.adapters.sql_index.migrate import migrate
from shared.adapters.sql_index.mssql import Server
from shared.adapters.sql_index.schema import metadata, partition, tag_set

URL = os.environ.get("DICOM_TEST_MSSQL_URL", "")
"""As SQLAlchemy reads it; without one, the tests run on SQLite."""

_AS_ON_AZURE = text(
    "IF (SELECT is_read_committed_snapshot_on FROM sys.databases WHERE database_id = DB_ID()) = 0"
    " ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE"
)
_NUMBERED = text(
    "SELECT OBJECT_NAME(object_id) FROM sys.identity_columns"
    " WHERE last_value IS NOT NULL AND OBJECTPROPERTY(object_id, 'IsUserTable') = 1"
)
_TO_GO = {partition.name: partition.c.partition_key > 1, tag_set.name: tag_set.c.tag_set_key > 1}


def empty() -> None:
    """Leave what a migrated database begins with, and number rows from the beginning again."""
    with _engine().begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table).where(_TO_GO.get(table.name, true())))
        connection.execute(update(tag_set).values(version=0))
        for name in connection.execute(_NUMBERED).scalars().all():
            _number_from(connection, name, int(name == partition.name))


def _number_from(connection: Connection, table: str, last: int) -> None:
    connection.execute(
        text("DBCC CHECKIDENT (:table, RESEED, :last) WITH NO_INFOMSGS"),
        {"table": table, "last": last},
    )


@cache
def _engine() -> Engine:
    migrate(URL)
    engine = Server(make_url(URL)).engine("READ COMMITTED", 1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_AS_ON_AZURE)
    return engine
