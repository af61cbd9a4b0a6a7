"""Instances that are stored in the place of those that are there."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.adapters.sql_tag_table import SqlTagTable
from shared.dicom.resource import Level, ResourcePath
from shared.dicomweb.query import parse_query
from shared.dicomweb.store_report import Failed, FailureReason, Stored, StoreReport, StoreResult
from shared.errors import StoreUnavailableError
from shared.ports import ChangeAction, InstanceState, Partition
from shared.services.rebuild import Rebuild
from shared.services.store import Store
from shared.wiring import Services
from tests.archive import blobs_in, open_archive
from tests.builders import dataset, image, part10
from tests.shared.services.requests import bodies_of, metadata, path_of, retrieve, store


async def _replace(
    services: Services, partition: Partition, *files: bytes, **options: Any
) -> StoreReport:
    return await store(services, partition, files, replaces=True, **options)


def _version_of(source: Dataset, number: int) -> bytes:
    source.StudyDescription = f"Version {number}"
    return part10(source)


async def test_a_replaced_instance_is_the_new_one_everywhere(
    services: Services, partition: Partition
) -> None:
    source = image()
    old, new = _version_of(source, 1), _version_of(source, 2)
    await store(services, partition, [old])
    before = await services.metadata.version(partition, path_of(source))

    report = await _replace(services, partition, new)

    assert report.result(2) is StoreResult.STORED
    assert await retrieve(services, partition, path_of(source)) == [new]
    (document,) = await metadata(services, partition, path_of(source))
    assert document["00081030"]["Value"] == ["Version 2"]
    study = ResourcePath(path_of(source).study)
    assert await metadata(services, partition, study) == [document]
    assert await services.metadata.version(partition, path_of(source)) != before
    query = parse_query([("StudyDescription", "Version 2")], Level.STUDY, version=2, max_limit=9)
    (found,) = (await services.search.search(partition, query, base_url="")).documents
    assert found["00201208"]["Value"] == [1]
    changes = await services.index.changes(0, 10)
    assert [(change.action, change.state) for change in changes] == [
        (ChangeAction.CREATE, InstanceState.REPLACED),
        (ChangeAction.UPDATE, InstanceState.CURRENT),
    ]


async def test_what_is_not_there_is_stored(services: Services, partition: Partition) -> None:
    report = await _replace(services, partition, part10(dataset()), part10(dataset()))
    assert report.result(2) is StoreResult.STORED
    changes = await services.index.changes(0, 10)
    assert [change.action for change in changes] == [ChangeAction.CREATE] * 2


async def test_a_series_document_forgets_the_replaced_instance(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        sources = [dataset(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3") for _ in range(80)]
        await store(services, partition, [part10(source) for source in sources])
        study = ResourcePath(path_of(sources[0]).study)
        assert len(await metadata(services, partition, study)) == 80
        [series] = await services.index.series(partition, study)
        assert series.document_revision == 80

        await _replace(services, partition, _version_of(sources[3], 2))

        documents = await metadata(services, partition, study)
        assert len(documents) == 80
        changed = [d for d in documents if d["00081030"]["Value"] == ["Version 2"]]
        assert [d["00080018"]["Value"] for d in changed] == [[sources[3].SOPInstanceUID]]


async def test_the_very_same_file_is_done_and_changes_nothing(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    content = part10(source := dataset())
    await store(services, partition, [content])
    before = await services.index.find_instance(partition, path_of(source))
    blobs = blobs_in(tmp_path)

    report = await _replace(services, partition, content, content)

    assert report.result(2) is StoreResult.STORED
    assert await services.index.find_instance(partition, path_of(source)) == before
    assert blobs_in(tmp_path) == blobs
    assert len(await services.index.changes(0, 10)) == 1


async def test_of_an_instance_twice_in_one_request_the_last_stays(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    files = [_version_of(source, number) for number in (1, 2, 3)]
    report = await _replace(services, partition, *files)
    assert [type(outcome) for outcome in report.outcomes] == [Stored] * 3
    assert await retrieve(services, partition, path_of(source)) == [files[2]]


async def test_only_the_study_asked_for_is_replaced(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    old = _version_of(source, 1)
    await store(services, partition, [old])
    report = await _replace(services, partition, _version_of(source, 2), study="1.2.3")
    assert report.result(2) is StoreResult.REFUSED
    assert await retrieve(services, partition, path_of(source)) == [old]


async def test_what_is_refused_replaces_nothing(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = dataset()
    old = part10(source)
    await store(services, partition, [old])
    blobs = blobs_in(tmp_path)
    del source.SOPClassUID
    report = await _replace(services, partition, part10(source))
    assert report.result(2) is StoreResult.REFUSED
    assert await retrieve(services, partition, path_of(source)) == [old]
    assert blobs_in(tmp_path) == blobs


async def test_the_old_blobs_stay_for_the_grace_period(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = dataset()
    await store(services, partition, [_version_of(source, 1)])
    old = blobs_in(tmp_path)
    await _replace(services, partition, _version_of(source, 2))

    now = datetime.now(UTC)
    await services.cleanup.remove_due(now)
    assert set(old) < set(blobs_in(tmp_path))
    await services.cleanup.remove_due(now + services.store.grace + timedelta(seconds=1))
    assert set(old).isdisjoint(blobs_in(tmp_path))
    assert len(await retrieve(services, partition, path_of(source))) == 1


async def test_racing_replacements_and_stores_leave_one_instance_with_its_blobs(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source = image()
    files = [_version_of(source, number) for number in range(8)]

    reports = await asyncio.gather(
        *(
            store(services, partition, [file], replaces=bool(number % 2))
            for number, file in enumerate(files)
        )
    )

    for number, report in enumerate(reports):
        (outcome,) = report.outcomes
        if number % 2:
            assert isinstance(outcome, Stored)
        elif isinstance(outcome, Failed):
            assert outcome.reason is FailureReason.ALREADY_STORED
    (kept,) = await retrieve(services, partition, path_of(source))
    (document,) = await metadata(services, partition, path_of(source))
    assert document["00081030"]["Value"] == [f"Version {files.index(kept)}"]
    now = datetime.now(UTC) + services.store.grace + timedelta(minutes=1)
    await services.cleanup.remove_due(now)
    assert len([name for name in blobs_in(tmp_path) if not name.startswith("tombstones")]) == 2
    assert await retrieve(services, partition, path_of(source)) == [kept]


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_an_index_rebuilt_from_blobs_has_the_newest_version_or_none(
    tmp_path: Path, *, is_deleted: bool
) -> None:
    source = dataset()
    files = [_version_of(source, number) for number in range(3)]
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        await store(services, partition, files[:1])
        for content in files[1:]:
            await _replace(services, partition, content)
        if is_deleted:
            await services.delete.delete(partition, path_of(source))
    async with open_archive(tmp_path) as services:
        index: Any = services.index
        rebuilt = await Rebuild(services.blobs, index, SqlTagTable(index)).run()
        partition = await services.partitions.resolve(None, create=True)
        assert rebuilt.instances == int(not is_deleted)
        if not is_deleted:
            assert await retrieve(services, partition, path_of(source)) == [files[2]]


class _WithoutTombstones:
    """Blob storage that goes away just when a tombstone is to be written."""

    def __init__(self, services: Services) -> None:
        self._blobs = services.blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    async def put(self, name: str, content: bytes) -> None:
        if name.startswith("tombstones/"):
            raise StoreUnavailableError("Blob storage does not answer.")
        await self._blobs.put(name, content)


async def test_a_replacement_that_is_not_noted_is_not_acknowledged_and_can_be_repeated(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    await store(services, partition, [_version_of(source, 1)])
    new = _version_of(source, 2)
    blobs: Any = _WithoutTombstones(services)
    given = services.store
    away = Store(
        blobs,
        services.index,
        given.writer,
        given.orphan_age,
        given.grace,
        given.tag_set,
        given.deletions,
    )

    with pytest.raises(StoreUnavailableError):
        await away.store(partition, bodies_of([new]), version=2, replaces=True)

    assert (await _replace(services, partition, new)).result(2) is StoreResult.STORED
    assert await retrieve(services, partition, path_of(source)) == [new]
