import subprocess
import sys
from pathlib import Path

import orjson
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from shared.adapters.sql_index import schema
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.migrate import migrate
from shared.dicom.resource import Level
from shared.dicomweb.query import parse_query
from shared.ports import DEFAULT_PARTITION_NAME

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "shared/adapters/sql_index/migrations"


def test_migrations_make_the_schema_that_the_code_describes(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_the_code_is_written_for_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == schema.REVISION


def test_migrating_again_changes_nothing(database_url: str) -> None:
    migrate(database_url)


def test_processes_that_migrate_at_once_do_not_collide(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shared.adapters.sql_index.migrate"]
    url = f"sqlite:///{tmp_path}/new/index.db"
    processes = [subprocess.Popen([*command, url], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    test_migrations_make_the_schema_that_the_code_describes(url)


async def test_items_of_sequences_are_found_after_a_migration(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.db'}"
    migrate(url, "0003")
    items = [{"00400009": {"vr": "SH", "Value": [step]}} for step in ("S1", "S2 ")]
    attributes = orjson.dumps({"00400275": {"vr": "SQ", "Value": items}}).decode()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO study (study_key, partition_key, study_instance_uid, attributes,"
                " modalities, series_count, instance_count, revision)"
                " VALUES (7, 1, '1.2', '{}', '[]', 1, 1, 1)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO series (partition_key, study_key, series_instance_uid, attributes,"
                " instance_count, revision, changed_at, document_count)"
                " VALUES (1, 7, '1.2.3', :attributes, 1, 1, '2026-01-01 00:00:00', 0)"
            ),
            {"attributes": attributes},
        )
    engine.dispose()

    migrate(url)

    index = SqlIndex(url, sync=False)
    partition = await index.find_partition(DEFAULT_PARTITION_NAME)
    assert partition is not None
    keyword = "RequestAttributesSequence.ScheduledProcedureStepID"
    for step in ("s1", "S2"):
        query = parse_query([(keyword, step)], Level.SERIES, version=2)
        [match] = (await index.search(partition, query)).results
        assert match.path.series == "1.2.3"
    await index.close()
