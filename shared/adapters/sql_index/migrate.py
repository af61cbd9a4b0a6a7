"""Bringing a database to the schema that this code needs; also as a command.

    python -m shared.adapters.sql_index.migrate [URL]

Without a URL, the database that the app's settings name. No app does so when it starts on Azure:
what is deployed next runs beside what is there.
"""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from shared.adapters.sql_index import mssql, sqlite
from shared.errors import StoreUnavailableError

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: str, revision: str = "head", token: Callable[[], str] | None = None) -> None:
    """Apply the migrations up to one, all or none; several processes may do so at once.

    Args:
        url: As SQLAlchemy reads it, of SQLite or of SQL Server.
        revision: The last to be applied.
        token: Gives an access token for SQL Server, where the URL names no way to sign in.

    Raises:
        StoreUnavailableError: The database does not answer.
    """
    with _migrating(url, token) as connection:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _migrating(url: str, token: Callable[[], str] | None) -> AbstractContextManager[Connection]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "mssql":
        return mssql.migrating(mssql.Server(parsed, token))
    return sqlite.migrating(parsed)


def main() -> None:
    """Parse the command line and migrate."""
    parser = argparse.ArgumentParser(description="Bring the index to the present schema.")
    parser.add_argument("url", nargs="?", help="of the database; by default, the settings name it")
    url: str | None = parser.parse_args().url
    try:
        if url is None:
            _migrate_by_settings()
        else:
            migrate(url, token=_identity_tokens(url))
    except (StoreUnavailableError, ValueError) as error:
        sys.exit(str(error))


def _migrate_by_settings() -> None:
    from shared.settings import Settings  # noqa: PLC0415 - only the command knows of settings
    from shared.wiring import index_database  # noqa: PLC0415

    url, token = index_database(Settings.from_env(os.environ))
    migrate(url, token=token)


def _identity_tokens(url: str) -> Callable[[], str] | None:
    if make_url(url).get_backend_name() != "mssql":
        return None
    from shared.adapters.sql_index.mssql_tokens import identity_tokens  # noqa: PLC0415 - slow

    return identity_tokens("")


if __name__ == "__main__":
    main()
