"""Bringing a database to the schema that this code needs; also as a command."""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url

from shared.adapters.sql_index.errors import translated_errors
from shared.adapters.sql_index.sqlite import WriteLock, writer_engine

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: str, revision: str = "head") -> None:
    """Apply the migrations up to one, all or none; several processes may do so at once.

    Raises:
        StoreUnavailableError: The database does not answer.
    """
    database = make_url(url).database
    with translated_errors():
        if database:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        engine = writer_engine(url, sync=True)
        try:
            with WriteLock(url).held(), engine.begin() as connection:
                config = Config()
                config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
        finally:
            engine.dispose()


if __name__ == "__main__":
    migrate(sys.argv[1])
