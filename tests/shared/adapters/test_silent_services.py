"""What waits for a service that says nothing keeps no one else from working."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta

import pytest

from shared.adapters.azure_account import StorageAccount
from shared.adapters.azure_inbox import AzureInbox
from shared.adapters.azure_uploads import AzureUploads
from shared.adapters.entra_keys import EntraKeys
from shared.adapters.fhir_server import HttpFhirServer
from shared.adapters.key_vault_secrets import KeyVaultSecrets

CALLS = 2 * ((os.process_cpu_count() or 1) + 4)
"""Twice as many as the threads that asyncio has for everyone."""

type Calls = Callable[[int], Callable[[], Awaitable[object]]]
"""Makes what asks a service at a port."""


async def _nobody() -> None:
    return None


def _account(port: int) -> StorageAccount:
    return StorageAccount(
        connection_string="AccountName=devstoreaccount1;AccountKey=aGlkZGVu;"
        f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        f"TableEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
    )


def _fhir(port: int) -> Callable[[], Awaitable[object]]:
    server = HttpFhirServer(f"http://127.0.0.1:{port}", _nobody, "", trying_seconds=1)
    return lambda: server.read("Patient/1")


def _secrets(port: int) -> Callable[[], Awaitable[object]]:
    secrets = KeyVaultSecrets(f"https://127.0.0.1:{port}", "the-app")
    return lambda: secrets.get("fhir")


def _inbox(port: int) -> Callable[[], Awaitable[object]]:
    inbox = AzureInbox(_account(port), "inbox", "inbox-failed")
    return lambda: inbox.open("a.dcm")


def _uploads(port: int) -> Callable[[], Awaitable[object]]:
    uploads = AzureUploads(_account(port), "inbox")
    return lambda: uploads.issue("a.dcm", timedelta(hours=1))


def _keys(port: int) -> Callable[[], Awaitable[object]]:
    # Whoever asks the same one waits for the same reading.
    return lambda: EntraKeys(f"http://127.0.0.1:{port}/tenant").after_change()


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """What takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=2 * CALLS) as listening:
        yield listening


@pytest.mark.parametrize("calls", [_fhir, _secrets, _inbox, _uploads, _keys])
async def test_many_calls_that_are_not_answered_keep_no_one_from_working(
    silent: socket.socket, calls: Calls
) -> None:
    call = calls(silent.getsockname()[1])
    waiting = [asyncio.ensure_future(call()) for _ in range(CALLS)]
    for _ in range(3):
        await asyncio.sleep(0)  # Until each of them waits for a thread.

    work = asyncio.create_task(asyncio.to_thread(len, "work"))
    done, _ = await asyncio.wait([work, *waiting], return_when=asyncio.FIRST_COMPLETED)

    assert work in done
    silent.close()
    await asyncio.gather(*waiting, return_exceptions=True)
