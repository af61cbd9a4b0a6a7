from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
from httpx import Response
from pydicom.dataset import Dataset

from shared.dicom import xml_model
from shared.dicom.codestream import HTJ2K_LOSSLESS_RPCL, JPEG_2000_LOSSLESS
from shared.dicom.resource import ResourcePath
from shared.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from shared.dicom.uid import Uid
from tests.archive import Client, open_archive
from tests.builders import dataset, image, part10
from tests.contracts.index_data import new_instance

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


def _with_bulk() -> Dataset:
    source = image()
    source.add_new(0x00281201, "OW", bytes(5000))
    item = Dataset()
    item.add_new(0x00420011, "OB", bytes(8))
    source.ContentSequence = [item]
    return source


BULK = "includefield=00281201,7FE00010,0040A730"


async def test_references_of_results_lead_to_their_bulk_values(client: Client) -> None:
    source = _with_bulk()
    await client.store("/v2", [part10(source)])
    for root in ("/v2", "/v2/partitions/Microsoft.Default"):
        for resource in ("studies", "series", "instances"):
            (found,) = (await client.get(f"{root}/{resource}?{BULK}", JSON)).json()
            for tag, length in (("00281201", 5000), ("7FE00010", len(source.PixelData))):
                uri = found[tag]["BulkDataURI"]
                assert f"{root}/studies/" in uri
                answer = await client.get(uri, "application/octet-stream")
                assert (answer.status_code, len(answer.content)) == (200, length)
            assert found["0040A730"]["Value"][0]["00420011"]["InlineBinary"]

    (found,) = (await client.get(f"/v2/instances?{BULK}", JSON)).json()
    xml = await client.get(f"/v2/instances?{BULK}", XML)
    content = xml_parts(xml)[0].get_payload(decode=True)
    assert isinstance(content, bytes)
    assert xml_model.loads(content) == found


async def test_v1_leaves_bulk_values_out_of_results(client: Client) -> None:
    await client.store("/v2", [part10(_with_bulk())])
    fields = BULK.replace(",", "&includefield=")
    (found,) = (await client.get(f"/v1/instances?{fields}", JSON)).json()
    assert not {"00281201", "7FE00010"} & found.keys()
    assert found["0040A730"] == {"vr": "SQ", "Value": [{}]}


XML = 'multipart/related; type="application/dicom+xml"'


def xml_parts(answer: Response) -> list[Message]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    whole = BytesParser().parsebytes(head + answer.content)
    return [part for part in whole.walk() if part is not whole]


async def test_v2_gives_each_result_as_xml_in_a_part(client: Client) -> None:
    await client.store("/v2", [part10(dataset(PatientName="Åse^<b>")) for _ in range(3)])

    for resource in ("studies", "series", "instances"):
        expected = (await client.get(f"/v2/{resource}", JSON)).json()
        answer = await client.get(f"/v2/{resource}", XML)
        assert answer.headers["content-type"].startswith(f"{XML}; boundary=")
        parts = xml_parts(answer)
        assert [part.get_content_type() for part in parts] == ["application/dicom+xml"] * 3
        found = []
        for part in parts:
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            found.append(xml_model.loads(content))
        assert found == expected


async def test_xml_without_a_match_has_no_content(tmp_path: Path) -> None:
    async with open_archive(tmp_path, EMPTY_SEARCH_STATUS_V2="200"):
        answer = await Client().get("/v2/studies", XML)
        assert (answer.status_code, answer.content) == (204, b"")


async def test_v1_gives_no_xml(client: Client) -> None:
    assert (await client.get("/v1/studies", XML)).status_code == 406


async def test_instances_tell_the_transfer_syntaxes_they_can_be_retrieved_in(
    client: Client,
) -> None:
    picture, report = image(InstanceNumber=1), dataset(InstanceNumber=2)
    await client.store("/v2", [part10(picture), part10(report)])

    for source in (picture, report):
        url = f"/v2/instances?SOPInstanceUID={source.SOPInstanceUID}"
        (found,) = (await client.get(url, JSON)).json()
        syntaxes = found["00083002"]["Value"]
        assert syntaxes[0] == EXPLICIT_VR_LITTLE_ENDIAN
        at = "/".join(found["00081190"]["Value"][0].split("/")[3:])
        for syntax in syntaxes:
            accept = f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'
            assert (await client.get(f"/{at}", accept)).status_code == 200, syntax
    (found,) = (await client.get("/v2/instances?InstanceNumber=1", JSON)).json()
    assert {JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS_RPCL} <= set(found["00083002"]["Value"])


async def test_only_v2_tells_transfer_syntaxes_without_being_asked(client: Client) -> None:
    await client.store("/v2", [part10(image())])
    (found,) = (await client.get("/v1/instances", JSON)).json()
    assert "00083002" not in found
    url = "/v1/instances?includefield=AvailableTransferSyntaxUID"
    (found,) = (await client.get(url, JSON)).json()
    assert "00083002" in found


async def test_what_a_sender_wrote_as_a_computed_attribute_is_never_shown(client: Client) -> None:
    await client.store("/v2", [part10(dataset(AvailableTransferSyntaxUID="1.2", ProtocolName="P"))])
    url = "/v2/studies?includefield=AvailableTransferSyntaxUID,ProtocolName"
    (found,) = (await client.get(url, JSON)).json()
    assert "00083002" not in found
    assert found["00181030"]["Value"] == ["P"]


@pytest.mark.parametrize("accept", [JSON, XML])
async def test_large_pages_are_whole_and_in_order(tmp_path: Path, accept: str) -> None:
    async with open_archive(tmp_path, SEARCH_MAX_LIMIT_INSTANCES_V2="1500") as services:
        client = Client()
        study = "2.25.7"
        many = [
            new_instance(ResourcePath(Uid(study), Uid("2.25.7.1"), Uid(f"2.25.7.1.{number}")))
            for number in range(2100)
        ]
        partition = await services.partitions.resolve(None, create=False)
        await services.index.commit(partition, many)

        url = f"/v2/studies/{study}/instances?limit=50000&offset=100"
        answer = await client.get(url, accept)

        newest_first = [str(item.path.instance) for item in reversed(many)]
        if accept == JSON:
            found = [one["00080018"]["Value"][0] for one in answer.json()]
            assert found == newest_first[100:1600]
        else:
            assert len(xml_parts(answer)) == 1500
        assert "There are 500 additional results" in answer.headers["warning"]


async def test_the_limit_is_one_for_studies_and_series_and_another_for_instances(
    tmp_path: Path,
) -> None:
    limits = {"SEARCH_MAX_LIMIT_V2": "1", "SEARCH_MAX_LIMIT_INSTANCES_V2": "2"}
    async with open_archive(tmp_path, **limits):
        client = Client()
        await client.store("/v2", [part10(dataset()) for _ in range(3)])
        for resource, most in (("studies", 1), ("series", 1), ("instances", 2)):
            answer = await client.get(f"/v2/{resource}?limit=3", JSON)
            assert len(answer.json()) == most


@pytest.mark.parametrize(
    ("query", "tags"),
    [
        (
            "studies?limit=101&offset=0&fuzzymatching=true"
            "&includefield=00081030%2C00080060%2C00080090%2C00100030",
            {"00081030", "00080090", "00100030", "0020000D", "00080061", "00201206", "00201208"},
        ),
        (
            "studies/{study}/series?includefield=00080021,00080031,0008103E,00200011",
            {"00080021", "00080031", "0008103E", "00200011", "0020000E", "00201209"},
        ),
        ("studies?00100020=P1", {"00100020", "00100010", "0020000D"}),
        ("studies?limit=25&offset=0&includefield=00081030,00080060", {"00081030", "0020000D"}),
    ],
)
async def test_the_first_question_of_viewers_is_answered(
    client: Client, query: str, tags: set[str]
) -> None:
    source = dataset(SeriesDate="20260102", SeriesTime="10", SeriesDescription="Axial")
    await client.store("/v2", [part10(source)])
    (found,) = (await client.get("/v2/" + query.format(study=source.StudyInstanceUID), JSON)).json()
    assert tags <= found.keys()
    assert found["0020000D"]["Value"] == [source.StudyInstanceUID]


async def test_what_belongs_to_the_series_is_told_of_a_study_by_v1_alone(client: Client) -> None:
    await client.store("/v2", [part10(dataset(Modality="CT"))])
    url = "studies?includefield=Modality"
    (found,) = (await client.get(f"/v1/{url}", JSON)).json()
    assert found["00080060"]["Value"] == ["CT"]
    (found,) = (await client.get(f"/v2/{url}", JSON)).json()
    assert "00080060" not in found
    assert found["00080061"]["Value"] == ["CT"]


async def test_results_tell_the_offset_of_their_times(client: Client) -> None:
    await client.store("/v2", [part10(dataset(TimezoneOffsetFromUTC="+0100"))])
    for version in ("v1", "v2"):
        for resource in ("studies", "series", "instances"):
            (found,) = (await client.get(f"/{version}/{resource}", JSON)).json()
            assert found["00080201"]["Value"] == ["+0100"]


async def test_v2_tells_availability_and_counts_at_each_level(client: Client) -> None:
    await client.store("/v2", [part10(dataset())])
    for resource, counts in (
        ("studies", {"00201206", "00201208"}),
        ("series", {"00201206", "00201208", "00201209"}),
        ("instances", {"00201206", "00201208", "00201209"}),
    ):
        (found,) = (await client.get(f"/v2/{resource}", JSON)).json()
        assert found["00080056"]["Value"] == ["ONLINE"]
        assert {tag: found[tag]["Value"] for tag in counts} == {tag: [1] for tag in counts}
