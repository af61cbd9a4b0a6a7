import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from azure.storage.blob import BlobClient

from functions import ingest, timers
from shared import wiring
from shared.access import ALL_ACTIONS, CallerKind, DataAction, Principal
from shared.adapters.no_telemetry import NoTelemetry
from shared.dicom.resource import parse_path
from shared.runs import RunFailedError, observed_run
from shared.services import store
from shared.services.access import Access
from shared.wiring import Services
from tests.archive import Client, code_of, open_archive
from tests.builders import dataset, image, multipart, part10
from tests.telemetry_receiver import receiving

TRACE = "0af7651916cd43dd8448eb211c80319c"
CANARY = "Canary^Tweety"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def audit_records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [orjson.loads(r.getMessage()) for r in caplog.records if r.name == "audit"]


@pytest.fixture(autouse=True)
def _informed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_request_leaves_one_audit_record(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    source = image()
    content = part10(source)
    path = parse_path(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID)
    await client.store("/v2/partitions/p1", [content])
    answer = await client.get(f"/v2/partitions/p1/{path}?PatientName=Canary")

    stored, retrieved = audit_records(caplog)
    assert stored["transaction"] == "store_in_partition"
    assert stored["studies"] == [source.StudyInstanceUID]
    assert stored["received"] > len(content)
    assert datetime.fromisoformat(retrieved.pop("time")).utcoffset() is not None
    assert retrieved.pop("milliseconds") > 0
    assert retrieved == {
        "requestId": answer.headers["x-request-id"],
        "caller": "anonymous",
        "action": "read",
        "transaction": "retrieve_instance_in_partition",
        "partition": "p1",
        "study": path.study,
        "series": path.series,
        "instance": path.instance,
        "status": 200,
        "received": 0,
        "sent": len(answer.content),
    }


async def test_what_was_stored_before_a_request_proved_malformed_is_recorded(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BATCH_INSTANCES", 2)
    sources = [dataset() for _ in range(7)]
    body, headers = multipart([part10(source) for source in sources])
    answer = await client.send("POST", "/v2/studies", headers=headers, content=body[:-60])

    assert answer.status_code == 400
    found = (await client.get("/v2/studies")).json()
    (stored, _) = audit_records(caplog)
    assert stored["status"] == 400
    assert stored["studies"]
    assert {*stored["studies"]} == {one["0020000D"]["Value"][0] for one in found}


async def test_a_streamed_answer_is_told_when_it_has_ended(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    source = image(rows=256, columns=256, frames=40)
    await client.store("/v2", [part10(source)])
    answer = await client.get(f"/v2/studies/{source.StudyInstanceUID}")

    _, retrieved = audit_records(caplog)
    assert "content-length" not in answer.headers
    assert (retrieved["status"], retrieved["sent"]) == (200, len(answer.content))
    assert "error" not in retrieved


async def test_an_answer_that_is_cut_short_is_told_as_such(
    client: Client, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    source = image(rows=256, columns=256, frames=40)
    await client.store("/v2", [part10(source)])
    whole = services.blobs.stream

    async def failing(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for chunk in whole(*args, **kwargs):
            yield chunk
        raise KeyError(CANARY)

    blobs: Any = services.blobs
    blobs.stream = failing
    await client.get(f"/v2/studies/{source.StudyInstanceUID}")

    _, retrieved = audit_records(caplog)
    assert retrieved["error"] == "KeyError"
    assert "Canary" not in caplog.text


async def test_who_calls_is_told_by_ids(
    client: Client, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    class Tokens:
        async def principal(self, token: str) -> Principal | None:
            user = Principal(CallerKind.USER, "object-1", "client-1", ALL_ACTIONS)
            return user if token == "good-token" else None

        async def check(self) -> None:
            """The keys are known."""

    wiring.use(replace(services, access=Access(Tokens())))
    for token in ("good-token", "bad-token"):
        await client.get("/v2/studies", Authorization=f"Bearer {token}")

    permitted, refused = audit_records(caplog)
    assert (permitted["caller"], permitted["client"]) == ("object-1", "client-1")
    assert (refused["caller"], refused["status"]) == ("anonymous", 401)
    assert refused["error"] == "NotAuthenticated"
    assert "good-token" not in caplog.text
    assert "bad-token" not in caplog.text


async def test_what_is_no_identifier_is_not_in_the_record(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/v2/studies/Canary", "/v2/partitions/Canary/studies", "/v2/studies/1.2/series/C"):
        assert (await client.get(path)).status_code == 400

    assert "canary" not in caplog.text.lower()
    assert [record.get("study") for record in audit_records(caplog)] == [None, None, "1.2"]


async def test_the_id_of_a_request_is_that_of_its_callers_trace(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/v2/studies/x", traceparent=TRACEPARENT)

    assert answer.headers["x-request-id"] == TRACE
    assert answer.json()["error"]["requestId"] == TRACE
    assert audit_records(caplog)[0]["requestId"] == TRACE


@pytest.mark.parametrize("text", ["Canary", "00-" + "0" * 32 + "-b7ad6b7169203331-01", ""])
async def test_an_id_is_given_where_there_is_no_trace(client: Client, text: str) -> None:
    first, second = [await client.get("/v2/studies/x", traceparent=text) for _ in range(2)]

    assert code_of(first.content) == "InvalidUid"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert int(first.headers["x-request-id"], 16)


async def test_an_unexpected_error_is_logged_under_the_id_of_its_request(
    client: Client, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        async def search(self, *_: object, **__: object) -> None:
            raise KeyError(CANARY)

    search: Any = Failing()
    wiring.use(replace(services, search=search))
    answer = await client.get("/v2/studies", traceparent=TRACEPARENT)

    assert answer.status_code == 500
    assert f"a request failed: {TRACE}" in caplog.text
    assert "in search" in caplog.text
    assert "builtins.KeyError" in caplog.text
    assert "Canary" not in caplog.text


async def test_a_request_that_is_given_up_is_told_too(
    client: Client, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    class Endless:
        async def search(self, *_: object, **__: object) -> None:
            await asyncio.sleep(60)

    search: Any = Endless()
    wiring.use(replace(services, search=search))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.get("/v2/studies"), 0.2)

    (record,) = audit_records(caplog)
    assert (record["status"], record["error"]) == (499, "CancelledError")


async def test_checks_of_health_leave_no_audit_record(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get("/health/check")
    assert audit_records(caplog) == []


async def test_spans_and_measures_tell_of_requests_without_uids(tmp_path: Path) -> None:
    source = dataset(PatientName=CANARY)
    with receiving() as received:
        async with open_archive(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=received.address) as services:
            client = Client()
            await client.store("/v2", [part10(source)])
            await client.send(
                "GET", "/v2/studies?PatientName=Canary*", headers={"traceparent": TRACEPARENT}
            )
            await client.get("/v2/studies/canary")
            await asyncio.to_thread(services.telemetry.close)

    requests = {span.name: span for span in received.spans() if span.kind == 2}
    search, refused = requests["search_studies"], requests["retrieve_study"]
    facts = dict(search.facts)
    assert facts.pop("http.response.body.size") > 100
    assert facts == {
        "dicom.transaction": "search_studies",
        "dicom.version": 2,
        "http.request.method": "GET",
        "http.request.body.size": 0,
        "http.response.status_code": 200,
    }
    assert search.trace_id == TRACE
    assert refused.facts["error.type"] == "InvalidUid"
    calls = {span.name for span in received.spans() if span.parent_id == search.span_id}
    assert calls == {"Index.search"}
    by_transaction = {
        point.attributes[0].value.string_value: point for point in received.points("dicom.requests")
    }
    assert {name: point.as_int for name, point in by_transaction.items()} == {
        "store": 1,
        "search_studies": 1,
        "retrieve_study": 1,
    }
    assert received.points("dicom.stored.instances")[0].as_int == 1
    assert received.points("dicom.stored.bytes")[0].as_int == len(part10(source))
    sent = b"".join(body for _, body in received.bodies)
    assert b"anary" not in sent
    assert str(source.StudyInstanceUID).encode() not in sent


def test_a_run_is_told_if_it_did_something(caplog: pytest.LogCaptureFixture) -> None:
    for count in (0, 3):
        with observed_run(NoTelemetry(), "timer_x") as run:
            run.did(blobs=count)

    (record,) = audit_records(caplog)
    assert record["transaction"] == "timer_x"
    assert record["blobs"] == 3


def test_a_run_that_fails_tells_the_host_no_more_than_the_type(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(RunFailedError) as raised, observed_run(NoTelemetry(), "timer_x"):
        raise ValueError(CANARY)

    assert str(raised.value) == "ValueError"
    assert raised.value.__suppress_context__
    (record,) = audit_records(caplog)
    assert record["error"] == "ValueError"
    assert "Canary" not in caplog.text


async def test_the_clock_measures_the_change_feed_and_what_waits(tmp_path: Path) -> None:
    source = dataset()
    with receiving() as received:
        async with open_archive(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=received.address) as services:
            client = Client()
            await client.store("/v2", [part10(source)])
            await client.send("DELETE", f"/v2/studies/{source.StudyInstanceUID}")
            timer: Any = None
            await _function(timers.blueprint, "timer_number_changes")(timer)
            await _function(timers.blueprint, "timer_remove_deleted_blobs")(timer)
            await asyncio.to_thread(services.telemetry.close)

    levels = ("change_feed.sequence", "change_feed.backlog", "deleted_blobs.waiting")
    assert [received.points(f"dicom.{name}")[-1].as_int for name in levels] == [2, 2, 1]
    assert received.points("dicom.deleted_blobs.removed")[-1].as_int == 0


async def test_the_inbox_measures_how_long_files_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = dataset()
    inbox = tmp_path / wiring.INBOX
    inbox.mkdir()
    with receiving() as received:
        async with open_archive(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=received.address) as services:
            (inbox / "Canary.dcm").write_bytes(part10(source))
            await asyncio.sleep(0.3)
            with BlobClient("https://account.example", wiring.INBOX, "Canary.dcm") as file:
                await _function(ingest.blueprint("EventGrid"), "ingest")(file)
            await asyncio.to_thread(services.telemetry.close)

    (lag,) = received.points("dicom.ingest.lag")
    assert 0.3 <= lag.sum < 30
    (record,) = audit_records(caplog)
    assert (record["transaction"], record["status"]) == ("ingest", "stored")
    assert record["study"] == source.StudyInstanceUID
    assert "Canary" not in caplog.text
    assert b"Canary" not in b"".join(body for _, body in received.bodies)


def _function(blueprint: Any, name: str) -> Any:
    functions = [builder._function for builder in blueprint._function_builders]
    return next(f.get_user_function() for f in functions if f.get_function_name() == name)


def test_every_action_has_a_name_of_its_own() -> None:
    assert len({action.value for action in DataAction}) == len(DataAction)
