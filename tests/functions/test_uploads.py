from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.errors import NotSupportedError
from shared.services.ingest_results import IngestResult, IngestStatus, result_id
from shared.wiring import Services
from tests.archive import HOST, Client, code_of, open_archive
from tests.builders import dataset, part10
from tests.shared.services.requests import path_of


async def _drop(services: Services, name: str, content: bytes) -> str:
    """Ingest a file, and give the id of its result."""
    file = services.settings.folder / "inbox" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    await services.ingestion.ingest(name)
    return result_id(name)


async def test_the_result_of_a_stored_file_says_where_it_is(
    client: Client, services: Services
) -> None:
    source = dataset()
    upload = await _drop(services, "p/x.dcm", part10(source))
    answer = await client.get(f"/v2/partitions/p/uploads/{upload}")
    told = answer.json()
    del told["at"]
    assert told == {
        "id": upload,
        "status": "stored",
        "studyInstanceUid": source.StudyInstanceUID,
        "seriesInstanceUid": source.SeriesInstanceUID,
        "sopInstanceUid": source.SOPInstanceUID,
        "retrieveUrl": f"{HOST}/v2/partitions/p/{path_of(source)}",
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_the_result_of_a_refused_file_says_why(client: Client, services: Services) -> None:
    upload = await _drop(services, "x.dcm", b"")
    told = (await client.get(f"/v2/uploads/{upload}")).json()
    assert (told["status"], told["reason"]) == ("failed", 0xA900)
    assert told["sentences"]
    assert "retrieveUrl" not in told


async def test_the_result_of_a_file_that_has_not_come_says_until_when_it_may(
    client: Client, services: Services
) -> None:
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    waiting = IngestResult(
        id="0" * 32,
        partition_name="Microsoft.Default",
        status=IngestStatus.WAITING,
        at=datetime.now(UTC),
        expires=expires,
    )
    await services.ingest_results.put(waiting)
    told = (await client.get(f"/v2/uploads/{'0' * 32}")).json()
    assert (told["status"], told["expires"]) == ("waiting", expires.isoformat())


async def test_a_result_is_told_in_its_own_partition_alone(
    client: Client, services: Services
) -> None:
    upload = await _drop(services, "p/x.dcm", part10(dataset()))
    await services.partitions.resolve("q", create=True)
    for root in ("/v2", "/v2/partitions/q"):
        answer = await client.get(f"{root}/uploads/{upload}")
        assert (answer.status_code, code_of(answer.content)) == (404, "NotFound")


@pytest.mark.parametrize("upload", ["0" * 32, "x", "0" * 33, "..%2F..", "%00", "A" * 32])
async def test_an_unknown_id_is_not_found(client: Client, upload: str) -> None:
    assert (await client.get(f"/v2/uploads/{upload}")).status_code == 404


async def test_v1_knows_of_no_uploads(client: Client) -> None:
    assert (await client.send("POST", "/v1/uploads")).status_code == 404
    assert (await client.get(f"/v1/uploads/{'0' * 32}")).status_code == 404


async def test_without_a_storage_account_no_upload_is_issued(
    client: Client, services: Services
) -> None:
    answer = await client.send("POST", "/v2/uploads")
    assert (answer.status_code, code_of(answer.content)) == (501, "NotSupported")
    partition = await services.partitions.resolve(None, create=False)
    with pytest.raises(NotSupportedError):
        await services.uploads.issue(partition)


async def test_where_partitions_are_required_an_upload_names_one(tmp_path: Path) -> None:
    async with open_archive(tmp_path, DATA_PARTITIONS="required"):
        assert (await Client().send("POST", "/v2/uploads")).status_code == 400
