from pathlib import Path

from tests.archive import Client, open_archive
from tests.builders import dataset, part10

JSON = "application/dicom+json"


async def test_each_resource_is_found_the_moment_the_store_is_answered(client: Client) -> None:
    source = dataset()
    await client.store("/v2", [part10(source)])
    study, series = source.StudyInstanceUID, source.SeriesInstanceUID

    for version in ("v1", "v2"):
        for resource in (
            "studies",
            "series",
            "instances",
            f"studies/{study}/series",
            f"studies/{study}/instances",
            f"studies/{study}/series/{series}/instances",
        ):
            answer = await client.get(f"/{version}/{resource}", JSON)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == JSON
            (found,) = answer.json()
            assert found["0020000D"]["Value"] == [study]


async def test_retrieve_urls_are_those_of_the_version_asked(client: Client) -> None:
    source = dataset()
    await client.store("/v2", [part10(source)])
    (found,) = (await client.get("/v2/studies", JSON)).json()
    url = f"http://archive.test/v2/studies/{source.StudyInstanceUID}"
    assert found["00081190"]["Value"] == [url]


async def test_no_match_has_no_content(client: Client) -> None:
    for version in ("v1", "v2"):
        answer = await client.get(f"/{version}/studies?StudyDate=20200101", JSON)
        assert (answer.status_code, answer.content) == (204, b"")


async def test_no_match_may_be_an_empty_array_in_v2(tmp_path: Path) -> None:
    async with open_archive(tmp_path, EMPTY_SEARCH_STATUS_V2="200"):
        client = Client()
        answer = await client.get("/v2/studies", JSON)
        assert (answer.status_code, answer.json()) == (200, [])
        assert (await client.get("/v1/studies", JSON)).status_code == 204


async def test_v2_tells_how_many_results_remain(client: Client) -> None:
    await client.store("/v2", [part10(dataset()) for _ in range(3)])

    answer = await client.get("/v2/studies?limit=2", JSON)

    assert len(answer.json()) == 2
    sentence = "There are 1 additional results that can be requested"
    assert answer.headers["warning"] == f'299 archive.test: "{sentence}"'
    assert "warning" not in (await client.get("/v1/studies?limit=2", JSON)).headers


async def test_v2_ignores_what_it_cannot_match_with_a_warning(client: Client) -> None:
    await client.store("/v2", [part10(dataset())])
    answer = await client.get("/v2/studies?RequestedProcedureDescription=x&unknown=y", JSON)
    assert answer.status_code == 200
    assert answer.headers["warning"].startswith("299 ")


async def test_v1_explains_why_an_attribute_cannot_be_matched(client: Client) -> None:
    answer = await client.get("/v1/studies?Modality=CT", JSON)
    message = answer.json()["error"]["message"]
    assert message.startswith("Invalid query: AttributeId Modality is not queryable.")


async def test_an_attribute_that_rows_lack_is_read_from_the_newest_instance(
    client: Client,
) -> None:
    await client.store("/v2", [part10(dataset(ProtocolName="Thorax"))])
    (found,) = (await client.get("/v2/studies?includefield=ProtocolName", JSON)).json()
    assert found["00181030"]["Value"] == ["Thorax"]
