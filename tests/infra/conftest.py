from collections.abc import Iterator

import pytest

from infra.hooks.management import Api
from tests.infra.remote import Remote, serving


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def api(remote: Remote) -> Iterator[Api]:
    with serving(remote) as address:
        yield Api(address, lambda: "a-token")
