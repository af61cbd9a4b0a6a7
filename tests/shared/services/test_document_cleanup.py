from datetime import UTC, datetime, timedelta
from typing import Any

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_series_table import SqlSeriesTable
from shared.dicom.blob_names import series_document_blob
from shared.dicom.resource import ResourcePath
from shared.ports import Partition, SeriesState
from shared.services.document_cleanup import DocumentCleanup
from shared.wiring import Services
from tests.builders import dataset, part10
from tests.shared.services.requests import path_of, store

NOW = datetime.now(UTC)
HOURS = [NOW + timedelta(hours=2 * number) for number in range(4)]


async def _series(services: Services, partition: Partition) -> tuple[SeriesState, Any]:
    source = dataset()
    await store(services, partition, [part10(source)])
    [series] = await services.index.series(partition, ResourcePath(path_of(source).study))
    return series, source


async def _documents(services: Services) -> set[str]:
    return {blob.name async for blob in services.blobs.list("series-metadata/")}


async def _grow(services: Services, partition: Partition, source: Any) -> SeriesState:
    more = dataset(
        StudyInstanceUID=source.StudyInstanceUID, SeriesInstanceUID=source.SeriesInstanceUID
    )
    await store(services, partition, [part10(more)])
    [series] = await services.index.series(partition, ResourcePath(path_of(source).study))
    return series


async def test_a_document_that_was_never_recorded_goes_once_its_state_is_over(
    services: Services, partition: Partition
) -> None:
    series, source = await _series(services, partition)
    name = series_document_blob(series.key, series.revision)
    await services.blobs.put(name, b"x")
    cleanup = services.document_cleanup
    assert [await cleanup.sweep(hour) for hour in HOURS[:2]] == [0, 0], "it may be recorded yet"

    await _grow(services, partition, source)
    assert await cleanup.sweep(HOURS[2]) == 0, "somebody may still be about to record it"
    assert await cleanup.sweep(HOURS[2] + timedelta(minutes=50)) == 0
    assert await _documents(services) == {name}
    assert await cleanup.sweep(HOURS[3]) == 1
    assert await _documents(services) == set()


async def test_what_is_recorded_meanwhile_stays(services: Services, partition: Partition) -> None:
    series, source = await _series(services, partition)
    name = series_document_blob(series.key, series.revision)
    await services.blobs.put(name, b"x")
    await _grow(services, partition, source)
    await services.document_cleanup.sweep(HOURS[0])
    assert await services.index.record_series_document(series, series.revision, 1, HOURS[3])
    assert await services.document_cleanup.sweep(HOURS[1]) == 0
    assert await _documents(services) == {name}


async def test_documents_of_series_that_are_gone_go_and_other_blobs_stay(
    services: Services, partition: Partition
) -> None:
    series, source = await _series(services, partition)
    await services.blobs.put(series_document_blob(series.key, series.revision), b"x")
    await services.blobs.put("series-metadata/1/readme.txt", b"x")
    await services.delete.delete(partition, path_of(source))
    await services.document_cleanup.sweep(HOURS[0])
    assert await services.document_cleanup.sweep(HOURS[1]) == 1
    assert await _documents(services) == {"series-metadata/1/readme.txt"}


async def test_a_run_removes_so_many_and_the_next_goes_on(services: Services) -> None:
    names = [series_document_blob(key, 1) for key in range(1000, 1700)]
    for name in names:
        await services.blobs.put(name, b"x")
    index: Any = services.index
    assert isinstance(index, SqlIndex)
    cleanup = DocumentCleanup(
        services.blobs, SqlSeriesTable(index), services.state, grace=timedelta(0)
    )
    assert [await cleanup.sweep(hour) for hour in HOURS] == [0, 500, 200, 0]
