"""Re-indexing by new tags, while instances come and go and when it is cut short."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from shared import rebuild_index, wiring
from shared.dicom.blob_names import metadata_blob
from shared.dicom.resource import ResourcePath
from shared.dicom.searchable import tag_of
from shared.dicom.uid import Uid
from shared.ports import (
    Operation,
    OperationStatus,
    Orchestrations,
    OrchestrationState,
    Partition,
    TagStatus,
)
from shared.settings import Settings
from shared.wiring import Services
from tests.archive import open_archive
from tests.builders import dataset, part10
from tests.shared.services.requests import bodies_of
from tests.tagged_instances import TAGS, fill, short_uid, value_rows


class Nobody(Orchestrations):
    """An engine that drives nothing: what it would drive, the test does itself."""

    async def start(self, operation: Operation) -> None:
        """See Orchestrations."""

    async def start_alone(self, workflow: str) -> bool:
        """See Orchestrations."""
        return bool(workflow)

    async def state(self, operation_id: str) -> OrchestrationState:
        """See Orchestrations."""
        return OrchestrationState.UNKNOWN if operation_id else OrchestrationState.FAILED

    async def terminate(self, operation_id: str) -> None:
        """See Orchestrations."""

    async def forget(self, operation_id: str) -> None:
        """See Orchestrations."""


async def run(services: Services, operation_id: str, rounds: int = 10**6) -> bool:
    """Do what the workflow does, so many rounds of it; whether that was all."""
    done_from = None
    for _ in range(rounds):
        slices = await services.reindex.next_slices(operation_id, done_from)
        assert slices is not None
        if not slices:
            await services.reindex.finish(operation_id)
            return True
        await asyncio.gather(*(services.reindex.index(operation_id, *one) for one in slices))
        done_from = slices[-1][0]
    return False


def _source(number: int, study: str, series: str) -> Dataset:
    source = dataset(StudyInstanceUID=study, SeriesInstanceUID=series)
    source.PatientAge = f"{number % 100:03d}Y"
    source.AcquisitionNumber = number
    if number % 3:
        source.OperatorsName = f"Name{number}^Other"
    return source


async def _come_and_go(
    services: Services, partition: Partition, studies: Sequence[str], end: asyncio.Event
) -> int:
    """Store, replace and delete until it is to end, and count what was done."""
    choose = random.Random(7)
    held: list[Dataset] = []
    number = 0
    while not end.is_set():
        study = choose.choice(studies)
        match number % 4:
            case 0 | 1:
                held.append(_source(number, study, f"{study}.{number % 3}"))
                bodies = bodies_of([part10(held[-1])])
                await services.store.store(partition, bodies, version=2)
            case 2:
                one = choose.choice(held)
                one.PatientAge = f"{number % 90:03d}M"
                bodies = bodies_of([part10(one)])
                await services.store.store(partition, bodies, version=2, replaces=True)
            case _:
                one = held.pop(choose.randrange(len(held)))
                at = ResourcePath(
                    Uid(one.StudyInstanceUID), Uid(one.SeriesInstanceUID), Uid(one.SOPInstanceUID)
                )
                await services.delete.delete(partition, at)
        number += 1
        await asyncio.sleep(0)
    return number


async def test_what_comes_and_goes_during_a_re_index_is_as_in_a_rebuilt_index(
    tmp_path: Path,
) -> None:
    studies = [short_uid() for _ in range(5)]
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        for start in range(0, 300, 100):
            files = [
                part10(_source(number, studies[number % 5], f"{studies[number % 5]}.{number % 3}"))
                for number in range(start, start + 100)
            ]
            await services.store.store(partition, bodies_of(files), version=2)
        end = asyncio.Event()
        coming = asyncio.create_task(_come_and_go(services, partition, studies, end))
        await asyncio.sleep(0.2)
        operation = await services.extended_query_tags.add(Nobody(), TAGS)
        assert await run(services, operation.id)
        await asyncio.sleep(0.2)
        end.set()
        assert await coming > 20
        indexed = await value_rows(services)
    assert len(indexed) > 500

    await rebuild_index.rebuild(tmp_path)

    services = wiring.build(Settings.from_env({"DATA_DIRECTORY": str(tmp_path)}))
    rebuilt = await value_rows(services)
    tags = await services.extended_query_tags.list(10, 0)
    await services.index.close()
    assert rebuilt == indexed
    assert [(tag.path, tag.status) for tag in tags] == [(tag.path, TagStatus.READY) for tag in TAGS]


async def test_a_re_index_that_is_cut_short_goes_on_and_does_nothing_twice(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        paths = await fill(services, partition, 2500)
        operation = await services.extended_query_tags.add(Nobody(), TAGS)
        assert not await run(services, operation.id, 1)
        halfway = await value_rows(services)
        assert halfway

        # Begun anew, it does once more the round whose end was never noted, then the others.
        assert await run(services, operation.id)

        rows = await value_rows(services)
        numbers = [row for row in rows if row[0] == "tag_value_integer"]
        assert len(numbers) == len({row[2] for row in numbers}) == len(paths)
        ages = [row for row in rows if row[1] == tag_of("PatientAge")]
        assert len(ages) == 2450
        assert sum(row[-1] == "1" for row in ages) == 250
        age, *others = await services.extended_query_tags.list(10, 0)
        assert (age.errors, age.is_enabled) == (50, False)
        assert all(tag.is_enabled and not tag.errors for tag in others)
        ended = await services.operations.get(operation.id)
        assert (ended.status, ended.percent_complete) == (OperationStatus.SUCCEEDED, 100)


async def test_a_cancelled_re_index_stops_and_its_tags_are_not_ready(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        await fill(services, partition, 20)
        operation = await services.extended_query_tags.add(Nobody(), TAGS)
        assert await services.reindex.next_slices(operation.id)
        await services.operations.cancel(Nobody(), operation.id)
        assert await services.reindex.next_slices(operation.id) is None
        tags = await services.extended_query_tags.list(10, 0)
        assert {tag.status for tag in tags} == {TagStatus.ADDING}


async def test_a_tag_deleted_during_its_re_index_stays_deleted(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        await fill(services, partition, 60)
        operation = await services.extended_query_tags.add(Nobody(), TAGS[2:3])
        [(first, last)] = await services.reindex.next_slices(operation.id) or []
        await services.extended_query_tags.delete(TAGS[2].path)
        await services.reindex.index(operation.id, first, last)
        assert await value_rows(services) == []
        assert await run(services, operation.id)
        assert await services.extended_query_tags.list(10, 0) == []


async def test_metadata_that_cannot_be_read_is_an_error_of_its_instance(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        paths = await fill(services, partition, 3)
        found = await services.index.find_instance(partition, paths[1])
        assert found is not None
        await services.blobs.delete([metadata_blob(found.file.metadata_id)])
        operation = await services.extended_query_tags.add(Nobody(), TAGS[2:3])
        assert await run(services, operation.id)
        [error] = await services.extended_query_tags.errors(TAGS[2].path, 10, 0)
        assert (error.path, error.message) == (
            paths[1],
            "The metadata of the instance cannot be read.",
        )
        # Once the instance is gone, so is its error.
        await services.delete.delete(partition, ResourcePath(paths[1].study))
        assert await services.extended_query_tags.errors(TAGS[2].path, 10, 0) == []


async def test_a_store_whose_process_knows_other_tags_fails_for_none(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        partition = await services.partitions.resolve(None, create=True)
        other = wiring.build(services.settings)  # As another process would have it.
        study = short_uid()

        async def store(number: int) -> None:
            bodies = bodies_of([part10(_source(number, study, f"{study}.1"))])
            report = await other.store.store(partition, bodies, version=number % 2 + 1)
            assert report.result(2).name == "STORED"

        await store(1)
        operation = await services.extended_query_tags.add(Nobody(), TAGS[2:3])
        await store(2)
        assert await run(services, operation.id)
        await services.extended_query_tags.add(Nobody(), TAGS[:1])
        await store(3)
        await services.extended_query_tags.delete(TAGS[2].path)
        await store(4)
        rows = await value_rows(services)
        await other.index.close()
        assert {row[3] for row in rows} == {"003y", "004y"}
