"""Command: rebuild the embedded index of a data folder from the blobs, while no server runs.

The blobs are in that folder too, or in the storage account of the settings.
"""

import argparse
import asyncio
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.migrate import migrate
from shared.adapters.sql_tag_table import SqlTagTable
from shared.services.rebuild import Rebuild, Rebuilt
from shared.settings import Settings, SettingsError
from shared.wiring import index_url, open_blobs


async def rebuild(folder: Path) -> tuple[Rebuilt, Path]:
    """Put a new index in the place of the present one, which is kept in the folder given.

    Raises:
        SettingsError: The settings of the environment are wrong.
    """
    settings = Settings.from_env({**os.environ, "DATA_DIRECTORY": str(folder)})
    new = folder / "rebuilding"
    if new.exists():  # A rebuild that was cut short.
        shutil.rmtree(new)
    new.mkdir()
    migrate(index_url(new))
    index = SqlIndex(index_url(new), sync=True)
    try:
        rebuilder = Rebuild(open_blobs(settings), index, SqlTagTable(index))
        rebuilt = await rebuilder.run()
    finally:
        await index.close()
    kept = folder / f"before-rebuild-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    kept.mkdir()
    for file in folder.glob("index.sqlite*"):
        file.rename(kept / file.name)
    for file in new.iterdir():
        file.rename(folder / file.name)
    new.rmdir()
    return rebuilt, kept


def main() -> None:
    """Parse the command line and say what was rebuilt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".data"), help="the data folder")
    folder: Path = parser.parse_args().data.resolve()
    if not folder.is_dir():
        sys.exit(f"no such folder: {folder}")
    os.umask(0o077)  # As whoever serves the index makes it.
    try:
        rebuilt, kept = asyncio.run(rebuild(folder))
    except SettingsError as error:
        sys.exit(str(error))
    sys.stdout.write(
        f"{rebuilt.instances} instances are in the new index, {rebuilt.left_out} were left out; "
        f"the old index is kept in {kept.name}\n"
    )
    for name in rebuilt.damaged:
        sys.stdout.write(f"damaged: {name}\n")
    for name in rebuilt.doubtful:
        sys.stdout.write(f"doubtful: {name}\n")


if __name__ == "__main__":
    main()
