"""Programs that are installed once, by the first that asks for them, while others wait."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def installed_once(folder: Path, install: Callable[[Path], None]) -> Path:
    """A folder that `install` fills; it is there only when it is whole."""
    folder.parent.mkdir(exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}.partial")
            # One that was interrupted may have left some.
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            install(partial)
            partial.rename(folder)
    return folder
