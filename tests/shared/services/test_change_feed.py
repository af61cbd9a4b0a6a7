import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from shared import wiring
from shared.adapters.sql_index.index import SqlIndex
from shared.dicom.blob_names import metadata_blob
from shared.dicom.resource import ResourcePath
from shared.dicomweb.change_feed import ChangeFeedQuery
from shared.ports import BlobStore, Change, Partition
from shared.services.change_feed import ChangeFeed, FeedView
from shared.wiring import Services
from tests.builders import dataset, part10
from tests.shared.services.requests import path_of, store

QUERY = ChangeFeedQuery(offset=0, limit=100, has_metadata=True, window=None)
VIEW = FeedView("http://archive.test/v2", has_bulk=True, has_metadata=True)


class OvertakenIndex(SqlIndex):
    """An index in which an instance is deleted, and its blobs removed, after each first page."""

    def __init__(
        self, folder: Path, blobs: BlobStore, partition: Partition, path: ResourcePath
    ) -> None:
        super().__init__(wiring.index_url(folder), sync=False)
        self._blobs = blobs
        self._doomed = partition, path

    async def changes(self, after: int, limit: int) -> Sequence[Change]:
        page = await super().changes(after, limit)
        if after == 0 and limit == QUERY.limit:
            for instance in await self.delete(*self._doomed, datetime.now(UTC)):
                await self._blobs.delete([metadata_blob(instance.file.blob_id)])
        return page


async def test_what_is_deleted_while_a_page_is_read_reads_deleted(
    services: Services, partition: Partition, tmp_path: Path
) -> None:
    source, other = dataset(), dataset()
    await store(services, partition, [part10(source), part10(other)])
    index = OvertakenIndex(tmp_path, services.blobs, partition, path_of(source))
    feed = ChangeFeed(services.blobs, index, services.partitions)

    entries = orjson.loads(b"".join([chunk async for chunk in feed.page(QUERY, VIEW)]))

    await index.close()
    assert [entry["state"] for entry in entries] == ["Deleted", "Current"]
    assert ["metadata" in entry for entry in entries] == [False, True]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut short": lambda whole: whole[:-9],
    "not compressed": lambda _: b"x" * 100,
    "large and not compressed": lambda _: b"x" * 20_000,
    "without a data set": lambda _: gzip.compress(b"{}"),
    "no object": lambda _: gzip.compress(b"{}\n[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_metadata_is_left_out_and_readers_get_past_it(
    services: Services,
    partition: Partition,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    sources = [dataset() for _ in range(3)]
    await store(services, partition, map(part10, sources))
    found = await services.index.find_instance(partition, path_of(sources[1]))
    assert found is not None
    file = tmp_path / metadata_blob(found.file.blob_id)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))

    for view in (VIEW, replace(VIEW, has_bulk=False)):
        caplog.clear()
        page = services.change_feed.page(QUERY, view)
        entries = orjson.loads(b"".join([chunk async for chunk in page]))
        assert [entry["state"] for entry in entries] == ["Current"] * 3
        assert ["metadata" in entry for entry in entries] == [True, False, True]
        assert caplog.messages == ["change 2: the metadata blob of its instance is damaged"]
