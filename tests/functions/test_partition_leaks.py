"""Nothing of one partition is seen, told or changed by way of another, whatever the function."""

from datetime import UTC, datetime

import pytest
from pydicom.dataset import Dataset

from shared.services.ingest_results import IngestResult, IngestStatus, result_id
from shared.wiring import Services
from tests.archive import Client, http_functions
from tests.builders import image
from tests.functions.partition_walks import (
    BY_ID,
    DELETES,
    OF_ALL_PARTITIONS,
    READS,
    RESTORES,
    STORES,
    Place,
    delete,
    functions,
    read,
    read_all,
    restore,
    store,
    walks,
)

THEIRS = Place("v2", "theirs")
OURS = [None, "ours"]


def _image(of: Dataset | None = None, **keywords: str) -> Dataset:
    """An image whose bulk is given by reference; with `of`, one of the same UIDs."""
    source = image(rows=64, columns=64, frames=2, **keywords)
    if of is not None:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(source, keyword, getattr(of, keyword))
    return source


def _canary(of: Dataset | None = None) -> Dataset:
    """What others must not learn of."""
    source = _image(
        of,
        PatientName="Canary^Yellow",
        PatientID="CANARY",
        StudyDescription="Canary",
        Modality="MR",
    )
    source.PixelData = bytes(reversed(source.PixelData))
    return source


def test_every_function_is_walked() -> None:
    assert functions() == {*READS, *STORES, *DELETES, *RESTORES, *BY_ID, *OF_ALL_PARTITIONS}


def test_what_is_said_to_be_of_all_partitions_lies_below_none() -> None:
    registered = set(http_functions())
    assert not {f"{name}_in_partition" for name in OF_ALL_PARTITIONS} & registered


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_no_answer_depends_on_what_another_partition_has(
    client: Client, version: str
) -> None:
    twin, alien = _image(), _canary()
    neighbour = _image(StudyInstanceUID=alien.StudyInstanceUID)
    neighbour.SeriesInstanceUID = alien.SeriesInstanceUID
    places = [Place(version, ours) for ours in OURS]
    for ours in OURS:
        for source in (twin, neighbour):
            assert await store(client, Place("v2", ours), "store", source) == 200
    before = [await read_all(client, place, twin, alien) for place in places]

    for source in (_canary(twin), alien):
        assert await store(client, THEIRS, "store", source) == 200
    await read_all(client, Place(version, "theirs"), twin, alien)
    assert [await read_all(client, place, twin, alien) for place in places] == before
    for source in (twin, alien):
        assert (await delete(client, THEIRS, "delete_study", source)).status == 204
    assert [await read_all(client, place, twin, alien) for place in places] == before


async def test_every_walk_finds_what_is_there(client: Client) -> None:
    first, second, third, fourth = (
        _image(PatientName=f"Canary^{name}", PatientID="CANARY")
        for name in ("One", "Two", "Three", "Four")
    )
    second.StudyInstanceUID = third.StudyInstanceUID = first.StudyInstanceUID
    second.SeriesInstanceUID = first.SeriesInstanceUID
    for source in (first, second, third, fourth):
        assert await store(client, THEIRS, "store", source) == 200
    answers = await read_all(client, THEIRS, first)
    assert [key for key, answer in answers.items() if answer.status != 200] == []


@pytest.mark.parametrize("ours", OURS)
async def test_no_change_reaches_another_partition(client: Client, ours: str | None) -> None:
    place = Place("v2", ours)
    theirs = _canary()
    twin, changed = _image(theirs), _image(theirs, StudyDescription="Changed")
    assert await store(client, THEIRS, "store", theirs) == 200
    assert await store(client, place, "store", _image()) == 200
    before = await read_all(client, THEIRS, theirs)

    for function in DELETES:
        assert (await delete(client, place, function, twin)).status == 404
        assert await store(client, place, "store", twin) == 200
        assert (await delete(client, place, function, twin)).status == 204
        assert await read_all(client, THEIRS, theirs) == before, function
    for function in STORES:
        assert await store(client, place, function, twin) == 200
        status = await store(client, place, function, changed)
        assert status == (200 if "replace" in function else 409)
        assert await read_all(client, THEIRS, theirs) == before, function
        assert (await delete(client, place, "delete_study", twin)).status == 204


@pytest.mark.parametrize("ours", OURS)
async def test_what_one_partition_deleted_comes_back_in_it_alone(
    client: Client, ours: str | None
) -> None:
    place, theirs = Place("v2", ours), _canary()
    twin = _image(theirs)
    assert await store(client, THEIRS, "store", theirs) == 200
    assert await store(client, place, "store", twin) == 200
    before = await read_all(client, THEIRS, theirs)
    for function in RESTORES:
        assert (await delete(client, place, "delete_study", twin)).status == 204
        # Theirs is there, and nothing of it waits.
        assert (await restore(client, THEIRS, function, twin)).status == 409
        assert (await restore(client, place, function, twin)).status == 200
        assert await read_all(client, THEIRS, theirs) == before


@pytest.mark.parametrize("ours", OURS)
async def test_the_same_instance_in_two_partitions_is_two_instances(
    client: Client, ours: str | None
) -> None:
    place = Place("v2", ours)
    theirs = _canary()
    twin = _image(theirs)
    assert await store(client, THEIRS, "store", theirs) == 200
    assert await store(client, place, "store", twin) == 200
    mine, other = await read_all(client, place, twin), await read_all(client, THEIRS, twin)
    for key, answer in mine.items():
        assert b"anary" not in answer.body, key
        assert b"theirs" not in answer.body, key
        assert answer != other[key] or answer.status == 204, key
    assert sum(answer.status == 200 for answer in mine.values()) > 40


async def test_an_etag_of_one_partition_matches_nothing_in_another(client: Client) -> None:
    theirs = _canary()
    twin = _image(theirs)
    place = Place("v2", "ours")
    assert await store(client, THEIRS, "store", theirs) == 200
    assert await store(client, place, "store", twin) == 200
    unchanged = 0
    for function, walk in walks():
        etag = (await read(client, THEIRS, function, walk, theirs)).etag
        if etag is not None:
            again = await read(client, THEIRS, function, walk, theirs, If_None_Match=etag)
            unchanged += again.status == 304
            answer = await read(client, place, function, walk, twin, If_None_Match=etag)
            assert answer.status == 200, function
    assert unchanged >= 10


@pytest.mark.parametrize("ours", OURS)
async def test_what_another_partition_deleted_was_never_here(
    client: Client, ours: str | None
) -> None:
    place = Place("v2", ours)
    theirs = _canary()
    assert await store(client, place, "store", _image()) == 200
    assert await store(client, THEIRS, "store", theirs) == 200
    assert (await delete(client, THEIRS, "delete_study", theirs)).status == 204
    for function, walk in walks():
        if function.startswith("retrieve"):
            assert (await read(client, THEIRS, function, walk, theirs)).status == 410, function
            assert (await read(client, place, function, walk, theirs)).status == 404, function


async def test_an_upload_is_known_to_its_own_partition_alone(
    client: Client, services: Services
) -> None:
    theirs = IngestResult(
        id=result_id("theirs/one.dcm"),
        partition_name="theirs",
        status=IngestStatus.WAITING,
        at=datetime.now(UTC),
    )
    for place in (THEIRS, *(Place("v2", ours) for ours in OURS)):
        assert await store(client, place, "store", _image()) == 200
    await services.ingest_results.put(theirs)
    assert (await client.get(f"/v2/partitions/theirs/uploads/{theirs.id}")).status_code == 200
    for root in ("/v2", "/v2/partitions/ours"):
        known = await client.get(f"{root}/uploads/{theirs.id}")
        unknown = await client.get(f"{root}/uploads/{result_id('theirs/none.dcm')}")
        assert known.status_code == unknown.status_code == 404
        assert known.json()["error"]["message"] == unknown.json()["error"]["message"]
