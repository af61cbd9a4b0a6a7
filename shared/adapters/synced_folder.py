"""The folder below a local store: obstore itself never syncs a file, and cleans up nothing."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from shared.dicom.blob_names import INSTANCE_KINDS


class SyncedFolder:
    """Brings to the disk what is written below a folder, and removes what was cut short there."""

    def __init__(self, path: Path, *, is_synced: bool) -> None:
        self._path = path
        self._is_synced = is_synced
        self._known: set[Path] = set()

    def settle(self, name: str) -> None:
        """Let a new file, its name, and the folders made for it survive a power cut."""
        if not self._is_synced:
            return
        file = self._path / name
        _sync(file)
        _sync(file.parent)
        # A folder that this process has not seen may be new: its name lies in the one above it.
        new = [folder for folder in self._below(file.parent) if folder not in self._known]
        for folder in new:
            _sync(folder.parent)
        # Only now, as whoever finds a folder here relies on its name being on the disk.
        self._known.update(new)

    def _below(self, folder: Path) -> Iterator[Path]:
        while folder != self._path:
            yield folder
            folder = folder.parent

    def remove_leftovers(self, older_than: timedelta) -> int:
        """Remove staged files, and what obstore leaves under `name#number` when it is killed."""
        limit = time.time() - older_than.total_seconds()
        removed = 0
        for kind in ("staging", *INSTANCE_KINDS, "series-metadata", "tombstones"):
            for file in (self._path / kind).rglob("*" if kind == "staging" else "*#*"):
                with suppress(FileNotFoundError):
                    if file.is_file() and file.stat().st_mtime <= limit:
                        file.unlink()
                        removed += 1
        return removed


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
