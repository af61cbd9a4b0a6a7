import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset

from shared.dicom.blob_names import metadata_blob
from shared.wiring import Services
from tests.archive import HOST, Client, code_of
from tests.builders import dataset, image, part10

JSON = "application/dicom+json"
MEMBERS = {
    *("sequence", "partitionName", "studyInstanceUid", "seriesInstanceUid", "sopInstanceUid"),
    *("action", "timestamp", "state", "metadata"),
}


async def _store(client: Client, *sources: Dataset, root: str = "/v2") -> None:
    stored = await client.store(root, [part10(source) for source in sources])
    assert stored.status_code in (200, 202)


async def _delete(client: Client, source: Dataset, root: str = "/v2") -> None:
    deleted = await client.send("DELETE", f"{root}/studies/{source.StudyInstanceUID}")
    assert deleted.status_code == 204


async def _feed(client: Client, query: str = "", version: str = "v2") -> list[dict[str, Any]]:
    answer = await client.get(f"/{version}/changefeed?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    entries: list[dict[str, Any]] = answer.json()
    return entries


async def _latest(client: Client, query: str = "", version: str = "v2") -> dict[str, Any]:
    answer = await client.get(f"/{version}/changefeed/latest?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    entry: dict[str, Any] = answer.json()
    return entry


def _sequences(entries: list[dict[str, Any]]) -> list[int]:
    return [entry["sequence"] for entry in entries]


async def _at_three_moments(client: Client) -> list[str]:
    """Three changes, each numbered before the next; their timestamps, as a query has them."""
    for _ in range(3):
        await _store(client, dataset())
        await _latest(client)
        await asyncio.sleep(0.002)
    return [entry["timestamp"].replace("+", "%2B") for entry in await _feed(client)]


@pytest.mark.parametrize("version", ["v1.0-prerelease", "v1", "v2"])
async def test_an_empty_feed_has_no_entries_and_no_latest(client: Client, version: str) -> None:
    assert await _feed(client, version=version) == []
    latest = await client.get(f"/{version}/changefeed/latest")
    assert (latest.status_code, latest.content) == (204, b"")


@pytest.mark.parametrize("version", ["v1.0-prerelease", "v1", "v2"])
async def test_an_entry_says_what_happened_to_which_instance(client: Client, version: str) -> None:
    source = dataset()
    before = datetime.now(UTC)
    await _store(client, source)
    [entry] = await _feed(client, version=version)
    assert entry == await _latest(client, version=version)
    assert entry.keys() == MEMBERS
    assert before <= datetime.fromisoformat(entry["timestamp"]) <= datetime.now(UTC)
    assert (entry["sequence"], entry["partitionName"]) == (1, "Microsoft.Default")
    assert (entry["action"], entry["state"]) == ("Create", "Current")
    assert entry["studyInstanceUid"] == source.StudyInstanceUID
    assert entry["seriesInstanceUid"] == source.SeriesInstanceUID
    assert entry["sopInstanceUid"] == source.SOPInstanceUID
    assert entry["metadata"]["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]


async def test_v1_reads_a_page_of_ten_after_a_sequence(client: Client) -> None:
    sources = [dataset() for _ in range(12)]
    await _store(client, *sources)
    assert _sequences(await _feed(client, version="v1")) == list(range(1, 11))
    page = await _feed(client, "offset=2", "v1")
    assert [entry["sopInstanceUid"] for entry in page] == [
        source.SOPInstanceUID for source in sources[2:]
    ]
    assert all(entry["metadata"] for entry in page)
    assert _sequences(await _feed(client, "OFFSET=4&Limit=3", "v1")) == [5, 6, 7]
    assert await _feed(client, "offset=12", "v1") == []
    assert await _feed(client, f"offset={2**63 - 1}", "v1") == []


async def test_v1_has_no_windows(client: Client) -> None:
    await _store(client, dataset())
    assert len(await _feed(client, "startTime=never&endTime=2000-01-01T00:00:00Z", "v1")) == 1


async def test_v2_reads_up_to_a_hundred_entries(client: Client) -> None:
    await _store(client, *(dataset() for _ in range(101)))
    assert _sequences(await _feed(client, "includeMetadata=false")) == list(range(1, 101))
    assert len(await _feed(client, "limit=200&includemetadata=FALSE")) == 101


async def test_v2_windows_have_their_start_and_not_their_end(client: Client) -> None:
    first, second, third = await _at_three_moments(client)
    for query, expected in [
        (f"startTime={first}", [1, 2, 3]),
        (f"endTime={first}", []),
        (f"STARTTIME={second}", [2, 3]),
        (f"startTime={second}&offset=2", []),
        (f"startTime={first}&endTime={third}", [1, 2]),
        (f"startTime={first}&endTime={third}&limit=1&offset=1", [2]),
        (f"startTime={third}", [3]),
        (f"startTime={third.replace('%2B', '1%2B')}", []),
        (f"startTime={third.replace('%2B', '0%2B')}", [3]),
        (f"startTime={first}&offset={2**63 - 1}", []),
    ]:
        assert _sequences(await _feed(client, query)) == expected, query


async def test_moments_may_have_any_time_zone(client: Client) -> None:
    await _store(client, dataset())
    for start in (
        "0001-01-01T00:00:00Z",
        "2026-01-01T00:00:00.1234567%2B14:00",
        "2026-01-01T00:00:00+01:00",
        "20260101T000000-0130",
    ):
        end = "9999-12-31T23:59:59.9999999%2B00:00"
        assert len(await _feed(client, f"startTime={start}&endTime={end}")) == 1, start


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_states_are_those_of_now(client: Client, version: str) -> None:
    source = dataset()
    seen = []
    for change in (_store, _delete, _store):
        await change(client, source)
        entry = await _latest(client, version=version)
        seen.append((entry["action"], entry["state"], "metadata" in entry))
    assert seen == [
        ("Create", "Current", True),
        ("Delete", "Deleted", False),
        ("Create", "Current", True),
    ]
    entries = await _feed(client, version=version)
    assert [(entry["action"], entry["state"]) for entry in entries] == [
        ("Create", "Replaced"),
        ("Delete", "Replaced"),
        ("Create", "Current"),
    ]
    assert all(entry["metadata"] == entries[0]["metadata"] for entry in entries)


async def test_a_replaced_instance_shows_the_metadata_of_what_is_there_now(client: Client) -> None:
    source = dataset(StudyDescription="before")
    await _store(client, source)
    source.StudyDescription = "after"
    headers = {"Content-Type": "application/dicom", "Accept": JSON}
    replaced = await client.send("PUT", "/v2/studies", headers=headers, content=part10(source))
    assert replaced.status_code == 200
    entries = await _feed(client)
    assert [(entry["action"], entry["state"]) for entry in entries] == [
        ("Create", "Replaced"),
        ("Update", "Current"),
    ]
    assert [entry["metadata"]["00081030"]["Value"] for entry in entries] == [["after"]] * 2


async def test_deleting_a_study_is_a_change_of_each_instance(client: Client) -> None:
    source = dataset()
    others = [dataset(StudyInstanceUID=source.StudyInstanceUID) for _ in range(2)]
    await _store(client, source, *others)
    await _delete(client, source)
    entries = await _feed(client, "offset=3", "v1")
    assert {entry["sopInstanceUid"] for entry in entries} == {
        item.SOPInstanceUID for item in (source, *others)
    }
    assert {(entry["action"], entry["state"]) for entry in entries} == {("Delete", "Deleted")}


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_metadata_is_left_out_where_it_is_not_wanted(client: Client, version: str) -> None:
    await _store(client, dataset())
    [listed] = await _feed(client, "includeMetadata=false", version)
    latest = await _latest(client, "IncludeMetadata=False", version)
    for entry in (listed, latest):
        assert entry.keys() == MEMBERS - {"metadata"}
        assert entry["state"] == "Current"


async def test_metadata_is_as_retrieve_gives_it(client: Client) -> None:
    source = image(rows=64, columns=64)
    await _store(client, source, root="/v2/partitions/other")
    study = f"partitions/other/studies/{source.StudyInstanceUID}"
    for version in ("v1", "v2"):
        [entry] = await _feed(client, version=version)
        retrieved = await client.get(f"/{version}/{study}/metadata", JSON)
        assert [entry["metadata"]] == retrieved.json()
        assert entry["partitionName"] == "other"
        assert ("7FE00010" in entry["metadata"]) is (version == "v2")
    reference = entry["metadata"]["7FE00010"]["BulkDataURI"]
    value = await client.get(reference.removeprefix(HOST), "application/octet-stream")
    assert value.content == source.PixelData


async def _gone(services: Services) -> None:
    """Remove the metadata blobs of all instances, as if their grace period were over."""
    changes = await services.index.changes(0, 100)
    await services.blobs.delete([metadata_blob(c.blob_id) for c in changes if c.blob_id])


async def test_an_instance_without_its_metadata_blob_stops_no_reader(
    client: Client, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    source = dataset()
    await _store(client, source)
    await _gone(services)
    [entry] = await _feed(client)
    assert (entry["state"], "metadata" in entry) == ("Current", False)
    assert "metadata blob" in caplog.text
    assert source.SOPInstanceUID not in caplog.text


async def test_a_large_page_is_streamed(client: Client) -> None:
    sources = [dataset(ImageComments="x" * 10_000) for _ in range(150)]
    await _store(client, *sources)
    answer = await client.get("/v2/changefeed?limit=200")
    assert "content-length" not in answer.headers
    assert [entry["metadata"]["00080018"]["Value"][0] for entry in answer.json()] == [
        source.SOPInstanceUID for source in sources
    ]


def _refused(answer: httpx.Response, name: str) -> None:
    assert answer.status_code == 400
    assert code_of(answer.content) == "InvalidQuery"
    assert f"'{name}' is invalid" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "query",
    [
        "startTime=2026-01-01T00:00:00",
        "endTime=2026-01-01T00:00:00",
        "startTime=yesterday",
        "endTime=2026-13-01T00:00:00Z",
        "startTime=",
        "startTime=0001-01-01T00:00:00%2B02:00",
        "startTime=2026-01-02T00:00:00Z&endTime=2026-01-02T00:00:00Z",
        "startTime=2026-01-02T00:00:00Z&endTime=2026-01-02T01:00:00%2B02:00",
    ],
)
async def test_malformed_windows_are_refused(client: Client, query: str) -> None:
    _refused(
        await client.get(f"/v2/changefeed?{query}"), "EndTime" if "end" in query else "StartTime"
    )


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("query", "name"),
    [
        *((f"limit={text}", "Limit") for text in ("0", "-1", "201", "ten", "", "1.5", "1" * 30)),
        *((f"offset={text}", "Offset") for text in ("-1", "none", "", str(2**63), "9" * 30)),
        *((f"includeMetadata={text}", "IncludeMetadata") for text in ("0", "boolean", "")),
    ],
)
async def test_malformed_parameters_are_refused(
    client: Client, version: str, query: str, name: str
) -> None:
    _refused(await client.get(f"/{version}/changefeed?{query}"), name)


async def test_v1_takes_at_most_a_hundred_entries(client: Client) -> None:
    assert await _feed(client, "limit=100", "v1") == []
    _refused(await client.get("/v1/changefeed?limit=101"), "Limit")


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_malformed_parameter_of_the_latest_is_refused(client: Client, version: str) -> None:
    answer = await client.get(f"/{version}/changefeed/latest?includeMetadata=asdf")
    _refused(answer, "IncludeMetadata")


async def test_the_feed_lies_below_no_partition(client: Client) -> None:
    await _store(client, dataset(), root="/v2/partitions/p")
    assert (await client.get("/v2/partitions/p/changefeed")).status_code == 404
