from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.ports import Partition
from shared.wiring import Services
from tests.archive import open_archive


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_archive(tmp_path) as opened:
        yield opened


@pytest.fixture
async def partition(services: Services) -> Partition:
    return await services.partitions.resolve(None, create=False)
