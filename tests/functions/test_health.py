import shutil

from shared.wiring import Services
from tests.archive import Client


async def test_each_dependency_is_named_with_its_state(client: Client) -> None:
    answer = await client.get("/health/check")
    assert answer.status_code == 200
    body = answer.json()
    assert body["overallStatus"] == "Healthy"
    assert [d["name"] for d in body["details"]] == ["Index", "BlobStore"]


async def test_a_dependency_that_is_away_makes_the_service_unavailable(
    client: Client, services: Services
) -> None:
    shutil.rmtree(services.settings.folder)
    answer = await client.get("/health/check")
    assert answer.status_code == 503
    assert answer.json()["overallStatus"] == "Unhealthy"
