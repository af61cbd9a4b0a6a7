"""Export, run by the real engine to a real folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from pydicom import dcmread

from functions.orchestrations import DurableOrchestrations
from shared.services import export_round
from shared.wiring import Services
from tests.archive import Client
from tests.builders import dataset, part10
from tests.engine import running_engine
from tests.functions.exports import (
    JSON,
    UNKNOWN,
    asked,
    ended,
    files,
    lines,
    of,
    open_exporting,
    out,
    start,
    store_of,
)


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_exporting(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
async def engine() -> AsyncIterator[DurableOrchestrations]:
    async with running_engine() as orchestrations:
        yield orchestrations


@pytest.mark.parametrize("root", ["/v1", "/v2"])
async def test_what_is_named_is_exported_and_what_is_unknown_is_logged(
    client: Client, services: Services, root: str
) -> None:
    study = [dataset() for _ in range(4)]
    for source in study[1:]:
        source.StudyInstanceUID = study[0].StudyInstanceUID
    series = [dataset(), dataset()]
    series[1].StudyInstanceUID = series[0].StudyInstanceUID
    series[1].SeriesInstanceUID = series[0].SeriesInstanceUID
    single = [dataset() for _ in range(3)]
    sources = [*study, *series, *single]
    await store_of(client, sources)
    unknown = {UNKNOWN, f"{of(series[0], 1)}/{UNKNOWN}", f"{of(single[0], 2)}/{UNKNOWN}"}

    named = [of(study[0], 1), of(series[0], 2), *map(of, single)]
    document = await ended(client, await start(client, asked(*named, *unknown), root))

    results = document["results"]
    assert document["status"] == ("succeeded" if root == "/v2" else "completed")
    assert results.keys() == {"errorHref", "exported", "skipped"}
    assert (results["exported"], results["skipped"]) == (9, 3)
    operation = document["operationId"]
    assert results["errorHref"] == f"a/b/{operation}/errors.log"
    folder = out(services) / "a" / "b" / operation
    found = files(folder)
    log = lines(found.pop("errors.log"))
    assert {line["identifier"] for line in log} == unknown
    assert all(line.keys() == {"timestamp", "identifier", "error"} for line in log)
    assert found == {f"results/{of(source)}.dcm": part10(source) for source in sources}


async def test_what_is_named_twice_is_exported_once(client: Client) -> None:
    source = dataset()
    await store_of(client, [source])
    named = [of(source, depth) for depth in (1, 2, 3, 3)]
    document = await ended(client, await start(client, asked(*named)))
    assert document["results"]["exported"] == 1
    assert document["results"]["skipped"] == 0


async def test_an_export_of_several_rounds_counts_exactly(
    client: Client,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_round, "BATCH", 3)
    sources = [dataset() for _ in range(40)]
    for source in sources[:30]:
        source.StudyInstanceUID = sources[0].StudyInstanceUID
    await store_of(client, sources)
    named = [of(sources[0], 1), *(of(source, 1) for source in sources[30:]), UNKNOWN]
    document = await ended(client, await start(client, asked(*named)))
    assert (document["results"]["exported"], document["results"]["skipped"]) == (40, 1)
    assert document["percentComplete"] == 100
    assert len(files(out(services))) == 41


async def test_a_round_that_is_noted_twice_is_counted_once(
    client: Client, services: Services
) -> None:
    source = dataset()
    await store_of(client, [source])
    async with running_engine({}, {}):  # Nobody works.
        operation = (await start(client, asked(of(source)))).json()["id"]
    rounds = services.export_rounds
    plan = await rounds.plan(operation)
    assert plan is not None
    copied = [await rounds.copy(operation, *span) for span in plan.batches]
    assert await rounds.note(operation, plan, copied) == 0
    assert await rounds.note(operation, plan, copied) == 0
    last = await rounds.plan(operation)
    assert last is not None
    assert not last.batches
    assert await rounds.note(operation, last, []) is None
    done = await services.operations.get(operation)
    assert done.results is not None
    assert done.results["exported"] == 1


async def test_a_search_is_a_source_in_v2(client: Client) -> None:
    wanted = [dataset(PatientID="W"), dataset(PatientID="W")]
    await store_of(client, [*wanted, dataset(PatientID="other")])
    settings = {"path": "studies", "parameters": {"PatientID": "W"}}
    query = {"source": {"type": "query", "settings": settings}}
    document = await ended(client, await start(client, asked(**query)))
    assert document["results"]["exported"] == 2
    assert (await start(client, asked(**query), "/v1")).status_code == 400


async def test_a_source_is_searched_by_extended_query_tags_too(client: Client) -> None:
    await store_of(client, [dataset(PatientWeight="70"), dataset(PatientWeight="80")])
    settings = {"path": "instances", "parameters": {"PatientWeight": "70"}}
    query = asked(source={"type": "query", "settings": settings})
    assert (await start(client, query)).status_code == 400
    tag = {"path": "PatientWeight", "vr": "DS", "level": "Study"}
    added = await client.send(
        "POST", "/v2/extendedquerytags", headers=JSON, content=orjson.dumps([tag])
    )
    assert (await ended(client, added))["status"] == "succeeded"
    document = await ended(client, await start(client, query))
    assert document["results"]["exported"] == 1
    disabled = await client.send(
        "PATCH",
        "/v2/extendedquerytags/PatientWeight",
        headers=JSON,
        content=orjson.dumps({"queryStatus": "Disabled"}),
    )
    assert disabled.status_code == 200
    assert (await start(client, query)).status_code == 400


async def test_nothing_is_exported_by_way_of_another_partition(
    client: Client, services: Services
) -> None:
    source = dataset()
    await store_of(client, [source], "/v2/partitions/theirs")
    await store_of(client, [dataset()], "/v2/partitions/ours")
    named = [of(source, depth) for depth in (1, 2, 3)]
    for root in ("/v2", "/v2/partitions/ours"):
        results = (await ended(client, await start(client, asked(*named), root)))["results"]
        assert results["exported"] == 0
        assert results["skipped"]
    assert not list(out(services).rglob("*.dcm"))
    search = {"source": {"type": "query", "settings": {"parameters": {}}}}
    document = await ended(client, await start(client, asked(**search), "/v2/partitions/theirs"))
    assert document["results"]["exported"] == 1


async def test_instances_are_de_identified_if_that_is_asked_for(
    client: Client, services: Services
) -> None:
    sources = [dataset(PatientName="Canary^Yellow", PatientID="CANARY") for _ in range(2)]
    sources[1].StudyInstanceUID = sources[0].StudyInstanceUID
    burned = dataset(BurnedInAnnotation="YES")
    await store_of(client, [*sources, burned])
    named = [of(sources[0], 1), of(burned)]
    document = await ended(client, await start(client, asked(*named, deidentification={})))
    assert (document["results"]["exported"], document["results"]["skipped"]) == (2, 1)
    found = files(out(services))
    [log] = [found.pop(name) for name in list(found) if name.endswith("errors.log")]
    assert of(burned).encode() not in log
    read = [dcmread(out(services) / name) for name in found]
    assert len({one.StudyInstanceUID for one in read}) == 1
    for name, one in zip(found, read, strict=True):
        assert name.endswith(f"results/{of(one)}.dcm")
        assert one.StudyInstanceUID != sources[0].StudyInstanceUID
    assert not any(b"anary" in content or b"CANARY" in content for content in found.values())
    assert await services.secrets.get(document["operationId"]) is None


async def test_what_a_de_identified_export_skips_is_logged_by_its_pseudonyms(
    client: Client, services: Services
) -> None:
    kept, burned = dataset(), dataset(BurnedInAnnotation="YES")
    burned.StudyInstanceUID = kept.StudyInstanceUID
    burned.SeriesInstanceUID = kept.SeriesInstanceUID
    await store_of(client, [kept, burned])
    body = asked(of(kept, 1), UNKNOWN, f"{UNKNOWN}/{UNKNOWN}.5", deidentification={})
    document = await ended(client, await start(client, body))
    assert (document["results"]["exported"], document["results"]["skipped"]) == (1, 3)
    folder = out(services) / "a" / "b" / document["operationId"]
    log = (folder / "errors.log").read_bytes()
    [exported] = [dcmread(file) for file in folder.rglob("*.dcm")]
    told = [line["identifier"].split("/") for line in lines(log)]
    [[study]] = [uids for uids in told if len(uids) == 1]
    [[same_study, series]] = [uids for uids in told if len(uids) == 2]
    [skipped] = [uids for uids in told if len(uids) == 3]
    assert study == same_study != series
    assert skipped[:2] == [exported.StudyInstanceUID, exported.SeriesInstanceUID]
    assert skipped[2] != exported.SOPInstanceUID
    known = {UNKNOWN, f"{UNKNOWN}.5", *of(kept).split("/"), *of(burned).split("/")}
    assert not known & {uid for uids in told for uid in uids}


async def test_what_is_skipped_is_logged_by_the_uids_that_are_retained(
    client: Client, services: Services
) -> None:
    burned = dataset(BurnedInAnnotation="YES")
    await store_of(client, [burned])
    body = asked(of(burned, 1), UNKNOWN, deidentification={"options": ["retainUids"]})
    document = await ended(client, await start(client, body))
    folder = out(services) / "a" / "b" / document["operationId"]
    log = lines((folder / "errors.log").read_bytes())
    assert {line["identifier"] for line in log} == {of(burned), UNKNOWN}


async def test_two_exports_have_different_pseudonyms_and_each_but_one(
    client: Client, services: Services
) -> None:
    sources = [dataset(PatientID="1") for _ in range(2)]
    sources[1].StudyInstanceUID = sources[0].StudyInstanceUID
    await store_of(client, sources)
    seen = []
    for _ in range(2):
        body = asked(of(sources[0], 1), deidentification={})
        document = await ended(client, await start(client, body))
        folder = out(services) / "a" / "b" / document["operationId"]
        read = [dcmread(file) for file in folder.rglob("*.dcm")]
        [names] = {(one.StudyInstanceUID, one.PatientID) for one in read}
        assert len({one.SOPInstanceUID for one in read}) == 2
        seen.append(names)
    assert not set(seen[0]) & {*seen[1], sources[0].StudyInstanceUID, "1"}


async def test_the_key_of_pseudonyms_goes_with_an_export_that_is_cancelled(
    client: Client, services: Services
) -> None:
    async with running_engine({}, {}):
        operation = (await start(client, asked(UNKNOWN, deidentification={}))).json()["id"]
        assert await services.secrets.get(operation) is not None
        cancelled = await client.send("DELETE", f"/v2/operations/{operation}")
        assert cancelled.status_code == 200
    assert await services.secrets.get(operation) is None
    assert await services.export_rounds.plan(operation) is None
