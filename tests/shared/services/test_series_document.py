from collections.abc import AsyncIterator, Buffer
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from shared.dicom.blob_names import metadata_blob
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.errors import BlobNotFoundError
from shared.ports import Partition, SeriesState
from shared.services.series_document import SeriesDocuments
from shared.wiring import Services
from tests.archive import blobs_in
from tests.builders import dataset, part10
from tests.shared.services.requests import path_of, store

STUDY, SERIES = generate_uid(), generate_uid()
TEMPLATE = part10(
    dataset(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID="2.25.1000")
)
GRACE = timedelta(minutes=15)


class _Counted:
    """The blobs of the archive, counting what is read of them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.read: list[str] = []

    async def get(self, name: str) -> Buffer:
        self.read.append(name)
        return await self._services.blobs.get(name)

    async def stream(self, name: str) -> AsyncIterator[Buffer]:
        self.read.append(name)
        async for chunk in self._services.blobs.stream(name):
            yield chunk

    async def put_stream(self, name: str, chunks: AsyncIterator[Buffer]) -> int:
        return await self._services.blobs.put_stream(name, chunks)

    def reads_of(self, kind: str) -> int:
        return sum(name.startswith(f"{kind}/") for name in self.read)


class Series:
    """One series of the archive, and its documents."""

    def __init__(
        self,
        services: Services,
        partition: Partition,
        quiet: timedelta = timedelta(hours=1),
    ) -> None:
        self._services = services
        self._partition = partition
        self._number = 1000
        self.blobs = _Counted(services)
        self.documents = SeriesDocuments(self.blobs, services.index, grace=GRACE, quiet=quiet)  # type: ignore[arg-type]  # all they need
        self.path = ResourcePath(Uid(STUDY), Uid(SERIES))

    async def add(self, count: int = 1) -> list[ResourcePath]:
        uids = [f"2.25.{self._number + number}" for number in range(count)]
        self._number += count
        files = [TEMPLATE.replace(b"2.25.1000", uid.encode()) for uid in uids]
        await store(self._services, self._partition, files)
        return [replace(self.path, instance=Uid(uid)) for uid in uids]

    async def replace(self, path: ResourcePath) -> None:
        content = TEMPLATE.replace(b"2.25.1000", str(path.instance).encode())
        changed = content.replace(b"Chest", b"Other")
        await store(self._services, self._partition, [changed], replaces=True)

    async def delete(self, path: ResourcePath) -> None:
        await self._services.delete.delete(self._partition, path)

    async def state(self) -> SeriesState:
        (state,) = await self._services.index.series(self._partition, self.path)
        return state

    async def uids(self, state: SeriesState | None = None) -> list[str]:
        """The instances of the document, each data set whole."""
        self.blobs.read.clear()
        blocks = [block async for block in self.documents.lines(state or await self.state())]
        assert all(block.endswith(b"\n") for block in blocks)
        documents = [orjson.loads(line) for line in b"".join(blocks).splitlines()]
        return [document["00080018"]["Value"][0] for document in documents]


@pytest.fixture
def series(services: Services, partition: Partition) -> Series:
    return Series(services, partition)


@pytest.fixture
def quiet(services: Services, partition: Partition) -> Series:
    """A series that counts as quiet right after each change."""
    return Series(services, partition, quiet=timedelta(0))


async def test_a_series_that_changed_just_now_is_read_and_not_stored(
    series: Series, tmp_path: Path
) -> None:
    paths = await series.add(3)

    assert await series.uids() == [path.instance for path in paths]
    assert await series.uids() == [path.instance for path in paths]

    assert series.blobs.reads_of("metadata") == 3
    assert (await series.state()).document_revision is None
    assert not [name for name in blobs_in(tmp_path) if name.startswith("series-metadata")]


async def test_a_quiet_series_is_stored_as_a_document_and_read_from_it(quiet: Series) -> None:
    paths = await quiet.add(3)

    assert await quiet.uids() == [path.instance for path in paths]
    state = await quiet.state()
    assert (state.document_revision, state.document_count) == (state.revision, 3)

    assert await quiet.uids() == [path.instance for path in paths]
    assert quiet.blobs.reads_of("metadata") == 0
    assert quiet.blobs.reads_of("series-metadata") == 1


async def test_a_new_document_reads_only_what_was_added(quiet: Series) -> None:
    paths = await quiet.add(5)
    await quiet.uids()
    paths += await quiet.add(2)

    assert await quiet.uids() == [path.instance for path in paths]

    assert quiet.blobs.reads_of("metadata") == 2
    state = await quiet.state()
    assert (state.document_revision, state.document_count) == (state.revision, 7)


async def test_a_busy_series_is_stored_once_enough_was_added(series: Series) -> None:
    paths = await series.add(63)
    await series.uids()
    assert (await series.state()).document_revision is None

    paths += await series.add(1)
    assert await series.uids() == [path.instance for path in paths]
    assert (await series.state()).document_count == 64

    paths += await series.add(10)
    assert await series.uids() == [path.instance for path in paths]
    assert (await series.state()).document_count == 64
    assert series.blobs.reads_of("metadata") == 10


async def test_a_series_that_grows_while_it_is_watched_costs_work_in_proportion(
    series: Series,
) -> None:
    reads = 0
    for _ in range(24):
        await series.add(8)
        await series.uids()
        reads += series.blobs.reads_of("metadata")
    # An instance is read until its document is made, 64 instances later at the latest.
    assert reads <= 192 * 64 // 8


async def test_a_deleted_instance_is_in_no_later_document(quiet: Series) -> None:
    paths = await quiet.add(4)
    await quiet.uids()
    await quiet.delete(paths.pop(1))

    assert await quiet.uids() == [path.instance for path in paths]
    assert quiet.blobs.reads_of("metadata") == 0

    paths += await quiet.add(1)
    await quiet.delete(paths.pop(0))
    assert await quiet.uids() == [path.instance for path in paths]
    assert quiet.blobs.reads_of("metadata") == 1


async def test_an_instance_is_known_by_its_own_identifier_and_not_by_that_in_an_item(
    quiet: Series, services: Services, partition: Partition
) -> None:
    (other, _) = await quiet.add(2)
    source = dataset(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES)
    item = Dataset()
    item.SOPInstanceUID = str(other.instance)
    source.LanguageCodeSequence = [item]  # (0008,0006)
    await store(services, partition, [part10(source)])
    await quiet.uids()
    await quiet.delete(other)

    assert await quiet.uids() == ["2.25.1001", source.SOPInstanceUID]


async def test_a_delete_is_seen_at_once_where_nothing_is_stored_yet(series: Series) -> None:
    paths = await series.add(64)
    await series.uids()
    paths += await series.add(2)
    await series.delete(paths.pop(5))
    await series.delete(paths.pop())
    assert await series.uids() == [path.instance for path in paths]


async def test_an_instance_stored_again_stands_in_the_document_once(
    quiet: Series, services: Services, partition: Partition
) -> None:
    source = dataset(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES)
    await store(services, partition, [part10(source)])
    (other,) = await quiet.add(1)
    await quiet.uids()
    await quiet.delete(path_of(source))
    await store(services, partition, [part10(source)])

    assert await quiet.uids() == [other.instance, source.SOPInstanceUID]


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("is_quiet", [False, True])
async def test_an_instance_that_is_replaced_while_it_is_read_is_neither_lost_nor_doubled(
    services: Services, partition: Partition, number: int, *, is_quiet: bool
) -> None:
    paths = await (quiet := Series(services, partition, quiet=timedelta(0))).add(2)
    await quiet.uids()
    series = quiet if is_quiet else Series(services, partition)
    paths += await quiet.add(2)
    state = await quiet.state()

    await quiet.replace(paths[number])
    await quiet.add(1)

    expected = [str(path.instance) for path in paths]
    found = await series.uids(state)
    assert sorted(set(found) - {"2.25.1004"}) == expected
    assert len(found) == len(set(found))
    for _ in range(2):
        assert sorted(await series.uids()) == [*expected, "2.25.1004"]


async def test_what_is_deleted_and_removed_while_it_is_read_is_left_out(
    series: Series, services: Services
) -> None:
    paths = await series.add(3)
    state = await series.state()
    (first, *_) = await services.index.series_members(state, 0)
    blocks = series.documents.lines(state)
    await series.delete(paths[0])
    await services.blobs.delete([metadata_blob(first.file.blob_id)])

    lines = b"".join([block async for block in blocks]).splitlines()

    assert [orjson.loads(line)["00080018"]["Value"][0] for line in lines] == [
        path.instance for path in paths[1:]
    ]


async def test_the_lost_metadata_of_an_instance_is_no_silent_gap(
    series: Series, services: Services
) -> None:
    await series.add(3)
    (first, *_) = await services.index.series_members(await series.state(), 0)
    await services.blobs.delete([metadata_blob(first.file.blob_id)])
    with pytest.raises(BlobNotFoundError):
        await series.uids()


async def test_a_superseded_document_waits_for_its_removal(
    quiet: Series, services: Services, tmp_path: Path
) -> None:
    await quiet.add(2)
    await quiet.uids()
    first = {name for name in blobs_in(tmp_path) if name.startswith("series-metadata")}
    await quiet.add(1)
    await quiet.uids()

    state = await quiet.state()
    waiting = await services.index.due_blobs(state.changed_at + 2 * GRACE, 10)
    assert {name for row in waiting for name in row.names} == first
