from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fhir.told_archive import ToldArchive, told_archive
from tests.fhir_server import FhirTestServer, running_fhir_server


@pytest.fixture(scope="session")
def fhir() -> Iterator[FhirTestServer]:
    with running_fhir_server() as server:
        yield server


@pytest.fixture
async def archive(fhir: FhirTestServer) -> AsyncIterator[ToldArchive]:
    async with told_archive(fhir) as opened:
        yield opened
