from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.server import Server
from tests.localhost.sample import sample, start

BODY_LIMIT_BYTES = 220_200_960


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One host for all tests that let it live."""
    data = tmp_path_factory.mktemp("sample") / "data"
    with sample(data, {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(BODY_LIMIT_BYTES)}) as server:
        yield server


@pytest.fixture
def http(host: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.address, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def patience(host: Server) -> str:
    """The id of an orchestration that takes long: the other tests go on meanwhile."""
    with httpx.Client(base_url=host.address, timeout=60) as client:
        return start(client, "patient")
