"""Exports to a container of any storage account, by obstore; the log is an append blob of the SDK.

Source: Azure Storage REST API reference, "Append Block".
"""

import asyncio
from collections.abc import AsyncIterator, Buffer, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import obstore
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobClient, LinearRetry
from obstore.auth.azure import AzureCredentialProvider
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore

from shared.adapters.azure_account import RETRIES, client_options, transport
from shared.adapters.azure_identity import app_identity
from shared.adapters.obstore_blobs import MISSING, gathered
from shared.adapters.own_threads import OwnThreads
from shared.dicomweb.export_container import Authorization, BlobContainer
from shared.errors import DestinationRefusedError, StoreUnavailableError

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore import WritableFile
    from obstore.store import AzureConfig

_LOG = "errors.log"
_THREADS = 16
_PUT_BYTES = 4_194_304
"""A file up to this length is written by one request."""
_REFUSALS = (PermissionDeniedError, UnauthenticatedError, *MISSING)
_REFUSED = "The container of the destination cannot be written to."
_CLIENT_ERRORS = range(400, 500)
_TRANSIENT = frozenset({408, 429})


class BlobDestination:
    """A folder of an export in a container; what is there under the same names is replaced."""

    def __init__(self, operation_id: str, container: BlobContainer, client_id: str = "") -> None:
        self._folder = operation_id
        self._log_url = f"{container.url}/{operation_id}/{_LOG}"
        self._store = _store(container, client_id)
        self._log = _log(container, self._log_url, client_id)
        self._threads = OwnThreads("export", _THREADS)

    @property
    def errors_href(self) -> str:
        """See ExportDestination."""
        return self._log_url

    async def begin(self) -> None:
        """See ExportDestination."""
        await self._run(self._log.create_append_blob)

    async def write(self, name: str, chunks: AsyncIterator[Buffer]) -> None:
        """See ExportDestination."""
        name = f"{self._folder}/{name}"
        batches = gathered(chunks, _PUT_BYTES)
        first: Sequence[Buffer] = await anext(batches, [])
        second = await anext(batches, None)
        if second is None:
            await self._run(self._put, name, first)
            return
        writer = obstore.open_writer(self._store, name, buffer_size=_PUT_BYTES, max_concurrency=2)
        await self._run(_write_all, writer, first)
        await self._run(_write_all, writer, second)
        async for batch in batches:
            await self._run(_write_all, writer, batch)
        # Until here, no blob of the name shows.
        await self._run(writer.close)

    def _put(self, name: str, pieces: Sequence[Buffer]) -> None:
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        obstore.put(self._store, name, memoryview(content), use_multipart=False)

    async def log(self, lines: bytes) -> None:
        """See ExportDestination."""
        await self._run(self._append, lines)

    def _append(self, lines: bytes) -> None:
        try:
            self._log.append_block(lines)
        except ResourceNotFoundError:
            # Somebody has removed it; without a container, this fails too.
            self._log.create_append_blob()
            self._log.append_block(lines)

    async def close(self) -> None:
        """See ExportDestination."""
        await asyncio.to_thread(self._log.close)
        self._threads.close()

    async def _run[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def translated() -> R:
            with _translated():
                return function(*args, **kwargs)

        return await self._threads.run(translated)


def _write_all(writer: "WritableFile", batch: Sequence[Buffer]) -> None:
    for chunk in batch:
        writer.write(memoryview(chunk))


def _store(container: BlobContainer, client_id: str) -> AzureStore:
    config: AzureConfig = {"endpoint": container.service_url, "account_name": _account(container)}
    provider = None
    match container.authorization:
        case Authorization.SAS:
            config |= {"sas_key": container.secret}
        case Authorization.ACCOUNT_KEY:
            config |= {"account_key": container.secret}
        case Authorization.NONE:
            config |= {"skip_signature": True}
        case Authorization.IDENTITY:
            provider = AzureCredentialProvider(app_identity(client_id))
    return AzureStore(
        container.name,
        config=config,
        client_options=client_options(container.service_url),
        retry_config=RETRIES,
        credential_provider=provider,
    )


def _log(container: BlobContainer, url: str, client_id: str) -> BlobClient:
    credential: Any = None
    match container.authorization:
        case Authorization.SAS:
            url = f"{url}?{container.secret}"
        case Authorization.ACCOUNT_KEY:
            credential = {"account_name": _account(container), "account_key": container.secret}
        case Authorization.IDENTITY:
            credential = app_identity(client_id)
        case Authorization.NONE:
            pass
    return BlobClient.from_blob_url(
        url,
        credential,
        retry_policy=LinearRetry(1, retry_total=1, random_jitter_range=0),
        transport=transport(),
        # The host is one that is allowed; where it would send us is not known to be one.
        permit_redirects=False,
    )


def _account(container: BlobContainer) -> str:
    path = container.service_url.partition("://")[2].partition("/")[2]
    return path or container.authority.partition(".")[0]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _REFUSALS as error:
        raise DestinationRefusedError(_REFUSED) from error
    except HttpResponseError as error:
        status = error.status_code
        if status in _CLIENT_ERRORS and status not in _TRANSIENT:
            raise DestinationRefusedError(_REFUSED) from error
        raise StoreUnavailableError("The destination does not answer now.") from error
    except (AzureError, BaseError, OSError) as error:
        raise StoreUnavailableError("The destination does not answer now.") from error
