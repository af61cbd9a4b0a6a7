"""What holds for all that is kept in a storage account."""

import asyncio
import signal

import pytest

from localhost.azurite import azurite
from shared.adapters.azure_account import StorageAccount
from shared.adapters.azure_blobs import AzureBlobs
from shared.adapters.azure_state_table import AzureStateTable
from shared.errors import StoreUnavailableError
from tests.contracts.test_blob_store import MIB, NAME, chunks_of, content_of, names_of

pytestmark = pytest.mark.host


async def test_an_account_that_is_silent_is_unavailable_within_ten_seconds() -> None:
    with azurite() as emulator:
        silent = StorageAccount(connection_string=emulator.connection_string)
        blobs = AzureBlobs(silent, "dicom")
        state = AzureStateTable(silent)
        await blobs.put(NAME, b"x")
        await state.put("fhir", "p", "k", {"a": 1})
        emulator.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(
                blobs.put("dicom/other", b"x"),
                blobs.put_stream("dicom/another", chunks_of(*[bytes(MIB)] * 9)),
                blobs.get(NAME),
                blobs.get_ranges(NAME, [(0, 1)]),
                content_of(blobs.stream(NAME)),
                blobs.delete([NAME]),
                names_of(blobs, "dicom/"),
                blobs.list_folders("dicom/"),
                blobs.check(),
                state.get("fhir", "p", "k"),
                state.put("fhir", "p", "k", {"a": 2}),
                state.delete("fhir", "p", "k"),
                anext(aiter(state.list("fhir", "p"))),
                return_exceptions=True,
            )
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
    silent.close()
