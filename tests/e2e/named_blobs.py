"""The blobs that the index names, read from its database beside the server."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from shared.dicom.blob_names import instance_blobs


def named_blobs(data: Path) -> set[str]:
    """The blobs of every instance that an index holds, and those that wait for their removal."""
    with closing(sqlite3.connect(f"file:{data / 'index.sqlite'}?mode=ro", uri=True)) as index:
        rows = index.execute("SELECT blob_id, frames FROM instance").fetchall()
        waiting = index.execute(
            "SELECT names FROM deleted_blob WHERE blob_id IS NOT NULL"
        ).fetchall()
    named = {
        name
        for blob_id, frames in rows
        for name in instance_blobs(blob_id, has_frames_blob=frames == "blob")
    }
    return named.union(*(json.loads(names) for (names,) in waiting))
