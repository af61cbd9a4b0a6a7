"""Queries made to hurt: each is refused, or answered with bounded work."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from time import perf_counter
from urllib.parse import quote

import pytest

from shared import wiring
from shared.settings import Settings
from tests.archive import Client, code_of, open_archive
from tests.builders import dataset, part10
from tests.contracts.index_data import new_instance, path

JSON = "application/dicom+json"

STORMS = {
    "asterisks in a row": "PatientName=" + "*" * 4000,
    "asterisks between letters": "PatientName=" + "a*" * 2000,
    "question marks": "PatientID=" + "?" * 4000,
    "thousands of words": "fuzzymatching=true&PatientName=" + "+".join(f"w{n}" for n in range(900)),
    "one endless word": "fuzzymatching=true&PatientName=" + "a" * 4000,
    "thousands of identifiers": "StudyInstanceUID=" + ",".join(f"1.{n}" for n in range(3000)),
    "thousands of codes": "ModalitiesInStudy=" + ",".join(f"M{n}" for n in range(900)),
    "all of many": "multiplevaluematching=true&ModalitiesInStudy=" + "A," * 400,
    "a huge offset": "offset=99999999999999999999",
    "the largest offset": f"offset={1 << 31}",
    "a huge limit": "limit=4294967295",
    "a negative limit": "limit=-1",
    "a deep path": ".".join(["00400275"] * 1000) + "=1",
    "a long name": "a" * 60_000 + "=1",
    "a long value": "PatientID=" + "1" * 60_000,
    "a thousand fields": "includefield=" + ",".join(["PatientID"] * 6000),
    "a thousand unknown fields": "includefield=" + ",".join(f"x{n}" for n in range(6000)),
    "a thousand parameters": "&".join(f"p{n}=1" for n in range(999)),
    "too many parameters": "&".join(f"p{n}=1" for n in range(2000)),
    "control characters": "PatientName=" + quote("\0\1\x1b[31m\r\nSet-Cookie: a=b"),
    "a control character in a name": quote("Patient\r\nName") + "=1",
    "broken UTF-8": "PatientName=%ff%fe%80",
    "a lone surrogate": "PatientName=%ed%a0%80",
    "endless digits": "StudyDate=" + "9" * 4000,
    "a number of many digits": "SeriesNumber=" + "9" * 4000,
    "digits of another script": "limit=" + quote("\u0661\u0660"),
    "no number at all": "InstanceNumber=nan",
}


@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS)
async def test_a_storm_is_refused_or_answered_at_once(client: Client, storm: str) -> None:
    await client.store("/v2", [part10(dataset())])
    for resource in ("v1/studies", "v1/instances", "v2/studies", "v2/instances"):
        begun = perf_counter()

        answer = await client.get(f"/{resource}?{storm}", JSON)

        assert perf_counter() - begun < 5
        assert answer.status_code in {200, 204, 400}
        if answer.status_code == 400:
            assert code_of(answer.content) == "InvalidQuery"
            assert len(answer.content) < 1000
        headers = "".join(answer.headers.values())
        assert len(headers) < 8192
        assert "set-cookie" not in answer.headers
        assert headers.isprintable()


INJECTIONS = [
    "' OR '1'='1",
    "x'; DROP TABLE study; --",
    '" OR ""="',
    "%' OR 1=1 --",
    "%",
    "_",
    "[a-z]",
    "!%",
    "\\%",
    "${jndi:ldap://x}",
    "{{7*7}}",
    ":partition_key",
    "?",
    "\ufffd",
]


@pytest.mark.parametrize("fuzzy", ["", "&fuzzymatching=true"])
async def test_sql_and_patterns_in_values_are_text(client: Client, fuzzy: str) -> None:
    await client.store("/v2", [part10(dataset(PatientID="P1"))])
    keywords = ("PatientID", "PatientName", "StudyDescription", "ModalitiesInStudy")
    for keyword, text in product(keywords, INJECTIONS):
        answer = await client.get(f"/v2/studies?{keyword}={quote(text)}{fuzzy}", JSON)
        # Without its wildcard nothing is left of a fuzzy name: that is any name.
        is_any = keyword == "PatientName" and fuzzy and text == "?"
        assert answer.status_code == (200 if is_any else 204), (keyword, text)
    assert len((await client.get("/v2/studies", JSON)).json()) == 1


@pytest.mark.parametrize(
    "name", ["1=1 OR PatientID", "study.attributes", "PatientID) --", "__class__", "00100020'"]
)
async def test_sql_in_names_is_an_unknown_name(client: Client, name: str) -> None:
    await client.store("/v2", [part10(dataset())])
    answer = await client.get(f"/v2/studies?{quote(name)}=1", JSON)
    assert (answer.status_code, len(answer.json())) == (200, 1)
    assert (await client.get(f"/v1/studies?{quote(name)}=1", JSON)).status_code == 400


async def test_a_search_that_takes_too_long_is_given_up_and_others_are_not(tmp_path: Path) -> None:
    async with open_archive(tmp_path) as services:
        client = Client()
        partition = await services.partitions.resolve(None, create=False)
        many = [
            new_instance(path(1, 1, number), study={"PatientName": "a" * 200})
            for number in range(1, 4000)
        ]
        await services.index.commit(partition, many)

        env = {"DATA_DIRECTORY": str(tmp_path), "ALLOW_UNAUTHENTICATED": "on"}
        at_once = replace(Settings.from_env(env), search_timeout_seconds=timedelta())
        impatient = wiring.build(at_once)
        wiring.use(impatient)
        storm = "SOPClassUID=1.2.840.10008.5.1.4.1.1.2&PatientName=*a*a*a*a*a*a*a*b*"
        answer = await client.get(f"/v2/instances?{storm}", JSON)
        await impatient.index.close()

        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "takes too long" in answer.json()["error"]["message"]
        wiring.use(services)
        url = f"/v2/instances?SOPInstanceUID={path(1, 1, 7).instance}"
        assert (await client.get(url, JSON)).status_code == 200
