"""Blob triggers by polling: each version of a blob is handed over once, or given up after 5 times.

A container is a folder below the data folder unless the trigger's connection names a storage
account. What was handled is kept, so that a restart fires nothing again.
"""

import asyncio
import json
import logging
import os
import re
import time
from pathlib import Path

from azure.core.exceptions import AzureError, ResourceNotFoundError

from localhost.blobs import Blob, Source
from localhost.errors import WorkerLostError
from localhost.messages import Function
from localhost.pool import Pool
from localhost.protos import TypedData
from localhost.timers import with_settings

_ATTEMPTS = 5
_FIRST_DELAY_SECONDS = 0.25
_AT_ONCE = 8
_PAUSE_SECONDS = 0.5
_PAUSE_PER_SCAN = 9
"""Of the time that scanning takes, this many times is left to the app."""

_log = logging.getLogger(__name__)


async def run_blob_trigger(pool: Pool, function: Function, data: Path) -> None:
    """Look for new blobs, and hand them over, for ever."""
    trigger = function.binding("blobTrigger") or {}
    if str(trigger.get("source", "")).lower() == "eventgrid":
        _log.info("%s waits for Event Grid, which is not here", function.name)
        return
    container, _, pattern = with_settings(trigger["path"], os.environ).partition("/")
    source = _source(trigger.get("connection") or "", data)
    await _Poller(pool, function, source, container, _pattern(pattern)).run()


def _source(connection: str, data: Path) -> Source:
    from localhost import blob_sources  # noqa: PLC0415 - the storage SDK is slow to import

    setting = os.environ.get(connection, "")
    if not setting or setting.startswith("file://"):
        folder = Path(setting.removeprefix("file://")) if setting else data
        return blob_sources.FolderSource(folder, data / ".localhost")
    return blob_sources.AccountSource(setting, connection)


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    text = "".join(f"(?P<{p}>.+)" if n % 2 else re.escape(p) for n, p in enumerate(parts))
    return re.compile(text + r"\Z" if path else r".+\Z")


class _Poller:
    """Hands the new blobs of a container to one function."""

    def __init__(
        self,
        pool: Pool,
        function: Function,
        source: Source,
        container: str,
        matches: re.Pattern[str],
    ) -> None:
        self._pool = pool
        self._function = function
        self._trigger = function.binding("blobTrigger") or {}
        properties = self._trigger.get("properties") or {}
        self._is_sdk_type = str(properties.get("SupportsDeferredBinding", "")).lower() == "true"
        self._source = source
        self._container = container
        self._matches = matches
        self._in_hand: set[Blob] = set()
        self._handled: set[bytes] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Go over the container again and again; a blob in hand holds up no other."""
        async with asyncio.TaskGroup() as group:
            while True:
                scanning = 0.0
                try:
                    scanning = await self._scan(group)
                except (OSError, AzureError) as error:
                    _log.warning("the storage does not answer: %s", type(error).__name__)
                await asyncio.sleep(max(_PAUSE_SECONDS, _PAUSE_PER_SCAN * scanning))

    async def _scan(self, group: asyncio.TaskGroup) -> float:
        """Go over the container once, and give the seconds without those of waiting for a slot."""
        start, waiting = time.monotonic(), 0.0
        handled: set[bytes] = set()
        async for blob in self._source.blobs(self._container):
            match = self._matches.match(blob.name)
            if match is None or blob in self._in_hand:
                continue
            if await self._is_handled(blob):
                handled.add(blob.key)
                continue
            full = time.monotonic()
            await self._slots.acquire()
            waiting += time.monotonic() - full
            self._in_hand.add(blob)
            group.create_task(self._handle(blob, match.groupdict()))
        self._handled = handled
        return time.monotonic() - start - waiting

    async def _is_handled(self, blob: Blob) -> bool:
        """Whether there is a receipt; one seen by the last scan is not asked for again."""
        name, container = self._function.name, self._container
        return blob.key in self._handled or await self._source.is_handled(name, container, blob)

    async def _handle(self, blob: Blob, names: dict[str, str]) -> None:
        name, container = self._function.name, self._container
        try:
            error = await self._attempt(blob, names)
            if error is not None:
                _log.error("%s gave up on a blob after %d attempts", name, _ATTEMPTS)
                await self._source.set_poison(name, container, blob, error)
            await self._source.set_handled(name, container, blob)
        except (FileNotFoundError, ResourceNotFoundError):
            _log.info("%s: a blob was gone before it could be read", name)
        except (OSError, AzureError) as failure:
            # It is found again, as it is not noted as handled.
            _log.warning("%s: the storage does not answer: %s", name, type(failure).__name__)
        finally:
            self._in_hand.discard(blob)
            self._slots.release()

    async def _attempt(self, blob: Blob, names: dict[str, str]) -> str | None:
        """Call the function until it succeeds; the last error when it never does."""
        container, error = self._container, ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_FIRST_DELAY_SECONDS * 2 ** (attempt - 1))
            data = await self._source.data(container, blob, is_sdk_type=self._is_sdk_type)
            try:
                outcome = await self._pool.invoke(
                    self._function.name,
                    {self._trigger["name"]: data},
                    _metadata(container, blob, names),
                )
            except WorkerLostError:
                error = "the worker died"
                continue
            if outcome.error is None:
                return None
            error = outcome.error
        return error


def _metadata(container: str, blob: Blob, names: dict[str, str]) -> dict[str, TypedData]:
    values: dict[str, object] = {
        "BlobTrigger": f"{container}/{blob.name}",
        "Uri": blob.uri,
        "Properties": {
            "Length": blob.length,
            "ContentLength": blob.length,
            "ETag": blob.version,
        },
        "Metadata": {},
        **names,
    }
    return {name: TypedData(json=json.dumps(value)) for name, value in values.items()}
