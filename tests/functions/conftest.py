from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.wiring import Services
from tests.archive import Client, open_archive


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_archive(tmp_path) as opened:
        yield opened


@pytest.fixture
def client(services: Services) -> Client:  # noqa: ARG001 - the archive that the client speaks to
    return Client()
