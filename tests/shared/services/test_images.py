import asyncio
from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.dicom.frames import from_json
from shared.errors import NotAcceptableError, NotFoundError
from shared.ports import InstanceFile, Partition
from shared.services.images import MAX_HEAD_LENGTH, Images
from shared.wiring import Services
from tests.builders import dataset, image, part10
from tests.shared.services.requests import path_of, store


class Counted:
    """A blob store that counts the readings of ranges."""

    def __init__(self, services: Services) -> None:
        self._blobs = services.blobs
        self.readings = 0

    async def get_ranges(self, name: str, ranges: list[tuple[int, int]]) -> object:
        self.readings += 1
        return await self._blobs.get_ranges(name, ranges)


async def file_of(services: Services, partition: Partition, source: Dataset) -> InstanceFile:
    await store(services, partition, [part10(source)])
    found = await services.index.find_instance(partition, path_of(source))
    assert found is not None
    return found.file


async def test_parallel_requests_read_the_data_set_of_an_image_once(
    services: Services, partition: Partition
) -> None:
    file = await file_of(services, partition, image(frames=3))
    counted: Any = Counted(services)
    images = Images(counted)
    opened = await asyncio.gather(*(images.open(file) for _ in range(20)))
    assert counted.readings == 1
    assert await images.open(file) is opened[0]
    assert counted.readings == 1
    assert file.frames is not None
    assert opened[0].positions == from_json(file.frames)


async def test_only_so_much_is_remembered(services: Services, partition: Partition) -> None:
    files = []
    for _ in range(3):
        source = image()
        source.add_new(0x00091010, "OB", bytes(7 << 20))
        files.append(await file_of(services, partition, source))
    counted: Any = Counted(services)
    images = Images(counted)
    for file in (*files, files[2], files[1], files[0]):
        await images.open(file)
    assert counted.readings == 4


@pytest.mark.parametrize("tag", [0x00091010, 0x7FE11010])
async def test_an_instance_with_too_much_beside_its_pixels_is_not_transcoded(
    services: Services, partition: Partition, tag: int
) -> None:
    source = image()
    source.add_new(tag, "OB", bytes(MAX_HEAD_LENGTH + 2))
    file = await file_of(services, partition, source)
    with pytest.raises(NotAcceptableError):
        async with Images(services.blobs).open_whole(file):
            pass


async def test_an_instance_too_large_without_pixels_is_not_encoded_anew(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    source.EncapsulatedDocument = bytes(MAX_HEAD_LENGTH + 2)
    file = await file_of(services, partition, source)
    images = Images(services.blobs)
    with pytest.raises(NotAcceptableError):
        await images.data_set(file)
    with pytest.raises(NotFoundError):
        await images.open(file)


async def test_a_refusal_is_not_remembered(services: Services, partition: Partition) -> None:
    file = await file_of(services, partition, dataset())
    images = Images(services.blobs)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await images.open(file)
