"""The data's storage account: its services, reached with a key or by the app's identity."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.core.pipeline.transport import RequestsTransport
from azure.core.utils import parse_connection_string
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient, ContainerClient, LinearRetry
from obstore.auth.azure import AzureCredentialProvider
from obstore.store import AzureStore
from requests.adapters import HTTPAdapter

from shared.adapters.azure_identity import AppIdentity, app_identity

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore.store import AzureConfig, ClientConfig, RetryConfig

CONNECTIONS = 32
"""Most requests at a time to one service from one client."""

_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 4
_BACKOFF_SECONDS = 1
"""The SDK tries twice: in all it is never longer than 10 s."""

_HELD_BYTES = 4_194_304
"""Most of a blob that the SDK holds at a time, by its own will far more."""

_TRYING = timedelta(seconds=5)
_SILENCE = timedelta(seconds=5)
"""obstore begins no try after the first time and ends each after the second: 10 s in all."""


@dataclass(frozen=True)
class StorageAccount:
    """How to reach the account; `connection_string` goes before the URIs and the identity.

    Attributes:
        client_id: Of a user-assigned identity; without it, whoever DefaultAzureCredential finds.
    """

    connection_string: str = field(default="", repr=False)
    blob_uri: str = ""
    table_uri: str = ""
    client_id: str = ""

    @cached_property
    def blobs(self) -> BlobServiceClient:
        """The blob service in the SDK."""
        retries = LinearRetry(_BACKOFF_SECONDS, retry_total=1, random_jitter_range=0)
        options: dict[str, Any] = {
            "retry_policy": retries,
            "transport": transport(),
            "max_single_get_size": _HELD_BYTES,
            "max_single_put_size": _HELD_BYTES,
        }
        if self.connection_string:
            return BlobServiceClient.from_connection_string(self.connection_string, **options)
        return BlobServiceClient(self.blob_uri, self._credential, **options)

    @cached_property
    def tables(self) -> TableServiceClient:
        """The table service."""
        options: dict[str, Any] = {
            "retry_total": 1,
            "retry_backoff_factor": _BACKOFF_SECONDS,
            "transport": transport(),
        }
        if self.connection_string:
            return TableServiceClient.from_connection_string(self.connection_string, **options)
        return TableServiceClient(self.table_uri, credential=self._credential, **options)

    def container(self, name: str) -> AzureStore:
        """A container in obstore."""
        endpoint = self.blobs.primary_endpoint.partition("?")[0].rstrip("/")
        config: AzureConfig = {"endpoint": endpoint, "account_name": self._name}
        provider = None
        secrets = parse_connection_string(self.connection_string) if self.connection_string else {}
        if "sharedaccesssignature" in secrets:
            config |= {"sas_key": secrets["sharedaccesssignature"]}
        elif self.connection_string:
            config |= {"account_key": self.blobs.credential.account_key}
        else:
            provider = AzureCredentialProvider(self._credential)
        return AzureStore(
            name,
            config=config,
            client_options=client_options(endpoint),
            retry_config=RETRIES,
            credential_provider=provider,
        )

    def close(self) -> None:
        """Close the connections."""
        self.blobs.close()
        self.tables.close()

    @property
    def _name(self) -> str:
        # Behind a host name of somebody's own it is not known; nor is it needed, without a key.
        return self.blobs.account_name or "account"

    @cached_property
    def _credential(self) -> AppIdentity:
        return app_identity(self.client_id)


def make_container(container: ContainerClient) -> None:
    """Make a container unless it is there; an identity that may not is taken to have found it."""
    try:
        container.create_container()
    except ResourceExistsError:
        pass
    except HttpResponseError as error:
        # An identity may be allowed what is in the container and no more.
        if error.status_code != HTTPStatus.FORBIDDEN:
            raise


RETRIES: "RetryConfig" = {
    "max_retries": 10,
    "retry_timeout": _TRYING,
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}
"""When obstore tries again."""


def client_options(endpoint: str) -> "ClientConfig":
    """How obstore speaks to a blob service."""
    return {
        "allow_http": endpoint.startswith("http:"),
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "read_timeout": _SILENCE,
        # As a whole, a request takes as long as a slow client reads what it streams.
        "timeout": timedelta(days=1),
    }


def transport() -> RequestsTransport:
    """How the SDK speaks to a service."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
    return RequestsTransport(
        session=session, connection_timeout=_CONNECT_SECONDS, read_timeout=_ANSWER_SECONDS
    )
