import pytest

from shared.dicom.resource import parse_path
from tests.archive import Client
from tests.builders import dataset, part10

JSON = "application/dicom+json"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("level", [2, 4, 6])
async def test_what_is_deleted_is_gone_and_cannot_be_deleted_again(
    client: Client, version: str, level: int
) -> None:
    source = dataset()
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    segments = str(path).split("/")
    await client.store("/v2", [part10(source)])

    deleted = await client.send("DELETE", f"/{version}/" + "/".join(segments[:level]))
    assert (deleted.status_code, deleted.content) == (204, b"")

    missing = 404 if version == "v1" else 410
    for depth in (2, 4, 6):
        resource = f"/{version}/" + "/".join(segments[:depth])
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        assert (await client.get(resource, accept)).status_code == missing
        assert (await client.get(f"{resource}/metadata", JSON)).status_code == missing
        assert (await client.send("DELETE", resource)).status_code == 404
    assert (await client.get(f"/{version}/instances", JSON)).status_code == 204
    assert (await client.store("/v2", [part10(source)])).status_code == 200


async def test_siblings_stay(client: Client) -> None:
    first = dataset()
    second = dataset(StudyInstanceUID=first.StudyInstanceUID)
    await client.store("/v2", [part10(first), part10(second)])
    study = f"/v2/studies/{first.StudyInstanceUID}"

    deleted = await client.send("DELETE", f"{study}/series/{first.SeriesInstanceUID}")

    assert deleted.status_code == 204
    (found,) = (await client.get(f"{study}/instances", JSON)).json()
    assert found["00080018"]["Value"] == [second.SOPInstanceUID]
