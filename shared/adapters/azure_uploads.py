"""Addresses for uploads: shared access signatures that allow to create one blob."""

from datetime import UTC, datetime, timedelta
from threading import Lock

from azure.core.exceptions import AzureError
from azure.storage.blob import (
    BlobSasPermissions,
    UserDelegationKey,
    generate_blob_sas,
)

from shared.adapters.azure_account import StorageAccount, make_container
from shared.adapters.own_threads import OwnThreads
from shared.errors import StoreUnavailableError
from shared.ports import UploadAddress

_KEY_LIFETIME = timedelta(days=1)
_CLOCK_SKEW = timedelta(minutes=15)
_HEADERS = {"x-ms-blob-type": "BlockBlob"}


class AzureUploads:
    """Signs with the account key of a connection string, or a key got for the app's identity."""

    def __init__(self, account: StorageAccount, container: str) -> None:
        self._service = account.blobs
        self._container = self._service.get_container_client(container)
        account_key: str | None = getattr(self._service.credential, "account_key", None)
        self._account_key = account_key
        self._delegation: tuple[UserDelegationKey, datetime] | None = None
        self._lock = Lock()
        self._has_container = False
        self._threads = OwnThreads("uploads")

    async def issue(self, name: str, lifetime: timedelta) -> UploadAddress:
        """See UploadAddresses."""
        return await self._threads.run(self._issue, name, lifetime)

    def _issue(self, name: str, lifetime: timedelta) -> UploadAddress:
        try:
            self._make_container()
            expires = datetime.now(UTC).replace(microsecond=0) + lifetime
            token = self._token(name, expires)
        except AzureError as error:
            raise StoreUnavailableError("The storage account does not answer.") from error
        url = f"{self._container.get_blob_client(name).url}?{token}"
        return UploadAddress(url, _HEADERS, expires)

    def _make_container(self) -> None:
        if not self._has_container:
            make_container(self._container)
            self._has_container = True

    def _token(self, name: str, expires: datetime) -> str:
        is_plain = self._service.url.startswith("http:")  # The emulator.
        return generate_blob_sas(
            str(self._service.account_name),
            self._container.container_name,
            name,
            account_key=self._account_key,
            user_delegation_key=None if self._account_key else self._key_until(expires),
            # Not write: that would allow to write again what is there.
            permission=BlobSasPermissions(create=True),
            expiry=expires,
            protocol="https,http" if is_plain else "https",
        )

    def _key_until(self, expires: datetime) -> UserDelegationKey:
        """The key of the identity, the one in hand if it lasts; at most seven days, Azure says."""
        with self._lock:
            if self._delegation is None or self._delegation[1] < expires:
                now = datetime.now(UTC)
                until = expires + _KEY_LIFETIME
                key = self._service.get_user_delegation_key(now - _CLOCK_SKEW, until)
                self._delegation = key, until
            return self._delegation[0]
