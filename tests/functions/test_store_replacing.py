import pytest

from shared.dicom.resource import parse_path
from tests.archive import Client, code_of
from tests.builders import dataset, multipart, part10

JSON = "application/dicom+json"


@pytest.mark.parametrize("is_named", [False, True])
async def test_put_replaces_an_instance_that_post_would_not(
    client: Client, *, is_named: bool
) -> None:
    source = dataset()
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    await client.store("/v2", [part10(source)])
    before = await client.get(f"/v2/{path}/metadata", JSON)
    source.StudyDescription = "Corrected"
    body, headers = multipart([part10(source)])
    studies = f"/v2/studies/{source.StudyInstanceUID}" if is_named else "/v2/studies"

    assert (await client.send("POST", studies, headers=headers, content=body)).status_code == 409
    answer = await client.send("PUT", studies, headers=headers, content=body)

    assert answer.status_code == 200
    (stored,) = answer.json()["00081199"]["Value"]
    assert stored["00081155"]["Value"] == [source.SOPInstanceUID]
    assert ("00081190" in answer.json()) is is_named
    after = await client.get(f"/v2/{path}/metadata", JSON)
    assert after.json()[0]["00081030"]["Value"] == ["Corrected"]
    assert after.headers["etag"] != before.headers["etag"]
    stale = await client.get(f"/v2/{path}/metadata", JSON, if_none_match=before.headers["etag"])
    assert stale.status_code == 200
    study = await client.get(f"/v2/studies?StudyInstanceUID={source.StudyInstanceUID}", JSON)
    assert study.json()[0]["00201208"]["Value"] == [1]


async def test_put_stores_what_is_not_there_into_a_partition_of_its_own(client: Client) -> None:
    body, headers = multipart([part10(dataset())])
    url = "/v2/partitions/new/studies"
    assert (await client.send("PUT", url, headers=headers, content=body)).status_code == 200
    assert len((await client.get("/v2/partitions/new/instances", JSON)).json()) == 1
    assert (await client.get("/v2/instances", JSON)).status_code == 204


@pytest.mark.parametrize("study", ["", "/1.2.3"])
async def test_v1_has_no_put(client: Client, study: str) -> None:
    body, headers = multipart([part10(dataset())])
    answer = await client.send("PUT", f"/v1/studies{study}", headers=headers, content=body)
    assert answer.status_code == 404
    assert code_of(answer.content) == "NotFound"
