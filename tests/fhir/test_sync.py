"""The change feed is followed: nothing is lost or told twice, and nothing is in the way."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydicom.dataset import Dataset

from shared.adapters.fhir_server import HttpFhirServer
from shared.adapters.no_telemetry import NoTelemetry
from shared.ports import DEFAULT_PARTITION_NAME, StateValue
from shared.services.fhir_delivery import Delivered, Halt
from shared.services.fhir_sync import Window
from shared.telemetry import Fact, Measure
from tests.archive import Client, code_of, open_archive
from tests.builders import dataset
from tests.fhir.told_archive import ToldArchive, told_archive
from tests.fhir_proxy import Fault, running_fhir_proxy
from tests.fhir_server import FhirTestServer

pytestmark = pytest.mark.host


async def follow(archive: ToldArchive) -> list[Delivered]:
    """Do what the workflow does, until there is nothing to do or a reason to stop."""
    sync, done = archive.told.sync, []
    while window := await sync.next_window():
        lanes = (archive.told.delivery.deliver(lane, window.sequence) for lane in window.lanes)
        delivered = await asyncio.gather(*lanes)
        done.append(Delivered.total(delivered))
        if not await sync.advance(Window.of(window.to_json()), delivered):
            break
    return done


async def nobody() -> None:
    """Proves nothing to the FHIR server."""


async def behind(archive: ToldArchive) -> int:
    status = await archive.told.sync.status()
    return int(status["behind"])


def studies(count: int, instances: int = 1) -> list[Dataset]:
    return [
        dataset(StudyInstanceUID=f"1.2.{n}", SeriesInstanceUID=f"1.2.{n}.1", PatientID=f"P{n}")
        for n in range(1, count + 1)
        for _ in range(instances)
    ]


def twins(fhir: FhirTestServer, number: str) -> list[dict[str, Any]]:
    """Two patients of one identifier: which of them is meant cannot be told."""
    identifier = {"system": "urn:x-hospital:patient", "value": number}
    twin = {"resourceType": "Patient", "identifier": [identifier]}
    return [fhir.create(twin) for _ in range(2)]


async def test_many_changes_of_a_study_are_one_delivery(archive: ToldArchive) -> None:
    await archive.store(*studies(2, instances=20))
    assert await follow(archive) == [Delivered(written=2)]
    assert sorted(one["numberOfInstances"] for one in archive.fhir.all("ImagingStudy")) == [20, 20]
    assert await behind(archive) == 0
    assert await archive.told.sync.next_window() is None


async def test_who_was_told_of_which_study_is_on_record(
    archive: ToldArchive, caplog: pytest.LogCaptureFixture
) -> None:
    await archive.store(*studies(2))
    with caplog.at_level("INFO", logger="audit"):
        await follow(archive)
        await follow(archive)
    records = [orjson.loads(one.message) for one in caplog.records if one.name == "audit"]
    told = [(one["study"], one["outcome"]) for one in records if one["transaction"] == "fhir"]
    assert sorted(told) == [("1.2.1", "written"), ("1.2.2", "written")]


async def test_reading_the_whole_feed_again_makes_no_new_version(archive: ToldArchive) -> None:
    await archive.store(*studies(5, instances=3))
    await archive.delete("1.2.5")
    await follow(archive)
    before = archive.versions()
    await archive.services.state.delete("fhirsync", "sync", "changefeed")
    assert await follow(archive) == [Delivered(unchanged=5)]
    assert archive.versions() == before
    assert len(archive.fhir.all("ImagingStudy")) == 4


async def test_a_feed_that_begins_anew_is_followed_from_its_beginning(
    archive: ToldArchive,
) -> None:
    await archive.store(*studies(3))
    values: dict[str, StateValue] = {"sequence": 1000, "moved": "2026-01-01T00:00:00+00:00"}
    await archive.services.state.put("fhirsync", "sync", "changefeed", values)
    assert await follow(archive) == [Delivered(written=3)]
    assert await behind(archive) == 0


async def test_of_two_that_follow_one_moves_the_checkpoint(archive: ToldArchive) -> None:
    await archive.store(*studies(3))
    sync = archive.told.sync
    first, second = await sync.next_window(), await sync.next_window()
    assert first is not None
    assert second is not None
    done = [await archive.told.delivery.deliver(lane) for lane in first.lanes]
    assert await sync.advance(first, done)
    assert not await sync.advance(second, done)
    assert await behind(archive) == 0


async def test_an_outage_pauses_and_what_has_happened_meanwhile_is_told_afterwards(
    fhir: FhirTestServer,
) -> None:
    async with told_archive(fhir) as archive:
        reconciliation = archive.told.delivery.reconciliation
        away = HttpFhirServer("http://127.0.0.1:1/fhir/R4", nobody, "", trying_seconds=1)
        reconciliation.server = away
        await archive.store(*studies(2))
        [stopped] = await follow(archive)
        assert len(stopped.failed) == 2
        assert await behind(archive) == 2
        assert [one async for one in archive.services.state.list("fhirdeadletter", "study")] == []
        reconciliation.server = archive.told.server
        await archive.delete("1.2.2")
        await follow(archive)
        assert await behind(archive) == 0
        assert archive.study()["identifier"][0]["value"] == "urn:oid:1.2.1"


async def test_an_outage_in_the_middle_of_a_lane_ends_it_soon(archive: ToldArchive) -> None:
    reconciliation = archive.told.delivery.reconciliation
    reconciliation.server = HttpFhirServer("http://127.0.0.1:1/R4", nobody, "", trying_seconds=1)
    await archive.store(*studies(9))
    lane = [(DEFAULT_PARTITION_NAME, f"1.2.{number}") for number in range(1, 10)]

    delivered = await archive.told.delivery.deliver(lane)

    assert (delivered.halt, list(delivered.failed)) == (Halt.OUTAGE, lane[:2])


async def test_a_study_that_the_server_fails_at_does_not_stand_in_the_way_of_others(
    fhir: FhirTestServer,
) -> None:
    with running_fhir_proxy(fhir.url) as proxy:
        async with told_archive(fhir, url=proxy.url) as archive:
            archive.told.delivery.reconciliation.server = HttpFhirServer(
                proxy.url, nobody, "", trying_seconds=1
            )
            proxy.gate = lambda request: (
                Fault(status=500)
                if request.bundle_type == "transaction" and b"urn:oid:1.2.2" in request.content
                else None
            )
            await archive.store(*studies(1))
            await follow(archive)
            await archive.store(studies(2)[1])
            await follow(archive)
            assert await behind(archive) == 1  # It may be an outage.
            assert await archive.told.letters.count_open() == 0

            await archive.store(studies(3)[2])
            await follow(archive)

            assert await behind(archive) == 0
            [letter] = await archive.told.letters.list(10, 0)
            assert letter.study == "1.2.2"
            assert fhir.count("ImagingStudy") == 2


@pytest.mark.parametrize("damaged", [None, b"", b"rubbish"])
async def test_a_study_whose_metadata_are_missing_does_not_stand_in_the_way_of_others(
    archive: ToldArchive, damaged: bytes | None
) -> None:
    await archive.store(*studies(1))
    [metadata] = (archive.folder / "metadata").rglob("*.gz")
    if damaged is None:
        metadata.unlink()
    else:
        metadata.write_bytes(damaged)
    await archive.store(studies(2)[1])

    assert await follow(archive) == [Delivered(written=1, refused=1)]
    assert await behind(archive) == 0


async def test_what_was_put_aside_is_tried_again_beside_new_changes(archive: ToldArchive) -> None:
    twice = twins(archive.fhir, "P1")
    await archive.store(*studies(1))
    await follow(archive)
    [letter] = await archive.told.letters.list(10, 0)
    row = await archive.services.state.get("fhirdeadletter", "study", letter.id)
    assert row is not None
    due = {**row.values, "next_attempt": "2020-01-01T00:00:00+00:00"}
    await archive.services.state.put("fhirdeadletter", "study", letter.id, due)
    archive.fhir.update({**twice[0], "active": False})

    await archive.store(studies(2)[1])
    await follow(archive)

    assert await archive.told.letters.list(10, 0) == []
    assert archive.fhir.count("ImagingStudy") == 2


async def test_how_far_it_is_behind_is_measured_also_while_it_halts(archive: ToldArchive) -> None:
    class Meter(NoTelemetry):
        def measure(
            self,
            measure: Measure,
            amount: float,
            facts: Mapping[str, Fact] | None = None,  # noqa: ARG002
        ) -> None:
            measured[measure] = amount

    measured: dict[Measure, float] = {}
    sync = replace(archive.told.sync, telemetry=Meter())
    await archive.store(*studies(3))
    window = await sync.next_window()
    assert window is not None

    assert not await sync.advance(window, [Delivered(halt=Halt.ACCESS)])
    assert measured[Measure.FHIR_LAG] == 3


async def test_a_study_that_is_refused_does_not_stand_in_the_way_of_others(
    archive: ToldArchive,
) -> None:
    twins(archive.fhir, "P2")
    await archive.store(*studies(3))
    assert await follow(archive) == [Delivered(written=2, refused=1)]
    assert await behind(archive) == 0
    [letter] = (await archive.client.get("/v2/fhir/deadletters")).json()
    assert (letter["study"], letter["error"], letter["attempts"]) == (
        "1.2.2",
        "AmbiguousIdentity",
        1,
    )
    assert letter["firstSequence"] == letter["lastSequence"] == 3
    assert letter["lastSeen"] < letter["nextAttempt"]
    assert "P2" not in str(letter)


async def test_what_was_put_aside_is_tried_again_by_hand_ignored_or_healed_by_a_change(
    archive: ToldArchive,
) -> None:
    both = twins(archive.fhir, "P1")
    await archive.store(*studies(1))
    await follow(archive)
    [letter] = (await archive.client.get("/v2/fhir/deadletters")).json()
    address = f"/v2/fhir/deadletters/{letter['id']}"
    again = await archive.client.send("POST", f"{address}/$replay")
    assert again.json()["refused"] == 1
    assert (await archive.told.letters.get(letter["id"])).attempts == 2
    ignored = await archive.client.send("POST", f"{address}/$ignore")
    assert ignored.json()["state"] == "ignored"
    assert (await archive.told.sync.status())["openDeadLetters"] == 0
    archive.fhir.update({**both[0], "active": False})
    await archive.store(*studies(1))
    await follow(archive)
    assert archive.study()["subject"]["reference"] == f"Patient/{both[1]['id']}"
    assert (await archive.client.get("/v2/fhir/deadletters")).json() == []
    gone = await archive.client.send("POST", f"{address}/$replay")
    assert gone.status_code == 404
    assert code_of(gone.content) == "NotFound"


async def test_one_study_can_be_told_now(archive: ToldArchive) -> None:
    await archive.store(*studies(2))
    answer = await archive.client.send("POST", "/v2/fhir/studies/1.2.2/$resync")
    told = answer.json()
    assert told.pop("warnings")
    assert told == {"written": 1, "unchanged": 0, "refused": 0, "halt": None}
    assert archive.study()["identifier"][0]["value"] == "urn:oid:1.2.2"
    elsewhere = await archive.client.send(
        "POST", "/v2/partitions/Microsoft.Default/fhir/studies/1.2.9/$resync"
    )
    assert elsewhere.json()["unchanged"] == 1


async def test_nothing_is_offered_where_no_fhir_server_is_named(tmp_path: Path) -> None:
    async with open_archive(tmp_path):
        answer = await Client().get("/v2/fhir")
        assert answer.status_code == 501
        assert "FHIR_URL" in answer.text
