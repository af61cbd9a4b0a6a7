"""Whom the service answers where it asks nobody who they are."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.wiring import Services
from tests.archive import Client, code_of, open_archive
from tests.builders import dataset, part10

VIEWER = "https://viewer.test"
SEARCH = "/v2/studies"


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    settings = {"ALLOW_UNAUTHENTICATED": "off", "CORS_ALLOWED_ORIGINS": VIEWER}
    async with open_archive(tmp_path, **settings) as opened:
        yield opened


@pytest.fixture
def client(services: Services) -> Client:  # noqa: ARG001 - the archive that the client speaks to
    return Client()


@pytest.mark.parametrize("host", ["localhost:7071", "LOCALHOST", "127.0.0.1:80", "[::1]:7071"])
async def test_a_request_that_names_this_machine_is_answered(client: Client, host: str) -> None:
    assert (await client.get(SEARCH, host=host)).status_code == 204


@pytest.mark.parametrize(
    "host", ["evil.example:7071", "localhost.evil.example", "192.168.1.4", "0.0.0.0:7071", "", "["]
)
async def test_a_name_that_was_made_to_lead_to_this_machine_is_refused(
    client: Client, host: str
) -> None:
    for method, path in (("GET", SEARCH), ("POST", SEARCH), ("GET", "/health/check")):
        answer = await client.send(method, path, headers={"Host": host})
        assert answer.status_code == 403
        assert code_of(answer.content) == "NotPermitted"


async def test_the_name_that_the_host_was_called_by_is_looked_at_too(client: Client) -> None:
    for name, status in (("evil.example", 403), ("localhost, evil.example", 403), ("[::1]", 204)):
        answer = await client.get(SEARCH, host="localhost", x_forwarded_host=name)
        assert answer.status_code == status


@pytest.mark.parametrize("peer", ["192.168.1.4", "2001:db8::1", "::ffff:192.168.1.4"])
async def test_another_machine_is_refused_whatever_name_it_gives(
    services: Services,  # noqa: ARG001 - as above
    peer: str,
) -> None:
    assert (await Client(peer).get(SEARCH, host="localhost")).status_code == 403


@pytest.mark.parametrize("peer", ["127.0.0.2", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_may_call_by_any_of_its_addresses(
    services: Services,  # noqa: ARG001 - as above
    peer: str,
) -> None:
    assert (await Client(peer).get(SEARCH, host="localhost")).status_code == 204


async def test_a_foreign_page_changes_nothing(client: Client, services: Services) -> None:
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "["):
        headers = {"Host": "localhost", "Content-Type": "application/dicom", "Origin": origin}
        for method, path in (
            ("POST", "/v2/partitions/new/studies"),
            ("PUT", SEARCH),
            ("DELETE", "/v2/studies/1.2.3"),
        ):
            answer = await client.send(method, path, headers=headers)
            assert answer.status_code == 403
            assert code_of(answer.content) == "NotPermitted"
        assert (await client.send("GET", SEARCH, headers=headers)).status_code == 204
    assert [p.name for p in await services.index.list_partitions()] == ["Microsoft.Default"]


@pytest.mark.parametrize("origin", [VIEWER, "http://localhost:3000", "http://127.0.0.1:7071"])
async def test_a_listed_page_and_one_of_this_machine_may_store(client: Client, origin: str) -> None:
    headers = {"Host": "localhost", "Content-Type": "application/dicom", "Origin": origin}
    answer = await client.send("POST", SEARCH, headers=headers, content=part10(dataset()))
    assert answer.status_code == 200


async def test_where_others_may_call_only_pages_of_elsewhere_are_refused(tmp_path: Path) -> None:
    async with open_archive(tmp_path, ALLOW_UNAUTHENTICATED="on"):
        client = Client("192.168.1.4")
        headers = {"Host": "pacs.test:7071", "Content-Type": "application/dicom"}
        for origin, status in (("http://pacs.test:7071", 200), ("https://evil.example", 403)):
            answer = await client.send(
                *("POST", SEARCH),
                headers={**headers, "Origin": origin},
                content=part10(dataset()),
            )
            assert answer.status_code == status
        assert (await client.send("GET", SEARCH, headers=headers)).status_code == 200
