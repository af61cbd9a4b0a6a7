"""The timers' work on a data folder at will, in a process of its own as a worker would do it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.server import ROOT

_SWEEP = """
import asyncio
from datetime import UTC, datetime
from shared.wiring import services
print(asyncio.run(services().cleanup.sweep(datetime.now(UTC))))
"""

_REMOVE_DUE = """
import asyncio
from datetime import UTC, datetime, timedelta
from shared.wiring import services
later = datetime.now(UTC) + services().settings.deleted_blob_grace_seconds
print(asyncio.run(services().cleanup.remove_due(later)))
"""


def sweep(data: Path) -> int:
    """Remove every blob that no row names, however new, and tell how many there were."""
    return _run(_SWEEP, data, {"ORPHAN_AGE_SECONDS": "0"})


def remove_deleted(data: Path) -> int:
    """Remove the blobs of what was deleted, as if their time had come, and tell how many."""
    return _run(_REMOVE_DUE, data, {})


def _run(code: str, data: Path, settings: dict[str, str]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "DATA_DIRECTORY": str(data),
            "WEBSITE_HOSTNAME": "127.0.0.1",
            **settings,
        },
        stdout=subprocess.PIPE,
        check=True,
    )
    return int(done.stdout)
