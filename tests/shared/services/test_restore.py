import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import text

from shared.adapters.sql_deletions import SqlDeletions
from shared.adapters.sql_tag_table import SqlTagTable
from shared.dicom.extended_query_tag import NewTag
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.dicomweb.query import parse_query
from shared.dicomweb.store_report import Failed, FailureReason, Stored, StoreResult
from shared.errors import ConflictError, GoneError, NotFoundError
from shared.ports import ChangeAction, Operation, OperationStatus, OperationType, Partition
from shared.services.cleanup import Cleanup
from shared.services.delete import Delete
from shared.wiring import Services
from tests.archive import blobs_in
from tests.builders import dataset, image, part10, with_values
from tests.shared.services.requests import frames, metadata, path_of, retrieve, store
from tests.shared.services.test_update import begin, run


def study_of(source: Dataset) -> Uid:
    return Uid(str(source.StudyInstanceUID))


def in_study(source: Dataset, **keywords: object) -> Dataset:
    return dataset(
        StudyInstanceUID=source.StudyInstanceUID,
        SeriesInstanceUID=source.SeriesInstanceUID,
        **keywords,
    )


async def remove_due(services: Services) -> int:
    later = datetime.now(UTC) + services.settings.deleted_blob_grace_seconds
    return await services.cleanup.remove_due(later + timedelta(seconds=1))


async def test_a_restored_study_is_what_it_was(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    first = image(frames=2, PatientName="Zoë^Ann", StudyDescription="Chest")
    second = in_study(first, StudyDescription="Chest again")
    await store(services, partition, [part10(first), part10(second)])
    study = ResourcePath(study_of(first))
    query = parse_query([("includefield", "all")], Level.STUDY, version=2, max_limit=10)
    before = (
        (await services.search.search(partition, query, base_url="")).documents,
        sorted(await retrieve(services, partition, study)),
        await metadata(services, partition, study),
        await frames(services, partition, path_of(first), [2]),
    )
    blobs = [name for name in blobs_in(tmp_path) if name.startswith("dicom/")]
    await services.delete.delete(partition, study)

    report = await services.restore.restore(partition, study.study)

    assert report.result(2) is StoreResult.STORED
    assert [outcome.path for outcome in report.outcomes] == [path_of(first), path_of(second)]
    assert before == (
        (await services.search.search(partition, query, base_url="")).documents,
        sorted(await retrieve(services, partition, study)),
        await metadata(services, partition, study),
        await frames(services, partition, path_of(first), [2]),
    )
    assert [name for name in blobs_in(tmp_path) if name.startswith("dicom/")] == blobs
    changes = await services.index.changes(0, 10)
    assert [change.action for change in changes[4:]] == [ChangeAction.CREATE] * 2
    assert await remove_due(services) == 0


async def test_a_deleted_instance_comes_back_beside_the_others(
    services: Services, partition: Partition
) -> None:
    kept = dataset()
    gone = in_study(kept)
    await store(services, partition, [part10(kept), part10(gone)])
    await services.delete.delete(partition, path_of(gone))

    report = await services.restore.restore(partition, study_of(kept))

    assert [outcome.path for outcome in report.outcomes] == [path_of(gone)]
    study = ResourcePath(study_of(kept))
    assert len(await metadata(services, partition, study)) == 2


async def test_what_was_deleted_last_comes_back_and_what_went_before_does_too(
    services: Services, partition: Partition
) -> None:
    first = dataset(StudyDescription="First")
    other = in_study(first)
    again = in_study(first, SOPInstanceUID=first.SOPInstanceUID, StudyDescription="Again")
    await store(services, partition, [part10(first), part10(other)])
    await services.delete.delete(partition, ResourcePath(study_of(first)))
    await store(services, partition, [part10(again)])
    await services.delete.delete(partition, ResourcePath(study_of(first)))

    await services.restore.restore(partition, study_of(first))

    assert await retrieve(services, partition, path_of(first)) == [part10(again)]
    assert await retrieve(services, partition, path_of(other)) == [part10(other)]


async def test_what_is_there_now_stays_and_is_told(
    services: Services, partition: Partition
) -> None:
    first = dataset()
    other = in_study(first)
    again = in_study(first, SOPInstanceUID=first.SOPInstanceUID, StudyDescription="Again")
    await store(services, partition, [part10(first), part10(other)])
    await services.delete.delete(partition, ResourcePath(study_of(first)))
    await store(services, partition, [part10(again)])

    report = await services.restore.restore(partition, study_of(first))

    assert report.result(2) is StoreResult.STORED_IN_PART
    failed = [outcome for outcome in report.outcomes if isinstance(outcome, Failed)]
    assert [(one.path, one.reason) for one in failed] == [
        (path_of(first), FailureReason.ALREADY_STORED)
    ]
    assert await retrieve(services, partition, path_of(first)) == [part10(again)]
    nothing = await services.restore.restore(partition, study_of(first))
    assert nothing.result(2) is StoreResult.REFUSED


async def test_what_was_replaced_does_not_come_back(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    await store(services, partition, [part10(source)])
    source.StudyDescription = "Newer"
    await store(services, partition, [part10(source)], replaces=True)
    with pytest.raises(ConflictError):
        await services.restore.restore(partition, study_of(source))


async def test_there_is_nothing_to_restore(services: Services, partition: Partition) -> None:
    with pytest.raises(NotFoundError) as never:
        await services.restore.restore(partition, Uid("1.2.3"))
    assert not isinstance(never.value, GoneError)
    source = dataset()
    await store(services, partition, [part10(source)])
    await services.delete.delete(partition, path_of(source))
    await remove_due(services)
    with pytest.raises(GoneError):
        await services.restore.restore(partition, study_of(source))


async def test_a_damaged_instance_is_told_and_the_others_come_back(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    first = dataset()
    other = in_study(first)
    await store(services, partition, [part10(first)])
    [damaged] = (tmp_path / "metadata").rglob("*.gz")
    await store(services, partition, [part10(other)])
    await services.delete.delete(partition, ResourcePath(study_of(first)))
    damaged.write_bytes(b"damaged")

    report = await services.restore.restore(partition, study_of(first))

    failed, stored = report.outcomes
    assert isinstance(failed, Failed)
    assert failed.reason is FailureReason.PROCESSING_FAILURE
    assert stored == Stored(path_of(other), str(other.SOPClassUID))


async def test_a_restored_study_can_be_deleted_and_restored_again(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    await store(services, partition, [part10(source)])
    for _ in range(3):
        await services.delete.delete(partition, path_of(source))
        await services.restore.restore(partition, study_of(source))
    assert await retrieve(services, partition, path_of(source)) == [part10(source)]


async def test_restoring_and_removing_at_once_loses_nothing_and_shows_nothing_without_blobs(
    services: Services, partition: Partition
) -> None:
    sources = [dataset() for _ in range(40)]
    at_once = Delete(services.blobs, services.index, grace=timedelta(0))
    await store(services, partition, map(part10, sources))
    for source in sources:
        await at_once.delete(partition, path_of(source))

    async def restore(source: Dataset) -> bool:
        try:
            report = await services.restore.restore(partition, study_of(source))
        except GoneError:
            return False
        return isinstance(report.outcomes[0], Stored)

    cleanup = asyncio.create_task(_remove_until_empty(services.cleanup))
    restored = [await restore(source) for source in sources]
    await cleanup
    for source, is_there in zip(sources, restored, strict=True):
        if is_there:
            assert await retrieve(services, partition, path_of(source)) == [part10(source)]
        else:
            with pytest.raises(NotFoundError):
                await retrieve(services, partition, path_of(source))
    assert await services.index.waiting_blobs() == 0


async def _remove_until_empty(cleanup: Cleanup) -> None:
    for _ in range(100):
        await cleanup.remove_due(datetime.now(UTC))
        await asyncio.sleep(0)


async def test_restoring_at_once_by_two_brings_each_instance_back_once(
    services: Services, partition: Partition
) -> None:
    first = dataset()
    files = [part10(first), *(part10(in_study(first)) for _ in range(20))]
    await store(services, partition, files)
    await services.delete.delete(partition, ResourcePath(study_of(first)))
    await asyncio.gather(
        *(services.restore.restore(partition, study_of(first)) for _ in range(2)),
        return_exceptions=True,
    )
    stored = await retrieve(services, partition, ResourcePath(study_of(first)))
    assert sorted(stored) == sorted(files)
    assert len(await services.index.changes(0, 100)) == 63


class _PowerCutError(Exception):
    """The app is gone in the middle of it."""


async def test_a_restore_that_is_cut_off_between_its_batches_goes_on_when_it_is_asked_for_again(
    services: Services, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataset()
    sources = [in_study(first, InstanceNumber=n) for n in range(600)]
    await store(services, partition, [part10(source) for source in sources])
    study = ResourcePath(study_of(first))
    await services.delete.delete(partition, study)
    batches = 0
    restored = SqlDeletions.restore

    async def until_the_second_batch(*args: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches > 1:
            raise _PowerCutError
        return await restored(*args)

    with monkeypatch.context() as cut:
        cut.setattr(SqlDeletions, "restore", until_the_second_batch)
        with pytest.raises(_PowerCutError):
            await services.restore.restore(partition, study.study)
    some = [item async for item in services.index.instances(partition, study)]
    assert 0 < len(some) < len(sources)

    await services.restore.restore(partition, study.study)

    found = [item async for item in services.index.instances(partition, study)]
    assert len(found) == len({item.path for item in found}) == len(sources)
    changes = [
        change
        for after in range(0, 3 * len(sources), 500)
        for change in await services.index.changes(after, 500)
    ]
    created = [change.path for change in changes if change.action is ChangeAction.CREATE]
    assert len(created) == 2 * len(sources), "each was stored once and brought back once"


async def test_an_updated_study_comes_back_as_it_was_updated(
    services: Services, partition: Partition
) -> None:
    source = image(PatientName="Old^Name")
    study = ResourcePath(study_of(source))
    await store(services, partition, [part10(source)])
    await run(services, await begin(services, study.study))
    before = await retrieve(services, partition, study)
    assert before != [part10(source)]
    await services.delete.delete(partition, study)
    with pytest.raises(NotFoundError):
        await retrieve(services, partition, study)

    report = await services.restore.restore(partition, study.study)

    assert report.result(2) is StoreResult.STORED
    assert await retrieve(services, partition, study) == before
    await remove_due(services)
    assert await retrieve(services, partition, study) == before


async def add_tag(services: Services, path: str, vr: str, level: Level) -> SqlTagTable:
    """Add a tag whose re-index never begins."""
    index: Any = services.index
    now = datetime.now(UTC)
    operation = Operation(
        id="0" * 32,
        type=OperationType.REINDEX,
        status=OperationStatus.NOT_STARTED,
        created=now,
        last_updated=now,
        percent_complete=0,
        input={},
        results=None,
    )
    table = SqlTagTable(index)
    await table.add([NewTag(path=path, vr=vr, level=level)], operation, 10)
    return table


async def test_what_comes_back_is_indexed_by_tags_that_were_added_meanwhile(
    services: Services, partition: Partition
) -> None:
    source = dataset(BodyPartExamined="CHEST")
    await store(services, partition, [part10(source)])
    await services.delete.delete(partition, path_of(source))
    await services.restore.restore(partition, study_of(source))
    await services.delete.delete(partition, path_of(source))
    await add_tag(services, "00180015", "CS", Level.SERIES)

    report = await services.restore.restore(partition, study_of(source))

    assert report.result(2) is StoreResult.STORED
    index: Any = services.index
    found = text("SELECT value FROM tag_value_string")
    assert await index.database.read(lambda c: list(c.execute(found).scalars())) == ["chest"]


async def test_what_comes_back_and_cannot_be_indexed_by_a_tag_is_told_and_disables_it(
    services: Services, partition: Partition
) -> None:
    source = dataset(PatientAge="045Y")
    malformed = with_values(part10(source), PatientAge=b"old ")
    await store(services, partition, [malformed], version=1)
    tags = await add_tag(services, "00101010", "AS", Level.INSTANCE)
    for _ in range(2):
        await services.delete.delete(partition, path_of(source))
        assert await tags.errors("00101010", 10, 0) == []
        await tags.enable("00101010", is_enabled=True)

        await services.restore.restore(partition, study_of(source))

        [error] = await tags.errors("00101010", 10, 0)
        assert error.path == path_of(source)
        tag = await tags.find("00101010")
        assert tag is not None
        assert (tag.errors, tag.is_enabled) == (1, False)
