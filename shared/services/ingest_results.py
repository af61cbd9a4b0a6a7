"""What became of each file of the inbox, kept for a while under an id made of its name.

Names from outside may tell of patients, so no row holds one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from shared.dicom.resource import ResourcePath, parse_path
from shared.ports import StateRow, StateTable, StateValue

_TABLE = "inbox"
_ID_DIGITS = 32
_BUCKETS = "0123456789abcdef"
_MOST_TEXT = 8000
_FORGOTTEN_AT_ONCE = 16_000


class IngestStatus(Enum):
    """Where a file of the inbox stands."""

    WAITING = "waiting"
    STORED = "stored"
    DUPLICATE = "duplicate"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What became of a file.

    Attributes:
        at: When this was found, UTC.
        version: The version of the file that this is about, "" while there is none.
        path: The instance, once it is stored.
        reason: Why it was refused, or of what kind of warning it was stored with.
        sentences: The reason in words, without attribute values.
        attempts: How often a file that had waited too long was tried again.
        expires: Until when the file can be uploaded.
    """

    id: str
    partition_name: str
    status: IngestStatus
    at: datetime
    version: str = ""
    path: ResourcePath | None = None
    reason: int | None = None
    sentences: tuple[str, ...] = ()
    attempts: int = 0
    expires: datetime | None = None


def result_id(name: str) -> str:
    """The id of the result of a file: the first 32 digits of the SHA-256 of its name in UTF-8."""
    return hashlib.sha256(name.encode()).hexdigest()[:_ID_DIGITS]


class IngestResults:
    """Results in rows of a state table, spread so that they can be gone over in parts."""

    def __init__(self, state: StateTable) -> None:
        self._state = state

    async def find(self, id_: str) -> tuple[IngestResult | None, str]:
        """The result of an id, and the version of its row, "" where there is none."""
        row = await self._state.get(_TABLE, id_[0], id_)
        return (None, "") if row is None else (_result(row), row.version)

    async def put(self, result: IngestResult, *, if_version: str | None = None) -> None:
        """Write a result; with `if_version` as StateTable does.

        Raises:
            ConflictError: The row is not of that version.
        """
        await self._state.put(
            _TABLE, result.id[0], result.id, _values(result), if_version=if_version
        )

    async def forget(self, before: datetime) -> int:
        """Remove results of earlier times, some ten thousand at once, and tell how many."""
        removed = 0
        for bucket in _BUCKETS:
            rows = self._state.list(_TABLE, bucket)
            old = [row.key async for row in rows if _result(row).at < before]
            for key in old[: _FORGOTTEN_AT_ONCE // len(_BUCKETS)]:
                await self._state.delete(_TABLE, bucket, key)
                removed += 1
        return removed


def _values(result: IngestResult) -> Mapping[str, StateValue]:
    values: dict[str, StateValue] = {
        "partition": result.partition_name,
        "status": result.status.value,
        "at": result.at.isoformat(),
        "version": result.version,
        "sentences": "\n".join(result.sentences)[:_MOST_TEXT],
        "attempts": result.attempts,
    }
    if result.path is not None:
        uids = (result.path.study, result.path.series, result.path.instance)
        values["path"] = "/".join(uid for uid in uids if uid is not None)
    if result.reason is not None:
        values["reason"] = result.reason
    if result.expires is not None:
        values["expires"] = result.expires.isoformat()
    return values


def _result(row: StateRow) -> IngestResult:
    values = row.values
    expires, path, reason = values.get("expires"), values.get("path"), values.get("reason")
    return IngestResult(
        id=row.key,
        partition_name=str(values["partition"]),
        status=IngestStatus(values["status"]),
        at=datetime.fromisoformat(str(values["at"])),
        version=str(values["version"]),
        path=None if path is None else parse_path(*str(path).split("/")),
        reason=None if reason is None else int(reason),
        sentences=tuple(str(values["sentences"]).splitlines()),
        attempts=int(values["attempts"]),
        expires=None if expires is None else datetime.fromisoformat(str(expires)),
    )
