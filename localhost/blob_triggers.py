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
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from azure.core.exceptions import AzureError

from localhost.errors import WorkerLostError
from localhost.messages import Function
from localhost.pool import Pool
from localhost.protos import ModelBindingData, TypedData
from localhost.timers import with_settings

_ATTEMPTS = 5
_FIRST_DELAY_SECONDS = 0.5
_AT_ONCE = 8
_PAUSE_SECONDS = 0.5
_PAUSE_PER_SCAN = 9
"""Of the time that scanning takes, this many times is left to the app."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Blob:
    """A version of a blob; `name` without its container."""

    name: str
    version: str
    length: int
    uri: str


class Source(Protocol):
    """Where blobs are looked for, and where is kept which were handled."""

    def blobs(self, container: str) -> AsyncIterator[Blob]:
        """The blobs of a container that are complete."""

    async def is_handled(self, function: str, container: str, blob: Blob) -> bool:
        """Whether this version was handed over, or given up, before."""

    async def set_handled(self, function: str, container: str, blob: Blob) -> None:
        """Remember that this version is done with."""

    async def set_poison(self, function: str, container: str, blob: Blob, error: str) -> None:
        """Leave word of a version that was given up."""

    async def data(self, container: str, blob: Blob, *, is_sdk_type: bool) -> TypedData:
        """What the function is given."""


async def run_blob_trigger(pool: Pool, function: Function, data: Path) -> None:
    """Look for new blobs, and hand them over, for ever."""
    trigger = function.binding("blobTrigger") or {}
    if str(trigger.get("source", "")).lower() == "eventgrid":
        _log.info("%s waits for Event Grid, which is not here", function.name)
        return
    container, _, pattern = with_settings(trigger["path"], os.environ).partition("/")
    poller = _Poller(pool, function, _source(trigger.get("connection") or "", data))
    matches = _pattern(pattern)
    while True:
        start = time.monotonic()
        try:
            await poller.scan(container, matches)
        except* (OSError, AzureError) as errors:
            kind = type(errors.exceptions[0]).__name__
            _log.warning("%s: the storage does not answer: %s", function.name, kind)
        took = time.monotonic() - start
        await asyncio.sleep(max(_PAUSE_SECONDS, _PAUSE_PER_SCAN * (took - poller.busy_seconds)))


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

    def __init__(self, pool: Pool, function: Function, source: Source) -> None:
        self._pool = pool
        self._function = function
        self._trigger = function.binding("blobTrigger") or {}
        properties = self._trigger.get("properties") or {}
        self._is_sdk_type = str(properties.get("SupportsDeferredBinding", "")).lower() == "true"
        self._source = source
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.busy_seconds = 0.0

    async def scan(self, container: str, matches: re.Pattern[str]) -> None:
        """Go over a container once."""
        began: float | None = None
        async with asyncio.TaskGroup() as group:
            async for blob in self._source.blobs(container):
                match = matches.match(blob.name)
                name = self._function.name
                if match is None or await self._source.is_handled(name, container, blob):
                    continue
                began = began or time.monotonic()
                await self._slots.acquire()
                group.create_task(self._handle(container, blob, match.groupdict()))
        self.busy_seconds = 0.0 if began is None else time.monotonic() - began

    async def _handle(self, container: str, blob: Blob, names: dict[str, str]) -> None:
        name = self._function.name
        try:
            error = await self._attempt(container, blob, names)
            if error is not None:
                _log.error("%s gave up on a blob after %d attempts", name, _ATTEMPTS)
                await self._source.set_poison(name, container, blob, error)
            await self._source.set_handled(name, container, blob)
        finally:
            self._slots.release()

    async def _attempt(self, container: str, blob: Blob, names: dict[str, str]) -> str | None:
        error = ""
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


def model_binding_data(connection: str, container: str, blob: Blob) -> TypedData:
    """The data from which the library makes a client of the storage SDK."""
    content = {"Connection": connection, "ContainerName": container, "BlobName": blob.name}
    return TypedData(
        model_binding_data=ModelBindingData(
            version="1.0",
            source="AzureStorageBlobs",
            content_type="application/json",
            content=json.dumps(content).encode(),
        )
    )
