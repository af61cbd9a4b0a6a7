import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.archive import Client, code_of, open_archive
from tests.builders import dataset, image, part10

ROOT = Path(__file__).parents[2]
JSON = "application/dicom+json"
INSTANCE = "application/dicom; transfer-syntax=*"


async def _names(client: Client) -> list[str]:
    return [partition["partitionName"] for partition in (await client.get("/v2/partitions")).json()]


@pytest.mark.parametrize("version", ["v1.0-prerelease", "v1", "v2"])
async def test_partitions_are_listed_oldest_first(client: Client, version: str) -> None:
    before = datetime.now(UTC)
    for name in ("b", "a"):
        assert (await client.store(f"/v2/partitions/{name}", [part10(dataset())])).is_success
    answer = await client.get(f"/{version}/partitions")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    default, *others = answer.json()
    assert default.keys() == {"partitionKey", "partitionName", "createdDate"}
    assert (default["partitionKey"], default["partitionName"]) == (1, "Microsoft.Default")
    assert [item["partitionName"] for item in others] == ["b", "a"]
    assert 1 < others[0]["partitionKey"] < others[1]["partitionKey"]
    for item in others:
        assert before <= datetime.fromisoformat(item["createdDate"]) <= datetime.now(UTC)


async def test_an_empty_archive_has_the_default_partition_alone(client: Client) -> None:
    assert await _names(client) == ["Microsoft.Default"]


async def test_where_partitions_are_off_they_are_not_listed(tmp_path: Path) -> None:
    async with open_archive(tmp_path, DATA_PARTITIONS="off"):
        answer = await Client().get("/v2/partitions")
        assert answer.status_code == 400
        assert b"Data partitions feature is disabled." in answer.content


async def test_only_a_store_makes_a_partition(client: Client) -> None:
    instance = f"studies/{dataset().StudyInstanceUID}"
    for method, version, resource in [
        ("GET", "v2", "studies"),
        ("GET", "v2", f"{instance}/metadata"),
        ("DELETE", "v2", instance),
        ("PUT", "v1", "studies"),
    ]:
        answer = await client.send(method, f"/{version}/partitions/new/{resource}")
        assert answer.status_code == (404 if method == "PUT" else 400)
    assert await _names(client) == ["Microsoft.Default"]
    assert (await client.store("/v1/partitions/new", [part10(dataset())])).status_code == 200
    assert await _names(client) == ["Microsoft.Default", "new"]


async def test_the_change_feed_names_partitions(client: Client) -> None:
    source = dataset()
    for name in ("a", "b"):
        assert (await client.store(f"/v2/partitions/{name}", [part10(source)])).is_success
    for version in ("v1", "v2"):
        entries = (await client.get(f"/{version}/changefeed")).json()
        assert [entry["partitionName"] for entry in entries] == ["a", "b"]
        assert {entry["state"] for entry in entries} == {"Current"}
        latest = (await client.get(f"/{version}/changefeed/latest")).json()
        assert latest["partitionName"] == "b"


async def test_what_is_deleted_in_one_partition_stays_in_the_other(client: Client) -> None:
    source = image()
    study = f"studies/{source.StudyInstanceUID}"
    instance = f"{study}/series/{source.SeriesInstanceUID}/instances/{source.SOPInstanceUID}"
    for name in ("a", "b"):
        assert (await client.store(f"/v2/partitions/{name}", [part10(source)])).is_success
    deleted = await client.send("DELETE", f"/v2/partitions/a/{study}")
    assert deleted.status_code == 204
    for version, missing in (("v1", 404), ("v2", 410)):
        gone = await client.get(f"/{version}/partitions/a/{instance}", INSTANCE)
        assert gone.status_code == missing
        there = await client.get(f"/{version}/partitions/b/{instance}", INSTANCE)
        assert there.content == part10(source)
        shown = await client.get(f"/{version}/partitions/b/{instance}/rendered", "image/jpeg")
        assert shown.status_code == 200


async def test_a_study_in_two_partitions_is_found_once_in_each(client: Client) -> None:
    source = dataset(Modality="MRI")
    for name in ("a", "b"):
        assert (await client.store(f"/v2/partitions/{name}", [part10(source)])).is_success
    study = f"/v2/partitions/a/studies/{source.StudyInstanceUID}"
    assert len((await client.get(f"{study}/series?Modality=MRI", JSON)).json()) == 1


async def test_nothing_is_served_that_would_hide_a_partition(tmp_path: Path) -> None:
    async with open_archive(tmp_path, DATA_PARTITIONS="off") as services:
        await services.index.create_partition("other")
        answer = await Client().get("/v2/studies", JSON)
        assert (answer.status_code, code_of(answer.content)) == (503, "StoreUnavailable")
        assert b"DATA_PARTITIONS is off" in answer.content


async def test_a_host_does_not_start_where_a_partition_would_be_hidden(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        await services.index.create_partition("other")
    refused = subprocess.run(
        [sys.executable, "-c", "from shared import wiring; wiring.prepare()"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATA_DIRECTORY": str(tmp_path),
            "DATA_PARTITIONS": "off",
            "LISTEN_ADDRESS": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stderr.strip() == (
        "DATA_PARTITIONS is off, but there is more than one partition: "
        "set it to optional or required."
    )
