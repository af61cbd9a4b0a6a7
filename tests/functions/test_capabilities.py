from pathlib import Path

import pytest
import yaml

from functions.endpoint import ROUTES
from tests import builders
from tests.archive import Client, open_archive

VIEWER = "https://viewer.example"


@pytest.mark.parametrize("version", ["v1.0-prerelease", "v1", "v2"])
async def test_the_description_names_every_route_of_its_version(
    client: Client, version: str
) -> None:
    answer = await client.get(f"/{version}/api.json")
    assert answer.headers["Content-Type"] == "application/json"
    described = {
        (path, method.upper())
        for path, item in answer.json()["paths"].items()
        for method in item
        if method != "parameters"
    }
    served = {
        ("/" + route.template.replace("{version}", version).replace("{*", "{"), method)
        for route in ROUTES
        if route.template.startswith("{version}/") and "OPTIONS" not in route.methods
        for method in route.methods
        if route.transaction is not None
        and route.transaction.since_version <= (2 if version == "v2" else 1)
        and not (version == "v1.0-prerelease" and route.template.endswith("/export"))
    }
    assert described == served


async def test_export_is_described_where_it_is_served(client: Client) -> None:
    for version, is_served in (("v1.0-prerelease", False), ("v1", True), ("v2", True)):
        for path in (f"/{version}/export", f"/{version}/partitions/{{partition}}/export"):
            described = (await client.get(f"/{version}/api.json")).json()["paths"]
            assert (path in described) is is_served
            asked = await client.send("OPTIONS", path.replace("{partition}", "p"))
            assert asked.status_code == (200 if is_served else 404)


def test_every_versioned_function_is_described() -> None:
    undescribed = [route.function for route in ROUTES if route.transaction is None]
    assert sorted(undescribed) == ["health", "options"]


async def test_json_and_yaml_say_the_same(client: Client) -> None:
    text = (await client.get("/v2/api.yaml")).text
    assert yaml.safe_load(text) == (await client.get("/v2/api.json")).json()


async def test_options_of_the_root_describes_the_service(client: Client) -> None:
    for path in ("/v2", "/v2/"):
        answer = await client.send("OPTIONS", path)
        assert answer.status_code == 200
        assert answer.json() == (await client.get("/v2/api.json")).json()


async def test_options_of_a_resource_tells_its_methods(client: Client) -> None:
    answer = await client.send("OPTIONS", "/v2/studies/1.2.3/series")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert list(answer.json()["paths"]) == ["/v2/studies/{study}/series"]
    for version, more in (("v1", ""), ("v2", ", PUT")):
        answer = await client.send("OPTIONS", f"/{version}/partitions/p/studies")
        assert answer.headers["Allow"] == f"GET, HEAD, OPTIONS, POST{more}"


async def test_options_of_what_does_not_exist_is_not_found(client: Client) -> None:
    assert (await client.send("OPTIONS", "/v2/nothing")).status_code == 404
    assert (await client.send("OPTIONS", "/v9/studies")).status_code == 400


async def test_every_answer_tells_a_listed_origin_that_it_may_be_read(tmp_path: Path) -> None:
    async with open_archive(tmp_path, CORS_ALLOWED_ORIGINS=VIEWER):
        client = Client()
        for method, path in [
            ("GET", "/v2/studies"),
            ("GET", "/v2/studies/x"),
            ("GET", "/v1/studies/1.2.3"),
            ("HEAD", "/v2/studies"),
            ("DELETE", "/v2/studies/1.2.3"),
            ("GET", "/health/check"),
        ]:
            answer = await client.send(method, path, headers={"Origin": VIEWER})
            assert answer.headers["Access-Control-Allow-Origin"] == VIEWER, path
            assert "Origin" in answer.headers["Vary"]
            other = await client.send(method, path, headers={"Origin": "https://evil.example"})
            assert "Access-Control-Allow-Origin" not in other.headers


async def test_a_preflight_is_answered_without_a_body(tmp_path: Path) -> None:
    async with open_archive(tmp_path, CORS_ALLOWED_ORIGINS="*"):
        answer = await Client().send(
            "OPTIONS",
            "/v2/studies",
            headers={
                "Origin": VIEWER,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type, x-trace",
            },
        )
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "x-trace" in answer.headers["Access-Control-Allow-Headers"]


FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example", "Accept": "*/*"}


@pytest.mark.parametrize(
    ("proxies", "root"),
    [("127.0.0.1", "https://pacs.example/v2/"), ("10.0.0.0/8", "http://archive.test/v2/")],
)
async def test_urls_are_those_that_the_client_sees_behind_a_trusted_proxy(
    tmp_path: Path, proxies: str, root: str
) -> None:
    source = builders.dataset()
    async with open_archive(tmp_path, TRUSTED_PROXIES=proxies):
        client = Client()
        await client.store("/v2", [builders.part10(source)])
        answer = await client.send("GET", "/v2/studies", headers=FORWARDED)
    url = answer.json()[0]["00081190"]["Value"][0]
    assert url == f"{root}studies/{source.StudyInstanceUID}"
