"""A connection that is cut between COMMIT and its reply loses nothing, and doubles nothing."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from shared.adapters.sql_index.errors import OutcomeUnknownError
from shared.adapters.sql_index.index import SqlIndex
from shared.dicom.blob_names import dicom_blob
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.dicomweb.store_report import Failed, Stored, StoreReport
from shared.errors import StoreUnavailableError
from shared.ports import AlreadyStored, Committed, Index, Partition
from shared.wiring import Services
from tests import builders
from tests.archive import open_archive
from tests.contracts.index_data import new_instance, path, study_uid


@contextmanager
def _replies_lost(times: int) -> Iterator[list[None]]:
    """Cut the connection so many times, each just after a COMMIT took effect."""
    cuts: list[None] = []

    def cut(connection: Connection) -> None:
        if len(cuts) < times:
            cuts.append(None)
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.commit()
            driver.close()
            raise OperationalError("COMMIT", {}, ConnectionResetError())

    event.listen(Engine, "commit", cut)
    try:
        yield cuts
    finally:
        event.remove(Engine, "commit", cut)


async def test_a_commit_whose_reply_is_lost_is_told_by_its_blob_and_succeeds(
    index: Index, partition: Partition
) -> None:
    items = [new_instance(path(1, 1, number)) for number in (1, 2)]
    with _replies_lost(1) as cuts:
        outcomes = await index.commit(partition, items)
    assert len(cuts) == 1
    watermarks = [outcome.watermark for outcome in outcomes if isinstance(outcome, Committed)]
    assert watermarks == [1, 2]
    stored = [item async for item in index.instances(partition, ResourcePath(study_uid()))]
    assert [(item.watermark, item.file) for item in stored] == [
        (1, items[0].file),
        (2, items[1].file),
    ]
    assert len(await index.changes(0, 10)) == 2
    [series] = await index.series(partition, path(1, 1, None))
    assert series.instance_count == 2


async def test_after_a_lost_reply_only_what_is_ours_counts_as_committed(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [theirs := new_instance(path(1, 1, 1))])
    with _replies_lost(1):
        outcomes = await index.commit(
            partition, [new_instance(path(1, 1, 1)), new_instance(path(1, 1, 2))]
        )
    assert outcomes[0] == AlreadyStored(theirs.file.blob_id, theirs.file.sha256)
    assert isinstance(outcomes[1], Committed)


async def test_an_outcome_that_stays_unknown_is_told_apart(
    index: Index, partition: Partition
) -> None:
    with _replies_lost(2), pytest.raises(OutcomeUnknownError):
        await index.commit(partition, [new_instance()])


async def test_a_job_that_may_not_be_repeated_is_not(sql_index: SqlIndex) -> None:
    calls: list[None] = []
    with _replies_lost(1) as cuts, pytest.raises(StoreUnavailableError):
        await sql_index.database.write(lambda _: calls.append(None))
    assert (len(calls), len(cuts)) == (1, 1)


# --- through Store ------------------------------------------------------------------------------


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_archive(tmp_path) as services:
        yield services


async def _store(archive: Services, *files: bytes) -> StoreReport:
    async def body(content: bytes) -> AsyncIterator[bytes]:
        yield content

    async def bodies() -> AsyncIterator[AsyncIterator[bytes]]:
        for content in files:
            yield body(content)

    partition = await archive.partitions.resolve(None, create=True)
    return await archive.store.store(partition, bodies(), version=2)


async def _blobs(archive: Services) -> set[str]:
    return {blob.name async for blob in archive.blobs.list("dicom/")}


async def _stored_blobs(archive: Services, study: str) -> list[str]:
    partition = await archive.partitions.resolve(None, create=True)
    found = archive.index.instances(partition, ResourcePath(Uid(study)))
    return [dicom_blob(item.file.blob_id) async for item in found]


async def test_a_store_whose_reply_is_lost_succeeds_with_one_row_and_its_blobs(
    archive: Services,
) -> None:
    dataset = builders.dataset()
    with _replies_lost(1) as cuts:
        report = await _store(archive, builders.part10(dataset))
    assert len(cuts) == 1
    assert [type(outcome) for outcome in report.outcomes] == [Stored]
    names = await _stored_blobs(archive, dataset.StudyInstanceUID)
    assert len(names) == 1
    assert await _blobs(archive) == set(names)


async def test_blobs_of_a_store_whose_outcome_is_unknown_are_left_alone(
    archive: Services,
) -> None:
    dataset = builders.dataset()
    content = builders.part10(dataset)
    with _replies_lost(2) as cuts, pytest.raises(StoreUnavailableError):
        await _store(archive, content)
    assert len(cuts) == 2
    names = await _stored_blobs(archive, dataset.StudyInstanceUID)
    assert len(names) == 1
    assert await _blobs(archive) == set(names)
    retried = await _store(archive, content)
    assert [type(outcome) for outcome in retried.outcomes] == [Stored]
    assert await _stored_blobs(archive, dataset.StudyInstanceUID) == names
    assert await _blobs(archive) == set(names)


async def test_a_store_removes_its_own_blobs_only_where_the_row_names_others(
    archive: Services,
) -> None:
    dataset = builders.dataset()
    await _store(archive, builders.part10(dataset))
    [first] = await _stored_blobs(archive, dataset.StudyInstanceUID)
    dataset.PatientID = "another"
    report = await _store(archive, builders.part10(dataset))
    assert [type(outcome) for outcome in report.outcomes] == [Failed]
    assert await _blobs(archive) == {first}
