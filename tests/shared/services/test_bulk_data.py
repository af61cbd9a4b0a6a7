from collections.abc import AsyncIterator, Buffer
from typing import Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from shared.dicom.blob_names import dicom_blob
from shared.ports import Partition
from shared.services.bulk_data import BulkData
from shared.wiring import Services
from tests.builders import dataset, part10
from tests.shared.services.requests import path_of, store


class _Counted:
    """A blob store that notes what is read as a stream."""

    def __init__(self, services: Services) -> None:
        self._blobs = services.blobs
        self.get, self.get_ranges = self._blobs.get, self._blobs.get_ranges
        self.streamed: list[str] = []

    async def stream(
        self, name: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[Buffer]:
        self.streamed.append(name)
        async for chunk in self._blobs.stream(name, offset, length):
            yield chunk


@pytest.mark.parametrize("count", [1, 5])
async def test_a_deflated_file_is_inflated_once_for_all_of_its_values(
    services: Services, partition: Partition, count: int
) -> None:
    source = dataset()
    values = [bytes([number]) * 5000 for number in range(count)]
    for number, content in enumerate(values):
        source.add_new(0x00091000 + number, "OB", content)
    source.add_new(0x00090010, "LO", "Maker")
    await store(services, partition, [part10(source, DeflatedExplicitVRLittleEndian)])
    counted: Any = _Counted(services)

    parts = BulkData(counted, services.index).parts(partition, path_of(source), version=2)
    found = [b"".join([bytes(chunk) async for chunk in part.body]) async for part in parts]

    assert found == values
    stored = await services.index.find_instance(partition, path_of(source))
    assert stored is not None
    assert counted.streamed == [dicom_blob(stored.file.blob_id)]
