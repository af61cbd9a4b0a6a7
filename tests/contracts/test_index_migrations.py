import subprocess
import sys
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from shared.adapters.sql_index import schema
from shared.adapters.sql_index.migrate import migrate

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
