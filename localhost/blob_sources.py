"""The two storages whose blobs are polled: a folder, and a storage account."""

import asyncio
import errno
import fcntl
import hashlib
import json
import os
import re
import signal
import sqlite3
import stat
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobServiceClient
from azure.storage.queue.aio import QueueClient

from localhost.blobs import FOLDER_CONNECTION, Blob
from localhost.protos import ModelBindingData, TypedData

_STILL_SECONDS = 1.0
_UNTOLD_STILL_SECONDS = 30.0
"""For how long nobody writes to a file of which is not told whether somebody still might."""
_UNFINISHED = re.compile(r"\A\.|\.tmp\Z|\.part\Z|#\d+\Z")
"""Names under which careful programs write, the app's own among them, until a file is whole."""
_LARGEST_CONTENT_BYTES = 1_048_576
_HOST_CONTAINER = "azure-webjobs-hosts"
_POISON_QUEUE = "webjobs-blobtrigger-poison"


class FolderSource:
    """Containers as folders; a file counts once it is believed that nobody writes to it any more.

    Links are not followed, and names that are not UTF-8 cannot be told to a function.
    """

    def __init__(self, folder: Path, notes: Path) -> None:
        notes.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._notes = notes
        self._receipts = sqlite3.connect(notes / "blob_receipts.sqlite", autocommit=True)
        self._receipts.execute("PRAGMA journal_mode = WAL")
        # A receipt that a power cut takes along lets a file be handed over once more.
        self._receipts.execute("PRAGMA synchronous = NORMAL")
        self._receipts.execute(
            "CREATE TABLE IF NOT EXISTS receipt (id TEXT PRIMARY KEY) WITHOUT ROWID"
        )

    def close(self) -> None:
        """Close the database of receipts."""
        self._receipts.close()

    async def blobs(self, container: str) -> AsyncIterator[Blob]:
        """See Source."""
        for blob in await asyncio.to_thread(self._list, self._folder / container):
            yield blob

    def _list(self, root: Path) -> list[Blob]:
        found = []
        now = time.time()
        for file in root.rglob("*") if root.is_dir() else ():
            if _UNFINISHED.search(file.name):
                continue
            with suppress(OSError, UnicodeEncodeError):
                status = file.lstat()
                if stat.S_ISREG(status.st_mode) and _is_complete(file, now - status.st_mtime):
                    version = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
                    name = file.relative_to(root).as_posix()
                    name.encode()
                    found.append(Blob(name, version, status.st_size, file.as_uri()))
        return found

    async def is_handled(self, function: str, container: str, blob: Blob) -> bool:
        """See Source."""
        row = self._receipts.execute(
            "SELECT 1 FROM receipt WHERE id = ?", (_receipt(function, container, blob),)
        )
        return row.fetchone() is not None

    async def set_handled(self, function: str, container: str, blob: Blob) -> None:
        """See Source."""
        if not (self._folder / container / blob.name).exists():
            return  # It will not be found again.
        self._receipts.execute(
            "INSERT OR IGNORE INTO receipt VALUES (?)", (_receipt(function, container, blob),)
        )

    async def set_poison(self, function: str, container: str, blob: Blob, error: str) -> None:
        """See Source; a line of a file, as there is no queue."""
        with (self._notes / "poison.jsonl").open("a") as file:
            file.write(json.dumps(_poison(function, container, blob) | {"Error": error}) + "\n")

    async def data(self, container: str, blob: Blob, *, is_sdk_type: bool) -> TypedData:
        """See Source; the content only of a small file: a larger one is read by its name."""
        if is_sdk_type:
            return _model_binding_data(FOLDER_CONNECTION, container, blob)
        if blob.length > _LARGEST_CONTENT_BYTES:
            return TypedData(bytes=b"")
        file = self._folder / container / blob.name
        return TypedData(bytes=await asyncio.to_thread(file.read_bytes))


def _is_complete(file: Path, still_seconds: float) -> bool:
    if still_seconds < _STILL_SECONDS:
        return False
    is_written_to = _is_written_to(file)
    return still_seconds >= _UNTOLD_STILL_SECONDS if is_written_to is None else not is_written_to


def _is_written_to(file: Path) -> bool | None:
    """Whether a program has a file open to write to it, where Linux tells (fcntl(2), leases).

    None stands for files of others, and for other systems and some file systems.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        # Who opens it to write at this very moment would otherwise end this process by a signal.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
    return False


class AccountSource:
    """Containers of a storage account, or of the emulator."""

    def __init__(self, connection_string: str, setting: str) -> None:
        self._connection_string = connection_string
        self._setting = setting
        self._service = BlobServiceClient.from_connection_string(connection_string)

    async def blobs(self, container: str) -> AsyncIterator[Blob]:
        """See Source."""
        client = self._service.get_container_client(container)
        try:
            async for found in client.list_blobs():
                uri = f"{client.url}/{found.name}"
                yield Blob(found.name, found.etag.strip('"'), found.size, uri)
        except ResourceNotFoundError:
            return

    async def is_handled(self, function: str, container: str, blob: Blob) -> bool:
        """See Source."""
        receipt = self._service.get_blob_client(
            _HOST_CONTAINER, _receipt(function, container, blob)
        )
        return await receipt.exists()

    async def set_handled(self, function: str, container: str, blob: Blob) -> None:
        """See Source."""
        receipt = self._receipt(function, container, blob)
        try:
            await receipt.upload_blob(b"")
        except ResourceExistsError:
            return
        except ResourceNotFoundError:
            await self._service.create_container(_HOST_CONTAINER)
            await receipt.upload_blob(b"")

    def _receipt(self, function: str, container: str, blob: Blob) -> BlobClient:
        return self._service.get_blob_client(_HOST_CONTAINER, _receipt(function, container, blob))

    async def set_poison(self, function: str, container: str, blob: Blob, error: str) -> None:
        """See Source; a message, as the real host leaves it."""
        del error
        queue = QueueClient.from_connection_string(self._connection_string, _POISON_QUEUE)
        async with queue:
            with suppress(ResourceExistsError):
                await queue.create_queue()
            await queue.send_message(json.dumps(_poison(function, container, blob)))

    async def data(self, container: str, blob: Blob, *, is_sdk_type: bool) -> TypedData:
        """See Source."""
        if is_sdk_type:
            return _model_binding_data(self._setting, container, blob)
        stream = await self._service.get_blob_client(container, blob.name).download_blob()
        return TypedData(bytes=await stream.readall())


def _receipt(function: str, container: str, blob: Blob) -> str:
    name = hashlib.sha256(f"{container}/{blob.name}".encode()).hexdigest()
    return f"blobreceipts/local/{function}/{blob.version}/{name}"


def _poison(function: str, container: str, blob: Blob) -> dict[str, str]:
    return {
        "Type": "BlobTrigger",
        "FunctionId": function,
        "ContainerName": container,
        "BlobName": blob.name,
        "ETag": blob.version,
    }


def _model_binding_data(connection: str, container: str, blob: Blob) -> TypedData:
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
