from email.message import Message
from email.parser import BytesParser

import httpx
import pytest

from shared.dicom import xml_model
from shared.dicom.resource import ResourcePath, parse_path
from tests.archive import Client
from tests.builders import dataset, image, part10

JSON = "application/dicom+json"


@pytest.fixture
async def paths(client: Client) -> list[str]:
    """One stored image: its study, its series and itself."""
    source = image()
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    await client.store("/v2", [part10(source)])
    return [str(p) for p in (ResourcePath(path.study), ResourcePath(path.study, path.series), path)]


async def test_each_level_answers_with_an_etag(client: Client, paths: list[str]) -> None:
    for path in paths:
        answer = await client.get(f"/v2/{path}/metadata", JSON)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == JSON
        assert answer.headers["vary"] == "Accept, Accept-Encoding, msdicom-request-original"
        assert len(answer.json()) == 1
        tag = answer.headers["etag"]
        assert tag.startswith('"')
        assert ("-1" in tag) == (path != paths[2])


async def test_what_has_not_changed_is_not_sent_again(client: Client, paths: list[str]) -> None:
    for version in ("v1", "v2"):
        for path in paths:
            url = f"/{version}/{path}/metadata"
            tag = (await client.get(url, JSON)).headers["etag"]
            assert tag.startswith('"') == (version == "v2")
            unchanged = await client.get(url, JSON, If_None_Match=tag)
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert ("etag" in unchanged.headers) == (version == "v2")
            changed = await client.get(url, JSON, If_None_Match='"other"')
            assert (changed.status_code, changed.headers["etag"]) == (200, tag)


async def test_another_instance_changes_the_etags_above_it(
    client: Client, paths: list[str]
) -> None:
    before = [(await client.get(f"/v2/{path}/metadata")).headers["etag"] for path in paths]
    _, study, _, series, *_ = paths[2].split("/")
    other = dataset(StudyInstanceUID=study, SeriesInstanceUID=series)
    await client.store("/v2", [part10(other)])

    for path, tag in zip(paths[:2], before[:2], strict=True):
        added = await client.get(f"/v2/{path}/metadata", If_None_Match=tag)
        assert (added.status_code, len(added.json())) == (200, 2)
        before.append(added.headers["etag"])
    instance = await client.get(f"/v2/{paths[2]}/metadata", If_None_Match=before[2])
    assert instance.status_code == 304

    await client.send("DELETE", f"/v2/{paths[1]}/instances/{other.SOPInstanceUID}")
    for path, tag in zip(paths[:2], before[3:], strict=True):
        removed = await client.get(f"/v2/{path}/metadata", If_None_Match=tag)
        assert (removed.status_code, len(removed.json())) == (200, 1)


async def test_gzip_is_sent_to_whom_takes_it(client: Client, paths: list[str]) -> None:
    for path in paths:
        plain = await client.get(f"/v2/{path}/metadata", JSON)
        assert "content-encoding" not in plain.headers
        # The second answer comes from memory.
        for _ in range(2):
            packed = await client.get(f"/v2/{path}/metadata", JSON, Accept_Encoding="br, gzip")
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.json() == plain.json()
        refused = await client.get(f"/v2/{path}/metadata", JSON, Accept_Encoding="gzip;q=0")
        assert "content-encoding" not in refused.headers


async def test_v1_leaves_bulk_values_out_and_v2_refers_to_them(
    client: Client, paths: list[str]
) -> None:
    for path in paths:
        (first,) = (await client.get(f"/v1/{path}/metadata", JSON)).json()
        (second,) = (await client.get(f"/v2/{path}/metadata", JSON)).json()
        assert "7FE00010" not in first
        assert second.pop("7FE00010") in (
            {"vr": "OW", "BulkDataURI": f"http://archive.test/v2/{paths[2]}/bulkdata/7FE00010"},
            {"vr": "OW", "InlineBinary": second.get("7FE00010", {}).get("InlineBinary")},
        )
        assert first == second
        assert list(second) == sorted(second)


async def test_plain_json_is_dicom_json_in_v2(client: Client, paths: list[str]) -> None:
    answer = await client.get(f"/v2/{paths[0]}/metadata", "application/json")
    assert answer.status_code == 200
    assert (await client.get(f"/v1/{paths[0]}/metadata", "application/json")).status_code == 406


XML = 'multipart/related; type="application/dicom+xml"'


def xml_parts(answer: httpx.Response) -> list[bytes]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = []
    for part in BytesParser().parsebytes(head + answer.content).get_payload():
        assert isinstance(part, Message)
        assert part["Content-Type"] == "application/dicom+xml"
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        parts.append(content)
    return parts


async def test_xml_says_what_json_says_one_data_set_a_part(
    client: Client, paths: list[str]
) -> None:
    _, study, _, series, *_ = paths[2].split("/")
    other = image(rows=64, columns=64, StudyInstanceUID=study, SeriesInstanceUID=series)
    await client.store("/v2", [part10(other)])
    for path in paths:
        for accept in (XML, f"{XML}, application/dicom+json;q=0.5", "application/dicom+xml"):
            answer = await client.get(f"/v2/{path}/metadata", accept)
            assert answer.status_code == 200
            assert 'type="application/dicom+xml"' in answer.headers["content-type"]
            documents = [xml_model.loads(part) for part in xml_parts(answer)]
            assert documents == (await client.get(f"/v2/{path}/metadata", JSON)).json()
    assert documents


async def test_xml_has_an_etag_of_its_own(client: Client, paths: list[str]) -> None:
    for path in paths:
        url = f"/v2/{path}/metadata"
        json_tag = (await client.get(url, JSON)).headers["etag"]
        xml_tag = (await client.get(url, XML)).headers["etag"]
        assert xml_tag != json_tag
        assert (await client.get(url, XML, If_None_Match=xml_tag)).status_code == 304
        assert (await client.get(url, XML, If_None_Match=json_tag)).status_code == 200


@pytest.mark.parametrize(
    ("accept", "v1", "v2"),
    [
        (XML, 406, 200),
        (f"{XML};q=0", 406, 406),
        (f"application/dicom+json;q=0, {XML}", 406, 200),
        ("application/data", 406, 406),
        ("multipart/related", 406, 200),
    ],
)
async def test_xml_is_given_in_v2_alone(
    client: Client, paths: list[str], accept: str, v1: int, v2: int
) -> None:
    for version, status in (("v1", v1), ("v2", v2)):
        answer = await client.get(f"/{version}/{paths[0]}/metadata", accept)
        assert (version, answer.status_code) == (version, status)
