"""What holds for all that is kept in a storage account."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localhost.azurite import azurite
from shared.adapters.azure_account import StorageAccount
from shared.adapters.azure_blobs import AzureBlobs
from shared.adapters.azure_state_table import AzureStateTable
from shared.dicom.blob_names import instance_blobs, new_blob_id
from shared.errors import StoreUnavailableError
from shared.wiring import Services
from tests.archive import open_archive
from tests.contracts.index_data import new_instance, path, with_frames
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


NOW = datetime.now(UTC)


@pytest.fixture
async def archive(account: StorageAccount, tmp_path: Path) -> AsyncIterator[Services]:
    async with open_archive(tmp_path, DATA_STORAGE=account.connection_string) as services:
        yield services


async def _write(archive: Services, *, days_ago: int) -> tuple[str, set[str]]:
    """Write all blobs of an instance, and give its blob id and their names."""
    blob_id = new_blob_id(int((NOW - timedelta(days=days_ago)).timestamp() * 1000))
    names = instance_blobs(blob_id, has_frames_blob=True)
    await asyncio.gather(*(archive.blobs.put(name, b"x") for name in names))
    return blob_id, set(names)


async def _commit(archive: Services, blob_id: str, number: int) -> None:
    item = with_frames(new_instance(path(1, 1, number)), "blob")
    partition = await archive.partitions.resolve(None, create=True)
    named = replace(item, file=replace(item.file, blob_id=blob_id))
    await archive.index.commit(partition, [named])


async def test_what_no_row_names_and_what_was_deleted_is_removed_there(archive: Services) -> None:
    kept, kept_names = await _write(archive, days_ago=5)
    deleted, deleted_names = await _write(archive, days_ago=4)
    await _commit(archive, kept, 1)
    await _commit(archive, deleted, 2)
    _, young_names = await _write(archive, days_ago=0)
    for days_ago in (2, 3):
        await _write(archive, days_ago=days_ago)
    await archive.blobs.put("dicom/000/20200101/readme.txt", b"of somebody")
    partition = await archive.partitions.resolve(None, create=True)
    await archive.index.delete(partition, path(1, 1, 2), NOW)

    async def names() -> set[str]:
        kinds = ("dicom/", "metadata/", "frames/")
        return {name for kind in kinds for name in await names_of(archive.blobs, kind)}

    remaining = kept_names | young_names | {"dicom/000/20200101/readme.txt"}
    assert await archive.cleanup.sweep(NOW) == 6
    assert await names() == remaining | deleted_names
    assert await archive.cleanup.remove_due(NOW) == 3
    assert await names() == remaining
    # How far it has come is kept in a table: older days are not looked at again.
    _, old_names = await _write(archive, days_ago=9)
    assert await archive.cleanup.sweep(NOW) == 0
    assert await names() == remaining | old_names
