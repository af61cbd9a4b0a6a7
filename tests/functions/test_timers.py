"""Each timer of the cleanup, as the host fires it."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from functions import ingest, timers
from shared.dicom.blob_names import dicom_blob, new_blob_id, series_document_blob, tombstone_blob
from shared.services.ingest_results import IngestResult, IngestStatus
from shared.wiring import Services
from tests.archive import blobs_in, open_archive
from tests.engine import client_config, running_engine


async def fire(name: str, **inputs: Any) -> None:
    # Not those of the app, which can be asked for its functions but once.
    built: Any = [
        *timers.blueprint._function_builders,
        *ingest.blueprint("EventGrid")._function_builders,
    ]
    functions = [builder._function for builder in built]
    [function] = [one for one in functions if one.get_function_name() == name]
    await function.get_user_function()(None, **inputs)


def told(caplog: pytest.LogCaptureFixture, name: str) -> dict[str, Any]:
    """The audit record of a run."""
    lines = [record.message for record in caplog.records if record.name == "audit"]
    [found] = [one for one in map(orjson.loads, lines) if one["transaction"] == name]
    return dict(found)


@pytest.fixture(autouse=True)
def _audited(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "audit")


async def test_due_blobs_are_removed(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await services.blobs.put(name := series_document_blob(1, 2), b"x")
    await services.index.add_deleted_blobs([name], datetime.now(UTC))
    await fire("timer_remove_deleted_blobs")
    assert told(caplog, "timer_remove_deleted_blobs")["blobs"] == 1
    assert blobs_in(tmp_path) == []
    await fire("timer_remove_deleted_blobs")


async def test_orphans_are_removed(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await services.blobs.put(dicom_blob(new_blob_id(0)), b"x")
    await fire("timer_sweep_orphans")
    assert told(caplog, "timer_sweep_orphans")["blobs"] == 1
    assert blobs_in(tmp_path) == []


async def test_tombstones_of_what_is_gone_are_removed(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stone = {"until": datetime(2020, 1, 1, tzinfo=UTC), "blobIds": ["0" * 32]}
    await services.blobs.put(tombstone_blob(new_blob_id(0)), orjson.dumps(stone))
    await fire("timer_sweep_tombstones")
    assert told(caplog, "timer_sweep_tombstones")["blobs"] == 1
    assert blobs_in(tmp_path) == []


async def test_documents_that_were_never_recorded_are_removed(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await services.blobs.put(name := series_document_blob(1, 2), b"x")
    found = {"names": name, "found": datetime(2020, 1, 1, tzinfo=UTC).isoformat()}
    await services.state.put("maintenance", "sweeper", "documents", found)
    await fire("timer_sweep_series_documents")
    assert told(caplog, "timer_sweep_series_documents")["blobs"] == 1
    assert blobs_in(tmp_path) == []


async def test_results_of_the_inbox_are_forgotten_when_it_is_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_archive(tmp_path, INBOX_RESULT_SECONDS="3600") as services:
        for number, minutes in enumerate((50, 70)):
            result = IngestResult(
                id=str(number) * 32,
                partition_name="p",
                status=IngestStatus.STORED,
                at=datetime.now(UTC) - timedelta(minutes=minutes),
            )
            await services.ingest_results.put(result)
        await fire("timer_forget_ingest_results")
        assert told(caplog, "timer_forget_ingest_results")["results"] == 1
        assert (await services.ingest_results.find("0" * 32))[0] is not None
        assert await services.ingest_results.find("1" * 32) == (None, "")


async def test_operations_are_forgotten_when_it_is_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from shared.ports import OperationType

    async with (
        open_archive(tmp_path, OPERATION_HISTORY_SECONDS="0") as services,
        running_engine({}, {}) as engine,
    ):
        started = await services.operations.start(engine, OperationType.UPDATE, {})
        await services.operations.finish(started.id)
        await fire("timer_forget_operations", client=client_config())
        assert told(caplog, "timer_forget_operations")["operations"] == 1
        assert await services.operations.list(10, 0) == []
