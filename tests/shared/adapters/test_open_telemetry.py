import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.open_telemetry import (
    OpenTelemetry,
    application_insights_exporters,
    otlp_exporters,
)
from shared.adapters.traced import traced_blobs
from shared.errors import BlobNotFoundError
from shared.telemetry import Measure
from tests.archive import open_archive
from tests.telemetry_receiver import Received, receiving

ROOT = Path(__file__).parents[3]
CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"
SERVER, CLIENT = 2, 3


def _tell(telemetry: OpenTelemetry) -> None:
    trace = telemetry.trace("search_studies", CALLER)
    with trace.current(), telemetry.call("Index.search"):
        pass
    telemetry.measure(Measure.REQUESTS, 1, {"dicom.transaction": "search_studies"})
    telemetry.measure(Measure.REQUEST_DURATION, 0.02, {"dicom.transaction": "search_studies"})
    telemetry.measure(Measure.CHANGE_FEED_SEQUENCE, 7)
    trace.end({"http.request.method": "GET", "http.response.status_code": 503}, "StoreUnavailable")


def test_a_collector_receives_spans_with_their_parents_and_measures() -> None:
    with receiving() as received:
        telemetry = OpenTelemetry([otlp_exporters(received.address)])
        _tell(telemetry)
        telemetry.close()

    call, request = received.spans()
    assert (request.name, request.kind, request.is_error) == ("search_studies", SERVER, True)
    assert (request.trace_id, request.parent_id) == (CALLER_TRACE, CALLER_SPAN)
    assert request.facts == {
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "error.type": "StoreUnavailable",
    }
    assert (call.name, call.kind, call.is_error) == ("Index.search", CLIENT, False)
    assert (call.trace_id, call.parent_id) == (CALLER_TRACE, request.span_id)
    (count,) = received.points("dicom.requests")
    assert count.as_int == 1
    (duration,) = received.points("dicom.request.duration")
    assert (duration.count, duration.sum) == (1, 0.02)
    assert duration.explicit_bounds[0] == 0.005
    (sequence,) = received.points("dicom.change_feed.sequence")
    assert sequence.as_int == 7


def test_application_insights_receives_the_same() -> None:
    with receiving() as received:
        telemetry = OpenTelemetry([application_insights_exporters(received.connection_string)])
        _tell(telemetry)
        telemetry.close()

    kinds = {
        envelope["data"]["baseType"]: envelope["data"]["baseData"]
        for envelope in received.envelopes()
        if envelope["data"]["baseType"] != "MetricData"
    }
    assert kinds["RequestData"]["name"] == "search_studies"
    assert kinds["RequestData"]["responseCode"] == "503"
    assert kinds["RequestData"]["success"] is False
    assert kinds["RemoteDependencyData"]["name"] == "Index.search"
    metrics = {
        metric["name"]: metric["value"]
        for envelope in received.envelopes()
        if envelope["data"]["baseType"] == "MetricData"
        for metric in envelope["data"]["baseData"]["metrics"]
    }
    assert metrics["dicom.requests"] == 1
    assert metrics["dicom.change_feed.sequence"] == 7


def test_a_traceparent_that_is_none_begins_a_trace() -> None:
    with receiving() as received:
        telemetry = OpenTelemetry([otlp_exporters(received.address)])
        ids = [telemetry.trace("x", text).id for text in ("", "nonsense", f"00-{'0' * 32}-b-01")]
        telemetry.close()

    assert len(set(ids)) == 3
    assert all(len(id_) == 32 and int(id_, 16) for id_ in ids)


async def test_calls_of_a_store_are_spans_without_what_they_are_about(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(2_000_000)

    name = "dicom/canary"
    with receiving() as received:
        telemetry = OpenTelemetry([otlp_exporters(received.address)])
        async with open_archive(tmp_path) as services:
            blobs = traced_blobs(services.blobs, telemetry)
            await blobs.put_stream(name, chunks())
            async for _ in blobs.stream(name):
                break
            assert [blob.name async for blob in blobs.list("dicom/")] == [name]
            with pytest.raises(BlobNotFoundError):
                await blobs.get("dicom/other")
        telemetry.close()

    assert {(span.name, span.is_error) for span in received.spans()} == {
        ("BlobStore.put_stream", False),
        ("BlobStore.stream", False),
        ("BlobStore.list", False),
        ("BlobStore.get", True),
    }
    assert all(set(span.facts) <= {"error.type"} for span in received.spans())
    assert b"canary" not in b"".join(body for _, body in received.bodies)


def _told_to(received: Received) -> OpenTelemetry:
    return OpenTelemetry(
        [
            otlp_exporters(received.address),
            application_insights_exporters(received.connection_string),
        ]
    )


def test_a_collector_that_does_not_answer_keeps_nobody_waiting() -> None:
    with receiving(is_answering=False) as received:
        telemetry = _told_to(received)
        start = time.perf_counter()
        for _ in range(6000):
            telemetry.trace("x").end({})
        assert time.perf_counter() - start < 4
        processors: Any = telemetry._traces._active_span_processor._span_processors
        for processor in processors:
            assert len(processor._batch_processor._queue) <= 2048
        start = time.perf_counter()
        telemetry.close()
        assert time.perf_counter() - start < 5.5


_ENDS = """
import atexit, sys
from shared.adapters.open_telemetry import OpenTelemetry, otlp_exporters
telemetry = OpenTelemetry([otlp_exporters(sys.argv[1])])
atexit.register(telemetry.close)
telemetry.trace("last words").end({})
"""


def test_what_is_not_sent_yet_is_sent_when_the_process_ends() -> None:
    with receiving() as received:
        subprocess.run([sys.executable, "-c", _ENDS, received.address], cwd=ROOT, check=True)

    assert [span.name for span in received.spans()] == ["last words"]


_IMPORTED = """
import os, sys, tempfile
os.environ |= {"DATA_DIRECTORY": tempfile.mkdtemp(), "ALLOW_UNAUTHENTICATED": "on"}
import function_app
from shared import wiring
wiring.services()
sys.exit([name for name in sys.modules if "opentelemetry.sdk" in name] or 0)
"""


def test_nothing_of_it_is_loaded_where_nobody_receives_it() -> None:
    subprocess.run([sys.executable, "-c", _IMPORTED], cwd=ROOT, check=True)
