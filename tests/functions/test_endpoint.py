import logging
from pathlib import Path

import orjson
import pytest
from azure_functions_runtime.http_v2 import http_coordinator
from azure_functions_runtime.version import VERSION
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement

from functions.endpoint import STATUS_OF_ERROR
from shared import errors, wiring
from shared.dicom.blob_names import dicom_blob
from shared.dicom.resource import parse_path
from shared.ports import DEFAULT_PARTITION_NAME
from shared.wiring import Services
from tests.archive import Client, code_of, open_archive
from tests.builders import dataset, image, part10

JSON = "application/dicom+json"
STORE = {"Content-Type": "application/dicom", "Accept": JSON}


ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.DicomWebError)
]


@pytest.mark.parametrize("kind", ERRORS)
async def test_every_error_has_its_status_and_the_one_body(
    client: Client, services: Services, kind: type[errors.DicomWebError]
) -> None:
    class Failing:
        async def search(self, *_: object, **__: object) -> None:
            raise kind("One sentence.")

    copy = {name: getattr(services, name) for name in services.__dataclass_fields__}
    wiring.use(Services(**{**copy, "search": Failing()}))

    answer = await client.get("/v2/studies")

    own = next((STATUS_OF_ERROR[k] for k in kind.__mro__ if k in STATUS_OF_ERROR), 500)
    assert answer.status_code == own
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (answer.headers.get("retry-after") is not None) == (own == 503)
    if own == 500:
        assert code_of(answer.content) == "InternalError"
        assert b"One sentence" not in answer.content
    else:
        assert orjson.loads(answer.content)["error"]["message"] == "One sentence."


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("content", [b"", b"not DICOM", b"\0" * 128 + b"DICM"])
async def test_bytes_that_are_not_dicom_are_reported_as_failed(
    client: Client, version: str, content: bytes
) -> None:
    answer = await client.send("POST", f"/{version}/studies", headers=STORE, content=content)

    assert answer.status_code == 409
    (item,) = answer.json()["00081198"]["Value"]
    assert item["00081197"]["Value"] == [0xA900]


@pytest.mark.parametrize("version", ["v99", "v3", "v2.1"])
async def test_a_version_that_is_not_served_is_refused_by_name(
    client: Client, version: str
) -> None:
    answer = await client.get(f"/{version}/studies", JSON)

    assert answer.status_code == 400
    assert code_of(answer.content) == "UnsupportedApiVersion"


async def test_what_is_no_version_is_not_found(client: Client) -> None:
    assert (await client.get("/vabc/studies", JSON)).status_code == 404


async def test_the_version_may_be_written_in_capitals(client: Client) -> None:
    assert (await client.get("/V2/studies", JSON)).status_code == 204


async def test_every_answer_tells_the_versions_that_are_served(client: Client) -> None:
    for path in ("/v2/studies", "/v9/studies", "/v2/studies/1.2", "/health/check"):
        answer = await client.get(path, JSON)
        assert answer.headers["api-supported-versions"] == "1.0-prerelease, 1, 2"


async def test_an_unexpected_error_is_answered_without_a_word_of_its_own(
    client: Client, services: Services
) -> None:
    copy = {name: getattr(services, name) for name in services.__dataclass_fields__}
    wiring.use(Services(**{**copy, "search": None}))

    answer = await client.get("/v2/studies")

    assert answer.status_code == 500
    assert code_of(answer.content) == "InternalError"
    assert b"NoneType" not in answer.content


async def test_a_host_header_cannot_end_the_urls_of_answers(client: Client) -> None:
    await client.store("/v2", [part10(dataset())])

    answer = await client.send("GET", "/v2/studies", headers={"Host": 'evil", "x": "y'})

    (found,) = answer.json()
    assert "evil" not in str(found)


async def test_an_unknown_partition_is_refused_on_reading_and_made_on_storing(
    client: Client,
) -> None:
    unknown = await client.get("/v2/partitions/new/studies", JSON)
    assert unknown.status_code == 400
    assert b"Specified PartitionName does not exist." in unknown.content

    stored = await client.store("/v2/partitions/new", [part10(dataset())])
    assert stored.status_code == 200

    found = await client.get("/v2/partitions/new/studies", JSON)
    assert len(found.json()) == 1
    assert (await client.get("/v2/studies", JSON)).status_code == 204


async def test_a_malformed_partition_name_is_refused(client: Client) -> None:
    for name in ("a%20b", "x" * 65, "a%22b"):
        answer = await client.store(f"/v2/partitions/{name}", [part10(dataset())])
        assert answer.status_code == 400
        code_of(answer.content)


async def test_the_default_partition_is_that_of_plain_routes(client: Client) -> None:
    await client.store("/v2", [part10(dataset())])
    found = await client.get(f"/v2/partitions/{DEFAULT_PARTITION_NAME}/studies", JSON)
    assert len(found.json()) == 1


async def test_urls_of_answers_hold_the_version_and_the_partition(client: Client) -> None:
    source = dataset()
    for root in ("/v1/partitions/p1", "/v2/partitions/p2", "/v2"):
        stored = await client.store(root, [part10(source)], source.StudyInstanceUID)
        study = f"http://archive.test{root}/studies/{source.StudyInstanceUID}"
        assert stored.json()["00081190"]["Value"] == [study]
        (item,) = stored.json()["00081199"]["Value"]
        instance = f"{study}/series/{source.SeriesInstanceUID}/instances/{source.SOPInstanceUID}"
        assert item["00081190"]["Value"] == [instance]


async def test_partitions_may_be_required(tmp_path: Path) -> None:
    async with open_archive(tmp_path, DATA_PARTITIONS="required"):
        client = Client()
        plain = await client.get("/v2/studies", JSON)
        assert plain.status_code == 400
        assert b"PartitionName value is missing in the route segment." in plain.content
        assert (await client.store("/v2/partitions/p", [part10(dataset())])).status_code == 200


async def test_partitions_may_be_off(tmp_path: Path) -> None:
    async with open_archive(tmp_path, DATA_PARTITIONS="off"):
        client = Client()
        named = await client.get("/v2/partitions/p/studies", JSON)
        assert named.status_code == 400
        assert b"Data partitions feature is disabled." in named.content
        assert (await client.store("/v2", [part10(dataset())])).status_code == 200


async def test_one_partition_shows_nothing_of_another(client: Client) -> None:
    source = image()
    await client.store("/v2/partitions/a", [part10(source)])
    await client.store("/v2/partitions/b", [part10(dataset())])
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)

    for suffix in (f"{path}", f"{path}/metadata", f"{path}/frames/1"):
        assert (await client.get(f"/v2/partitions/b/{suffix}")).status_code == 404
        assert (await client.get(f"/v2/partitions/a/{suffix}")).status_code == 200
    deleted = await client.send("DELETE", f"/v2/partitions/b/{path}")
    assert deleted.status_code == 404
    found = await client.get(f"/v2/partitions/b/instances?SOPInstanceUID={path.instance}")
    assert found.status_code == 204


async def test_head_answers_as_get_without_the_body(client: Client) -> None:
    source = image()
    await client.store("/v2", [part10(source)])
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)

    for resource in (f"/v2/{path}", f"/v2/{path}/metadata", f"/v2/{path}/frames/1", "/v2/studies"):
        headers = {
            "Accept": "application/dicom, application/octet-stream, application/json",
            # So that both have the same id.
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        }
        got = await client.send("GET", resource, headers=headers)
        head = await client.send("HEAD", resource, headers=headers)
        assert head.status_code == got.status_code == 200
        assert head.content == b""
        assert head.headers == got.headers
    missing = await client.send("HEAD", "/v2/studies/1.2")
    assert (missing.status_code, missing.content) == (404, b"")


@pytest.mark.parametrize(("frames", "is_streamed"), [(4, False), (12, True)])
async def test_only_an_answer_above_a_mebibyte_is_streamed(
    client: Client, *, frames: int, is_streamed: bool
) -> None:
    source = image(rows=256, columns=256, frames=frames)
    content = part10(source)
    await client.store("/v2", [content])

    answer = await client.get(f"/v2/studies/{source.StudyInstanceUID}")

    assert content in answer.content
    assert ("content-length" in answer.headers) is not is_streamed


async def test_a_missing_blob_is_an_error_and_not_a_broken_answer(
    client: Client, services: Services
) -> None:
    source = image()
    await client.store("/v2", [part10(source)])
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    partition = await services.partitions.resolve(None, create=False)
    stored = await services.index.find_instance(partition, path)
    assert stored is not None
    await services.blobs.delete([dicom_blob(stored.file.blob_id)])

    for resource in (f"/v2/{path}", f"/v2/studies/{path.study}", f"/v2/{path}/frames/1"):
        answer = await client.get(resource)
        assert answer.status_code == 500
        assert code_of(answer.content) == "InternalError"


async def test_no_log_and_no_error_tells_of_a_patient(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "Canary^Tweety"
    named = part10(dataset(PatientName=canary, PatientID="CANARY-1", StudyDescription="CANARY"))
    bad_source = dataset(PatientName=canary)
    bad_source.add(DataElement(0x00100020, "LO", "CANARY" * 20, validation_mode=IGNORE))
    bad_source.add(DataElement(0x00080020, "DA", "CANARY", validation_mode=IGNORE))
    bad = part10(bad_source)
    answers = [
        await client.store("/v1", [named]),
        await client.store("/v1", [named, bad, bad[:200], named[:-4]]),
        await client.store("/v2", [bad]),
        await client.get("/v1/studies?Modality=Canary&PatientName=Canary", JSON),
        await client.get("/v2/studies?limit=Canary&PatientID=CANARY-1", JSON),
        await client.get("/v2/studies/Canary", JSON),
        await client.get("/v2/partitions/Canary/studies", JSON),
    ]
    assert (await client.get("/v2/studies?PatientID=CANARY-1", JSON)).status_code == 200

    assert [a.status_code for a in answers[:2]] == [200, 409]
    for answer in answers:
        if answer.status_code != 200:
            assert b"canary" not in answer.content.lower()
    assert (
        "canary"
        not in "".join(
            f"{record.getMessage()}{record.exc_text}"
            for record in caplog.records
            if record.name.split(".")[0] in {"functions", "shared", "sqlalchemy", "root"}
        ).lower()
    )


async def test_the_worker_keeps_nothing_of_a_request_that_was_answered(client: Client) -> None:
    assert VERSION == "1.3.0"
    source = image()
    await client.store("/v2", [part10(source)])
    for path in ("/v2/studies", f"/v2/studies/{source.StudyInstanceUID}", "/health/check"):
        http_coordinator.set_http_request(path, object())
        http_coordinator.set_http_response(path, object())
        await http_coordinator.await_http_response_async(path)
        await client.send("GET", path, headers={"x-ms-invocation-id": path})
        assert path not in http_coordinator._context_references


async def test_a_request_that_names_another_one_does_not_end_it(client: Client) -> None:
    http_coordinator.set_http_request("other", object())
    await client.send("GET", "/v2/studies", headers={"x-ms-invocation-id": "other"})
    assert http_coordinator._context_references.pop("other") is not None
