from collections.abc import Iterator

import pytest

from tests.e2e.server import Server, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that neither kill it nor fill it; each stores studies of its own."""
    with running(tmp_path_factory.mktemp("shared") / "data") as started:
        yield started
