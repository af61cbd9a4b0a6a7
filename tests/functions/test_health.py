import shutil
from dataclasses import replace

import pytest

from shared import wiring
from shared.services.health import Dependency, Health
from shared.wiring import Services
from tests.archive import Client


async def test_each_dependency_is_named_with_its_state(client: Client) -> None:
    answer = await client.get("/health/check")
    assert answer.status_code == 200
    body = answer.json()
    assert body["overallStatus"] == "Healthy"
    assert [d["name"] for d in body["details"]] == ["Index", "BlobStore", "StateTable", "Secrets"]
    assert {d["status"] for d in body["details"]} == {"Healthy"}
    assert all(0 < d["milliseconds"] < 5000 for d in body["details"])


async def test_a_dependency_that_is_away_makes_the_service_unavailable(
    client: Client, services: Services
) -> None:
    shutil.rmtree(services.settings.folder)
    answer = await client.get("/health/check")
    assert answer.status_code == 503
    assert answer.json()["overallStatus"] == "Unhealthy"


async def test_one_that_no_transaction_needs_leaves_the_service_available(
    client: Client, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    async def away() -> None:
        raise OSError("vault.example.com has no address")

    vault = Health({"Secrets": Dependency(away, is_needed=False)})
    wiring.use(replace(services, health=vault))

    answer = await client.get("/health/check")

    assert answer.status_code == 200
    assert answer.json()["overallStatus"] == "Degraded"
    assert answer.json()["details"][0]["status"] == "Degraded"
    assert b"vault.example" not in answer.content
    assert "Secrets does not answer: OSError" in caplog.text
