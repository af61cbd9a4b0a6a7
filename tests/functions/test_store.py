from pathlib import Path

import pytest

from shared.dicom.resource import parse_path
from tests.archive import Client, blobs_in, open_archive
from tests.builders import dataset, image, multipart, part10

JSON = "application/dicom+json"


async def test_several_instances_are_stored_and_reported(client: Client) -> None:
    sources = [dataset() for _ in range(3)]

    answer = await client.store("/v2", [part10(source) for source in sources])

    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    items = answer.json()["00081199"]["Value"]
    assert [item["00081155"]["Value"][0] for item in items] == [s.SOPInstanceUID for s in sources]
    assert all(item["00741048"] == {"vr": "SQ", "Value": []} for item in items)
    assert "00081198" not in answer.json()
    assert "00081190" not in answer.json()


async def test_v1_tells_of_no_failed_attributes_of_what_it_stored(client: Client) -> None:
    answer = await client.store("/v1", [part10(dataset())])
    (item,) = answer.json()["00081199"]["Value"]
    assert item.keys() == {"00081150", "00081155", "00081190"}


async def test_one_instance_is_stored_without_parts(client: Client) -> None:
    headers = {"Accept": JSON, "Content-Type": "application/dicom"}
    for version in ("v1", "v2"):
        content = part10(dataset())
        answer = await client.send("POST", f"/{version}/studies", headers=headers, content=content)
        assert answer.status_code == 200


async def test_v1_takes_a_single_instance_only_without_parameters(client: Client) -> None:
    headers = {"Accept": JSON, "Content-Type": "application/dicom; transfer-syntax=*"}
    for version, status in (("v1", 415), ("v2", 200)):
        content = part10(dataset())
        answer = await client.send("POST", f"/{version}/studies", headers=headers, content=content)
        assert answer.status_code == status


@pytest.mark.parametrize("body", [b"--b--\r\n", b"--b\r\n\r\n--b--\r\n"])
async def test_a_request_without_parts_has_no_content(client: Client, body: bytes) -> None:
    headers = {
        "Accept": JSON,
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
    }
    answer = await client.send("POST", "/v1/studies", headers=headers, content=body)
    assert (answer.status_code, answer.content) == (204, b"")


async def test_an_empty_part_is_a_failed_instance(client: Client) -> None:
    answer = await client.store("/v2", [b""])
    assert answer.status_code == 409
    (item,) = answer.json()["00081198"]["Value"]
    assert item["00081197"]["Value"] == [0xA900]


async def test_an_empty_part_does_not_hinder_the_others(client: Client) -> None:
    source = dataset()

    answer = await client.store("/v1", [b"", part10(source)])

    assert answer.status_code == 202
    (item,) = answer.json()["00081199"]["Value"]
    assert item["00081155"]["Value"] == [source.SOPInstanceUID]
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    assert (await client.get(f"/v1/{path}/metadata", JSON)).status_code == 200


async def test_the_first_part_may_leave_its_type_to_the_whole(client: Client) -> None:
    body, headers = multipart([part10(dataset())], content_type=None)
    answer = await client.send("POST", "/v2/studies", headers=headers, content=body)
    assert answer.status_code == 200


async def test_of_two_studies_only_the_one_asked_for_is_stored(client: Client) -> None:
    mine, other = dataset(), dataset()

    answer = await client.store("/v2", [part10(mine), part10(other)], mine.StudyInstanceUID)

    assert answer.status_code == 202
    report = answer.json()
    assert report.keys() == {"00081190", "00081198", "00081199"}
    assert report["00081190"]["Value"][0].endswith(f"/v2/studies/{mine.StudyInstanceUID}")
    (failed,) = report["00081198"]["Value"]
    assert failed["00081155"]["Value"] == [other.SOPInstanceUID]
    assert failed["00081197"]["Value"] == [0xA900]
    missing = await client.get(f"/v2/studies/{other.StudyInstanceUID}/metadata", JSON)
    assert missing.status_code == 404


async def test_instances_of_other_studies_alone_are_all_refused(client: Client) -> None:
    answer = await client.store("/v2", [part10(dataset()), part10(dataset())], "1.2.3")

    assert answer.status_code == 409
    assert answer.json().keys() == {"00081198"}
    for item in answer.json()["00081198"]["Value"]:
        assert item["00081197"]["Value"] == [0xA900]
        (problem,) = item["00741048"]["Value"]
        assert problem["00000902"]["Value"][0].startswith("DICOM100: (0020,000D) - ")


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_an_instance_twice_in_one_request_is_stored_once(
    client: Client, version: str
) -> None:
    content = part10(dataset())

    answer = await client.store(f"/{version}", [content, content])

    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 1
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xB00E]


async def test_the_same_file_again_is_a_conflict_in_v1_and_done_in_v2(client: Client) -> None:
    content = part10(dataset())
    await client.store("/v1", [content])

    again = await client.store("/v1", [content])
    assert again.status_code == 409
    (failed,) = again.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xB00E]
    assert (await client.store("/v2", [content])).status_code == 200


async def test_another_file_of_an_instance_is_a_conflict(client: Client) -> None:
    source = dataset()
    await client.store("/v2", [part10(source)])
    source.StudyDescription = "Changed"

    answer = await client.store("/v2", [part10(source)])

    assert answer.status_code == 409
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xB00E]


async def test_implicit_vr_is_stored_with_a_warning(client: Client) -> None:
    for version, status in (("v1", 200), ("v2", 202)):
        answer = await client.store(f"/{version}", [part10(dataset(), "1.2.840.10008.1.2")])
        assert answer.status_code == status
        (item,) = answer.json()["00081199"]["Value"]
        assert item["00081196"]["Value"] == [0xB007]


async def test_a_padded_study_is_found_with_and_without_its_padding(client: Client) -> None:
    source = dataset()
    padded = f"{source.StudyInstanceUID} "
    content = part10(source)

    assert (await client.store("/v2", [content], f"{padded}%20")).status_code == 200

    for study in (padded.strip(), f"{padded.strip()}%20%20"):
        assert (await client.get(f"/v2/studies/{study}/metadata", JSON)).status_code == 200


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_large_files_in_parts_come_back_byte_for_byte(client: Client, version: str) -> None:
    sources = [image(rows=1024, columns=1024 + n) for n in range(3)]
    files = [part10(source) for source in sources]

    assert (await client.store(f"/{version}", files)).status_code == 200

    for source, content in zip(sources, files, strict=True):
        path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
        answer = await client.get(f"/{version}/{path}", "application/dicom")
        assert answer.content == content


@pytest.mark.parametrize("limit", ["STORE_MAX_PART_BYTES", "STORE_MAX_REQUEST_BYTES"])
async def test_what_is_too_large_is_refused_with_the_limit_and_leaves_nothing(
    tmp_path: Path, limit: str
) -> None:
    async with open_archive(tmp_path, **{limit: "1500000"}):
        client = Client()
        small, large = part10(dataset()), part10(image(rows=1024, columns=1024))
        single = {"Accept": JSON, "Content-Type": "application/dicom"}
        answers = [
            await client.store("/v2", [small, large]),
            await client.send("POST", "/v1/studies", headers=single, content=large),
        ]
        for answer in answers:
            assert answer.status_code == 413
            assert "1500000" in answer.json()["error"]["message"]
        assert blobs_in(tmp_path) == []
        assert (await client.get("/v2/instances", JSON)).status_code == 204
        assert (await client.store("/v2", [small])).status_code == 200


async def test_more_parts_than_the_limit_are_refused(tmp_path: Path) -> None:
    async with open_archive(tmp_path, STORE_MAX_PARTS="2"):
        answer = await Client().store("/v2", [part10(dataset()) for _ in range(3)])
        assert answer.status_code == 413
        assert blobs_in(tmp_path) == []
