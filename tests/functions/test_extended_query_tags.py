"""Extended query tags over HTTP: added, re-indexed, searched by, and deleted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from httpx import Response
from pydicom.dataset import Dataset

from functions.orchestrations import DurableOrchestrations
from shared.dicom.searchable import tag_of
from shared.wiring import Services
from tests.archive import HOST, Client, open_archive
from tests.builders import dataset, multipart, part10, with_values
from tests.engine import running_engine
from tests.tagged_instances import value_rows

JSON = "application/dicom+json"
AGES = (b"foo", b"bar")
TAGS = "/v2/extendedquerytags"
AGE = {"path": "PatientAge", "vr": "AS", "level": "Instance"}


@pytest.fixture
async def engine(services: Services) -> AsyncIterator[DurableOrchestrations]:  # noqa: ARG001
    async with running_engine() as orchestrations:
        yield orchestrations


async def add(client: Client, *tags: dict[str, Any], root: str = "/v2") -> Response:
    headers = {"Content-Type": "application/json"}
    content = orjson.dumps(tags)
    return await client.send("POST", f"{root}/extendedquerytags", headers=headers, content=content)


async def patch(client: Client, path: str, status: str) -> Response:
    headers = {"Content-Type": "application/json"}
    content = orjson.dumps({"queryStatus": status})
    return await client.send("PATCH", f"{TAGS}/{path}", headers=headers, content=content)


async def ended(client: Client, started: Response) -> Any:
    """The operation that a request has started, once it has ended."""
    assert started.status_code == 202, started.text
    body = started.json()
    assert started.headers["location"] == body["href"]
    for _ in range(600):
        answer = await client.get(body["href"].removeprefix(HOST))
        if answer.status_code == 200:
            return answer.json()
        await asyncio.sleep(0.05)
    raise AssertionError("the operation does not end")


async def store(client: Client, *sources: Dataset, root: str = "/v2") -> None:
    answer = await client.store(root, [part10(source) for source in sources])
    assert answer.status_code == 200, answer.text


async def found(client: Client, resource: str, root: str = "/v2") -> list[str]:
    """The SOP instances, or else studies, that a search finds, oldest first."""
    answer = await client.get(f"{root}/{resource}", JSON)
    assert answer.status_code in (200, 204), answer.text
    tag = "00080018" if "instances" in resource else "0020000D"
    results = answer.json() if answer.status_code == 200 else []
    return [result[tag]["Value"][0] for result in reversed(results)]


@pytest.mark.usefixtures("engine")
async def test_what_is_there_is_found_by_new_tags(client: Client) -> None:
    first = dataset(PatientSex="F", NumberOfFilms="12")
    second = dataset(PatientSex="M", NumberOfFilms="03")
    await store(client, first, second)

    started = await add(
        client,
        {"path": "PatientSex", "vr": "CS", "level": "Study"},
        {"path": "NumberOfFilms", "level": "study"},
    )
    operation = await ended(client, started)

    assert (operation["status"], operation["percentComplete"]) == ("succeeded", 100)
    assert operation["type"] == "reindex"
    paths = [tag_of(keyword) for keyword in ("PatientSex", "NumberOfFilms")]
    assert [url.rpartition("/")[2] for url in operation["resources"]] == paths
    for path in ("PatientSex", "NumberOfFilms"):
        tag = (await client.get(f"{TAGS}/{path}")).json()
        assert (tag["status"], tag["queryStatus"]) == ("ready", "enabled")
        assert not tag.keys() & {"errors", "operation", "privateCreator"}
    assert await found(client, "instances?NumberOfFilms=0003") == [second.SOPInstanceUID]
    assert await found(client, "studies?PatientSex=f", "/v1") == [first.StudyInstanceUID]


@pytest.mark.usefixtures("engine")
async def test_a_new_tag_indexes_what_is_stored_from_then_on(client: Client) -> None:
    assert (await ended(client, await add(client, AGE)))["status"] == "succeeded"
    young, old = dataset(PatientAge="007Y"), dataset(PatientAge="070Y")
    await store(client, young, old)
    assert await found(client, "instances?PatientAge=070y") == [old.SOPInstanceUID]
    in_study = f"studies/{old.StudyInstanceUID}/instances?00101010=070Y"
    assert await found(client, in_study) == [old.SOPInstanceUID]
    # A tag of instances is none of studies.
    assert (await client.get("/v1/studies?00101010=070Y", JSON)).status_code == 400
    answer = await client.get("/v2/studies?00101010=070Y", JSON)
    assert "00101010 cannot be matched here and was ignored" in answer.headers["warning"]


@pytest.mark.usefixtures("engine")
async def test_what_cannot_be_indexed_is_told_and_disables_the_tag(client: Client) -> None:
    bad = [dataset(PatientAge="001Y"), dataset(PatientAge="002Y")]
    good, dropped = dataset(PatientAge="053Y"), part10(dataset(PatientAge="003Y"))
    files = [with_values(part10(one), PatientAge=age) for one, age in zip(bad, AGES, strict=True)]
    assert (await client.store("/v1", [*files, part10(good)])).status_code == 200
    dropped = with_values(dropped, PatientAge=b"baz")
    assert (await client.store("/v2", [dropped])).status_code == 202
    assert (await ended(client, await add(client, AGE)))["status"] == "succeeded"

    tag = (await client.get(f"{TAGS}/00101010")).json()
    assert (tag["queryStatus"], tag["errors"]["count"]) == ("disabled", 2)
    pages = [(await client.get(f"{TAGS}/PatientAge/errors?limit=1&offset={n}")) for n in range(3)]
    errors = [error for page in pages for error in page.json()]
    assert [error["sopInstanceUid"] for error in errors] == [one.SOPInstanceUID for one in bad]
    whole = await client.get(tag["errors"]["href"].removeprefix(HOST))
    assert whole.json() == errors
    assert {error["partitionName"] for error in errors} == {"Microsoft.Default"}
    assert "foo" not in whole.text

    for root in ("/v1", "/v2"):
        refused = await client.get(f"{root}/instances?PatientAge=053Y", JSON)
        assert refused.status_code == 400
        assert "disabled" in refused.json()["error"]["message"]
    assert (await patch(client, "PatientAge", "Enabled")).json()["queryStatus"] == "enabled"
    answer = await client.get("/v2/instances?PatientAge=053Y", JSON)
    assert answer.headers["erroneous-dicom-attributes"] == "PatientAge"
    assert [one["00080018"]["Value"][0] for one in answer.json()] == [good.SOPInstanceUID]

    deleted = await client.send("DELETE", f"/v2/studies/{bad[0].StudyInstanceUID}")
    assert deleted.status_code == 204
    assert (await client.get(f"{TAGS}/PatientAge")).json()["errors"]["count"] == 1


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ([], "array"),
        ([{"path": "00100040"}], "The field '[0].Level' in request body is invalid"),
        (
            [{"path": " ", "level": "Study"}],
            "The field '[0].Path' in request body is invalid: The Dicom Tag Property Path must be "
            "specified and must not be null, empty or whitespace",
        ),
        (
            [{"path": "00100040", "level": "Studys"}],
            "Expected value 'Studys' to be one of the following values: "
            "['Instance', 'Series', 'Study']",
        ),
        ([AGE, {**AGE, "path": "00101010"}], "more than once"),
        ([{"path": "StudyDescription", "level": "Study"}], "already supported"),
        ([{"path": "ProcedureCodeSequence", "level": "Study"}], "not supported"),
        ([{"path": "00081032.00080100", "level": "Study"}], "path of one attribute"),
        ([{**AGE, "vr": "CS"}], "not the one given"),
        ([{**AGE, "privateCreator": "ACME"}], "no private creator"),
        ([{"path": "00091001", "vr": "CS", "level": "Study"}], "private creator"),
        ([{"path": "00091001", "vr": "LO", "privateCreator": " ", "level": "Study"}], "be given"),
        ([{"path": "00091001", "privateCreator": "A", "level": "Study"}], "VR of the private"),
        ([{"path": "00090010", "vr": "LO", "privateCreator": "A", "level": "Study"}], "has none"),
        ([{"path": "00101011", "level": "Study"}], "unknown attribute"),
        ([{"path": "00204000", "vr": "LT", "level": "Study"}], "not supported"),
        ([{**AGE, "color": "red"}], "unknown"),
    ],
)
async def test_what_cannot_be_a_tag_is_refused(
    client: Client, tags: list[dict[str, Any]], sentence: str
) -> None:
    refused = await add(client, *tags)
    assert refused.status_code == 400
    assert sentence in refused.json()["error"]["message"]
    assert (await client.get(TAGS)).json() == []


@pytest.mark.usefixtures("engine")
async def test_a_decimal_string_can_be_a_tag_since_v2(
    client: Client,
) -> None:
    weight = {"path": "PatientWeight", "level": "Series"}
    assert (await add(client, weight, root="/v1")).status_code == 400
    light, heavy = dataset(PatientWeight="61.50"), dataset(PatientWeight="120")
    await store(client, light, heavy)
    await ended(client, await add(client, weight))
    assert await found(client, "series?PatientWeight=61.5") == [light.StudyInstanceUID]
    assert await found(client, "instances?PatientWeight=120.0") == [heavy.SOPInstanceUID]


async def test_while_tags_are_added_no_others_can_be(client: Client, services: Services) -> None:
    # No engine runs, so that it does not end.
    first = await add(client, AGE)
    assert first.status_code == 202
    tag = (await client.get(f"{TAGS}/PatientAge")).json()
    assert (tag["status"], tag["operation"]) == ("adding", first.json())
    second = await add(client, {"path": "PatientSex", "level": "Study"})
    assert second.status_code == 409
    assert second.headers["location"] == first.headers["location"]

    # What is not indexed yet is no key: v1 refuses it, v2 passes over it.
    assert (await client.get("/v1/instances?PatientAge=053Y", JSON)).status_code == 400
    answer = await client.get("/v2/instances?PatientAge=053Y", JSON)
    assert "PatientAge cannot be matched here and was ignored" in answer.headers["warning"]

    cancelled = await client.send("DELETE", f"/v2/operations/{first.json()['id']}")
    assert cancelled.status_code == 200
    async with running_engine():
        again = await ended(client, await add(client, AGE))
        assert again["status"] == "succeeded"
        assert (await add(client, AGE)).status_code == 409
    assert [tag.status.value for tag in await services.extended_query_tags.list(10, 0)] == ["ready"]


async def test_an_invalid_value_is_refused_by_v1_and_left_out_by_v2(client: Client) -> None:
    await add(client, {"path": "StageNumber", "level": "Series"})
    content = with_values(part10(dataset(StageNumber="1")), StageNumber=b"InvalidISValue")
    refused = await client.store("/v1", [content])
    assert refused.status_code == 409
    [item] = refused.json()["00081198"]["Value"]
    comment = item["00741048"]["Value"][0]["00000902"]["Value"][0]
    sentence = "failed validation for VR 'IS': Value cannot be parsed as a valid integer."
    assert comment == f"DICOM100: (0008,2122) - Dicom element 'StageNumber' {sentence}"
    assert "InvalidISValue" not in refused.text
    assert (await client.store("/v2", [content])).status_code == 202


@pytest.mark.usefixtures("engine")
async def test_a_private_tag_is_found_in_the_block_of_its_creator(
    client: Client,
) -> None:
    sources = []
    for creator, others in (("ACME", []), (" ACME ", ["OTHER"]), ("ELSE", [])):
        source = dataset()
        for other in others:
            source.private_block(0x0009, other, create=True).add_new(1, "LO", "no")
        source.private_block(0x0009, creator, create=True).add_new(1, "LO", "Blue Moon")
        sources.append(source)
    await store(client, sources[0])
    tag = {"path": "00091001", "vr": "LO", "privateCreator": " ACME  ", "level": "Series"}
    await ended(client, await add(client, tag))
    await store(client, *sources[1:])
    assert (await client.get(f"{TAGS}/00091001")).json()["privateCreator"] == "ACME"
    assert await found(client, "series?00091001=blue*") == [
        source.StudyInstanceUID for source in sources[:2]
    ]


@pytest.mark.usefixtures("engine")
async def test_a_deleted_tag_leaves_nothing_behind(
    client: Client,
    services: Services,
) -> None:
    await store(client, dataset(PatientSex="F", PatientAge="007Y"))
    name = {"path": "PerformingPhysicianName", "level": "Study"}
    await ended(client, await add(client, AGE, name))
    await store(client, dataset(PatientAge="008Y", PerformingPhysicianName="Roe^Jane"))
    for path in ("PatientAge", "PerformingPhysicianName"):
        assert (await client.send("DELETE", f"{TAGS}/{path}")).status_code == 204
        assert (await client.send("DELETE", f"{TAGS}/{path}")).status_code == 404
        assert (await client.get(f"{TAGS}/{path}")).status_code == 404
        assert (await client.get(f"{TAGS}/{path}/errors")).status_code == 404
        assert (await patch(client, path, "Enabled")).status_code == 404
    assert await value_rows(services) == []
    await store(client, dataset(PatientAge="009Y"))
    assert await value_rows(services) == []


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"queryStatus":"On"}', b"{", b'{"a":1}'])
async def test_a_tag_is_only_enabled_or_disabled(client: Client, content: bytes) -> None:
    await add(client, AGE)
    headers = {"Content-Type": "application/json"}
    answer = await client.send("PATCH", f"{TAGS}/PatientAge", headers=headers, content=content)
    assert answer.status_code == 400
    answer = await client.send("PATCH", f"{TAGS}/PatientAge", content=content)
    assert answer.status_code == 415


async def test_there_are_so_many_tags_and_no_more(tmp_path: Path) -> None:
    async with open_archive(tmp_path, MAX_EXTENDED_QUERY_TAGS="2"):
        client = Client()
        keywords = ["PatientSex", "PatientAge", "PatientWeight"]
        tags = [{"path": keyword, "level": "Study"} for keyword in keywords]
        assert (await add(client, *tags)).status_code == 409
        assert (await add(client, *tags[:2])).status_code == 202
        pages = [(await client.get(f"{TAGS}?limit=1&offset={n}")).json() for n in range(3)]
        assert [[tag["path"] for tag in page] for page in pages] == [["00100040"], ["00101010"], []]
        assert (await client.get(f"{TAGS}?limit=201")).status_code == 400
        assert (await client.get(f"{TAGS}/NoSuchKeyword")).status_code == 400


@pytest.mark.usefixtures("engine")
async def test_a_tag_indexes_each_partition_by_itself(
    client: Client,
) -> None:
    here, there = dataset(PatientAge="007Y"), dataset(PatientAge="007Y")
    await store(client, here, root="/v2/partitions/here")
    await store(client, there, root="/v2/partitions/there")
    await ended(client, await add(client, AGE))
    for name, source in (("here", here), ("there", there)):
        root = f"/v2/partitions/{name}"
        assert await found(client, "instances?PatientAge=007Y", root) == [source.SOPInstanceUID]


@pytest.mark.parametrize(
    ("keyword", "values", "queries"),
    [
        ("FrameOfReferenceUID", ["1.2.3", "1.2.4", "1.2.5"], {"1.2.3,1.2.5": [0, 2]}),
        ("BodyPartExamined", ["HEAD", "CHEST", "HAND"], {"h*": [0, 2], "CHEST": [1]}),
        ("InstitutionName", ["Ä Hospital", "B_Hospital", "C"], {"*hosp*": [0, 1], "b_*": [1]}),
        ("PatientBirthTime", ["101500", "1230", "18"], {"11-": [1, 2], "1230": [1]}),
        ("ContentDate", ["20260101", "20260201", "20260301"], {"20260115-20260301": [1, 2]}),
        ("AcquisitionDateTime", ["2026", "20260304101112.5", "202605"], {"2026-202604": [0, 1]}),
        ("AcquisitionNumber", [1, 2, 3], {"02": [1]}),
        ("Rows", [64, 128, 256], {"128": [1]}),
        ("SpacingBetweenSlices", [0.5, 1, 2], {"0.50": [0]}),
        ("TagAngleFirstAxis", [0.5, 1, 2], {"1": [1]}),
        ("OperatorsName", ["Müller^Anna", "Doe^John", "Mull^X"], {"muller^anna": [0]}),
    ],
)
@pytest.mark.usefixtures("engine")
async def test_values_match_by_the_rules_of_their_vr(
    client: Client,
    keyword: str,
    values: list[Any],
    queries: dict[str, list[int]],
) -> None:
    sources = [dataset(SpecificCharacterSet="ISO_IR 192", **{keyword: one}) for one in values]
    await store(client, sources[0])
    await ended(client, await add(client, {"path": keyword, "level": "Series"}))
    await store(client, *sources[1:])
    for query, numbers in queries.items():
        expected = [sources[number].StudyInstanceUID for number in numbers]
        for resource in ("series", "instances"):
            got = await found(client, f"{resource}?{keyword}={query}")
            by_instance = [sources[number].SOPInstanceUID for number in numbers]
            assert got == (by_instance if resource == "instances" else expected), (query, resource)


@pytest.mark.usefixtures("engine")
async def test_names_of_a_tag_match_fuzzily_and_empty_values_can_be_asked_for(
    client: Client,
) -> None:
    named, other, nameless = dataset(OperatorsName="Müller^Anna"), dataset(), dataset()
    other.OperatorsName = "Doe^John"
    await store(client, named, other, nameless)
    await ended(client, await add(client, {"path": "OperatorsName", "level": "Study"}))
    got = await found(client, "studies?OperatorsName=an%20mul&fuzzymatching=true")
    assert got == [named.StudyInstanceUID]
    got = await found(client, "studies?OperatorsName=%22%22&emptyvaluematching=true")
    assert got == [nameless.StudyInstanceUID]
    answer = await client.get("/v2/studies?OperatorsName=Doe^John", JSON)
    assert answer.json()[0]["00081070"]["Value"] == [{"Alphabetic": "Doe^John"}]


@pytest.mark.usefixtures("engine")
async def test_a_study_has_the_value_of_its_newest_instance_that_has_one(
    client: Client,
) -> None:
    first = dataset(PatientAge="001Y")
    rest = [
        dataset(StudyInstanceUID=first.StudyInstanceUID, PatientAge=age) for age in ("002Y", "003Y")
    ]
    await store(client, first)
    await ended(client, await add(client, {"path": "PatientAge", "level": "Study"}))
    await store(client, *rest)
    study = [first.StudyInstanceUID]

    async def ages() -> list[str]:
        asked = ("001Y", "002Y", "003Y", "004Y")
        return [age for age in asked if await found(client, f"studies?PatientAge={age}") == study]

    assert await ages() == ["003Y"]
    last = rest[-1]
    path = f"/v2/studies/{last.StudyInstanceUID}/series/{last.SeriesInstanceUID}"
    assert (await client.send("DELETE", path)).status_code == 204
    assert await ages() == ["002Y"]
    rest[0].PatientAge = "004Y"
    body, headers = multipart([part10(rest[0])])
    assert (await client.send("PUT", "/v2/studies", headers=headers, content=body)).is_success
    assert await ages() == ["004Y"]
    del rest[0].PatientAge
    body, headers = multipart([part10(rest[0])])
    assert (await client.send("PUT", "/v2/studies", headers=headers, content=body)).is_success
    assert await ages() == ["001Y"]
