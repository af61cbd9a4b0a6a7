"""Secrets in Azure Key Vault, reached by the app's identity.

Source: Azure Key Vault REST API reference, "Secrets" and "Deleted secrets".
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.keyvault.secrets import SecretClient

from shared.adapters.azure_identity import app_identity
from shared.adapters.own_threads import OwnThreads
from shared.adapters.secret_names import checked_name
from shared.errors import StoreUnavailableError

_TRYING_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 5
_RECOVERABLE = "ObjectIsDeletedButRecoverable"

_log = logging.getLogger(__name__)


class KeyVaultSecrets:
    """Secrets of one vault; removed ones can be recovered there as long as the vault keeps them.

    The SDK is used without its asynchronous half, which would bring another HTTP client: secrets
    are few, and its calls wait in threads of their own.
    """

    def __init__(self, vault_uri: str, client_id: str = "") -> None:
        """Use a vault by a user-assigned identity, else by the one that is found."""
        self._threads = OwnThreads("secrets")
        self._credential = app_identity(client_id)
        self._client = SecretClient(
            vault_uri,
            self._credential,
            retry_total=2,
            retry_backoff_factor=_PAUSE_SECONDS,
            timeout=_TRYING_SECONDS,
            connection_timeout=_CONNECT_SECONDS,
            read_timeout=_ANSWER_SECONDS,
        )

    async def get(self, name: str) -> str | None:
        """See Secrets."""
        return await self._threads.run(self._get, checked_name(name))

    async def set(self, name: str, value: str) -> None:
        """See Secrets."""
        await self._threads.run(self._set, checked_name(name), value)

    async def delete(self, name: str) -> None:
        """See Secrets."""
        await self._threads.run(self._delete, checked_name(name))

    def close(self) -> None:
        """Close the connections."""
        self._threads.close()
        self._client.close()
        self._credential.close()

    def _get(self, name: str) -> str | None:
        with _translated():
            try:
                return self._client.get_secret(name).value
            except ResourceNotFoundError:
                return None

    def _set(self, name: str, value: str) -> None:
        """Write a secret, out of the way of what has become of an earlier one of the name.

        A removed secret keeps its name, and cannot be written but after it is recovered; while the
        vault removes or recovers it, nothing can be done with it.
        """
        deadline = time.monotonic() + _TRYING_SECONDS
        with _translated():
            while True:
                try:
                    self._client.set_secret(name, value)
                except ResourceExistsError as error:
                    if time.monotonic() > deadline:
                        raise
                    if _reason(error) == _RECOVERABLE:
                        self._recover(name)
                    time.sleep(_PAUSE_SECONDS)
                else:
                    return

    def _recover(self, name: str) -> None:
        try:
            self._client.begin_recover_deleted_secret(name)
        except (ResourceNotFoundError, ResourceExistsError):
            # Another process is doing it, or has done it.
            return

    def _delete(self, name: str) -> None:
        with _translated():
            try:
                self._client.begin_delete_secret(name)
            except ResourceNotFoundError:
                return
            except ResourceExistsError:
                # It is being removed, or recovered: what another process has begun comes last.
                return


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (AzureError, ValueError) as error:
        # The SDK's word for a challenge that asks for a token for somebody else is ValueError.
        status = error.status_code if isinstance(error, HttpResponseError) else None
        _log.warning("the key vault failed: %s, status %s", type(error).__name__, status)
        raise StoreUnavailableError("The secrets are not available now.") from error


def _reason(error: HttpResponseError) -> str:
    """The inner code of a conflict, which tells its kinds apart."""
    inner = None if error.error is None else error.error.innererror
    return str((inner or {}).get("code", ""))
