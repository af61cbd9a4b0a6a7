"""The storage SDK's client of the data's account."""

from collections.abc import Mapping
from typing import Any

from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.storage.blob import BlobServiceClient, LinearRetry

_CHUNK_BYTES = 4_194_304
_OPTIONS: Mapping[str, Any] = {
    "max_single_get_size": _CHUNK_BYTES,
    "max_chunk_get_size": _CHUNK_BYTES,
    "max_single_put_size": _CHUNK_BYTES,
    "max_block_size": _CHUNK_BYTES,
    "connection_timeout": 5,
    "read_timeout": 30,
}
"""What is held of a blob at a time, in bytes, and seconds to wait; the SDK's own are far larger."""


def blob_service(connection_string: str, uri: str, client_id: str) -> BlobServiceClient:
    """Connect by a connection string, or else to a URI by the app's identity."""
    retries = LinearRetry(backoff=1, retry_total=2, random_jitter_range=1)
    if connection_string:
        return BlobServiceClient.from_connection_string(
            connection_string, retry_policy=retries, **_OPTIONS
        )
    credential = (
        ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()
    )
    return BlobServiceClient(uri, credential, retry_policy=retries, **_OPTIONS)
