"""What searches find over HTTP, in both versions unless a test says otherwise."""

from typing import Any
from urllib.parse import quote

import pytest
from pydicom import Dataset

from tests.archive import Client
from tests.builders import dataset, part10

JSON = "application/dicom+json"
BOTH = pytest.mark.parametrize("version", ["v1", "v2"])


async def found(client: Client, url: str) -> list[dict[str, Any]]:
    answer = await client.get(url, JSON)
    assert answer.status_code in {200, 204}, answer.text
    return answer.json() if answer.content else []


async def studies(client: Client, url: str) -> list[str]:
    return [one["0020000D"]["Value"][0] for one in await found(client, url)]


async def store(client: Client, *sources: Dataset) -> None:
    answer = await client.store("/v2", [part10(source) for source in sources])
    assert answer.status_code == 200, answer.text


async def test_v1_refuses_the_modality_of_a_study(client: Client) -> None:
    answer = await client.get("/v1/studies?Modality=CT", JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "Invalid query: AttributeId Modality is not queryable.  If the parameter is an attribute "
        "keyword, check the casing as they are case-sensitive."
    )


async def test_v2_takes_the_modality_of_a_study_for_one_of_its_modalities(client: Client) -> None:
    source = dataset(Modality="CT")
    await store(client, source, dataset(Modality="MR"))
    assert await studies(client, "/v2/studies?Modality=CT") == [source.StudyInstanceUID]


DEFAULTS = {
    "v1": (
        "00080005 00080020 00080030 00080050 00080056 00080090 00100010 00100020 00100030 "
        "00100040 0020000D 00200010"
    ),
    "v2": (
        "00080005 00080020 00080030 00080050 00080056 00080061 00080090 00081030 00081190 "
        "00100010 00100020 00100030 00100040 0020000D 00200010 00201206 00201208"
    ),
}


@BOTH
async def test_a_study_is_found_by_its_date_with_the_default_attributes(
    client: Client, version: str
) -> None:
    source = dataset(StudyDate="20190101")
    await store(client, source, dataset(StudyDate="20190102"))
    (study,) = await found(client, f"/{version}/studies?StudyDate=20190101")
    assert study["0020000D"]["Value"] == [source.StudyInstanceUID]
    assert sorted(study) == DEFAULTS[version].split()


@BOTH
async def test_a_study_is_found_by_its_modalities_which_are_all_returned(
    client: Client, version: str
) -> None:
    first = dataset(Modality="CT")
    uid = first.StudyInstanceUID
    others = [dataset(StudyInstanceUID=uid, Modality=modality) for modality in ("CT", "MR")]
    await store(client, first, *others)

    url = f"/{version}/studies?ModalitiesInStudy=CT"
    (study,) = await found(client, url)
    assert sorted(study["00080061"]["Value"]) == ["CT", "MR"]
    (study,) = await found(client, f"{url}&includefield=NumberOfStudyRelatedInstances")
    assert study["00201208"]["Value"] == [3]


@BOTH
async def test_accents_of_a_name_do_not_count(client: Client, version: str) -> None:
    source = dataset(PatientName="Hall^X^Tá")
    await store(client, source, dataset(PatientName="Hall^X^Tb"))
    url = f"/{version}/studies?PatientName=Hall^X^Ta"
    assert await studies(client, url) == [source.StudyInstanceUID]


@BOTH
async def test_series_are_found_by_modality_below_a_study_and_everywhere(
    client: Client, version: str
) -> None:
    first = dataset(Modality="CT")
    uid = first.StudyInstanceUID
    second = dataset(StudyInstanceUID=uid, Modality="MRI")
    await store(client, first, second)

    for resource in (f"studies/{uid}/series", "series"):
        (series,) = await found(client, f"/{version}/{resource}?Modality=MRI")
        assert series["0020000E"]["Value"] == [second.SeriesInstanceUID]
    both = await found(client, f"/{version}/studies/{uid}/series")
    assert [series["0020000D"]["Value"] for series in both] == [[uid], [uid]]


@BOTH
async def test_the_instances_of_a_series_are_counted_when_that_is_asked_for(
    client: Client, version: str
) -> None:
    first = dataset(Modality="CT")
    second = dataset(
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID
    )
    await store(client, first, second)
    url = f"/{version}/series?Modality=CT&includefield=NumberOfSeriesRelatedInstances"
    (series,) = await found(client, url)
    assert series["00201209"]["Value"] == [2]


@BOTH
async def test_instances_are_found_by_what_is_above_them_and_by_their_own(
    client: Client, version: str
) -> None:
    first = dataset(Modality="XRAY")
    uid = first.StudyInstanceUID
    second = dataset(StudyInstanceUID=uid, Modality="MRI")
    await store(client, first, second)

    for resource in (
        f"studies/{uid}/instances?Modality=XRAY",
        "instances?Modality=XRAY",
        f"studies/{uid}/series/{first.SeriesInstanceUID}/instances"
        f"?SOPInstanceUID={first.SOPInstanceUID}",
    ):
        (instance,) = await found(client, f"/{version}/{resource}")
        assert instance["00080018"]["Value"] == [first.SOPInstanceUID]


@BOTH
async def test_fuzzy_matching_finds_a_word_anywhere_in_a_name(client: Client, version: str) -> None:
    names = ("Jon^X^StoneHall", "Jonathan^X^Stone Hall^^", "Jon^X^Hill")
    sources = [dataset(PatientName=name) for name in names]
    doctor = dataset(PatientName="A^B", ReferringPhysicianName="dr^X^Stone Hall^^")
    await store(client, *sources, doctor)

    uids = await studies(client, f"/{version}/studies?PatientName=Stone&FuzzyMatching=true")
    assert set(uids) == {source.StudyInstanceUID for source in sources[:2]}
    url = f"/{version}/studies?ReferringPhysicianName=hall&FuzzyMatching=true"
    assert await studies(client, url) == [doctor.StudyInstanceUID]


@BOTH
async def test_the_viewer_of_the_reference_is_answered(client: Client, version: str) -> None:
    await store(client, dataset(StudyDate="20200101"))
    url = "studies?limit=25&offset=0&includefield=00081030,00080060&StudyDate=20190101-20210101"
    (study,) = await found(client, f"/{version}/{url}")
    assert study["00081030"]["Value"] == ["Chest"]


NAMES = {
    "latin": "Åberg^José",
    "cyrillic": "Иванов^Пётр",
    "cyrillic in other letters": "Петров^Иван",
    "greek": "Παπαδόπουλος^Γιώργος",
    "han": "Wang^XiaoDong=王^小东",
    "other han": "Zhang^XiaoDong=张^小东",
    "japanese": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "hangul": "Hong^Gildong=洪^吉洞=홍^길동",
    "arabic": "قباني^لنزار",
}


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_fuzzy_names_of_every_script_find_themselves_and_nothing_else(
    client: Client, version: str
) -> None:
    sources = {script: dataset(PatientName=name) for script, name in NAMES.items()}
    await store(client, *sources.values())
    uids = {source.StudyInstanceUID: script for script, source in sources.items()}

    async def scripts(name: str) -> set[str]:
        url = f"/{version}/studies?fuzzymatching=true&PatientName={quote(name)}"
        return {uids[uid] for uid in await studies(client, url)}

    assert await scripts("aberg jose") == {"latin"}
    assert await scripts("иван") == {"cyrillic", "cyrillic in other letters"}
    assert await scripts("петр иван") == {"cyrillic", "cyrillic in other letters"}
    assert await scripts("иванов петр") == {"cyrillic"}
    assert await scripts("παπαδοπουλος") == {"greek"}
    assert await scripts("王") == {"han"}
    assert await scripts("小东") == {"han", "other han"}
    assert await scripts("xiaodong zhang") == {"other han"}
    assert await scripts("山田") == {"japanese"}
    assert await scripts("やまだ") == {"japanese"}
    assert await scripts("やまた") == set()
    assert await scripts("홍") == {"hangul"}
    assert await scripts("قباني") == {"arabic"}
    assert await scripts("ivanov") == set()
    assert await scripts("papadopoulos") == set()


async def test_nested_keys_are_found_by_keyword_and_tag_in_any_item(client: Client) -> None:
    items = []
    for step, procedure in (("S1", "P1"), ("S2", "P2")):
        item = Dataset()
        item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
        items.append(item)
    source = dataset(RequestAttributesSequence=items)
    await store(client, source, dataset())

    for key in (
        "RequestAttributesSequence.ScheduledProcedureStepID=S2",
        "00400275.00400009=S1",
        "RequestAttributesSequence.00401001=P2",
        "00400275.RequestedProcedureID=P*&00400275.00400009=S2",
    ):
        for resource in ("series", "instances"):
            assert await studies(client, f"/v2/{resource}?{key}") == [source.StudyInstanceUID]
    mixed = "00400275.00400009=S1&00400275.00401001=P2"
    assert await found(client, f"/v2/series?{mixed}") == []
    (series,) = await found(client, "/v2/series?00400275.00400009=S1")
    assert len(series["00400275"]["Value"]) == 2


async def test_v2_matches_lists_and_empty_values_when_asked(client: Client) -> None:
    first = dataset(PatientID="A", AccessionNumber="")
    second = dataset(PatientID="B")
    third = dataset(PatientID="C", AccessionNumber=None)
    await store(client, first, second, third)

    url = "/v2/studies?multiplevaluematching=true&PatientID=A,B"
    assert set(await studies(client, url)) == {first.StudyInstanceUID, second.StudyInstanceUID}
    url = '/v2/studies?emptyvaluematching=true&AccessionNumber=""'
    assert set(await studies(client, url)) == {first.StudyInstanceUID, third.StudyInstanceUID}
    assert await found(client, '/v2/studies?AccessionNumber=""') == []
    assert len(await found(client, "/v2/studies?AccessionNumber=")) == 3


async def test_v2_matches_a_range_of_moments(client: Client) -> None:
    early = dataset(StudyDate="20260101", StudyTime="090000")
    late = dataset(StudyDate="20260102", StudyTime="080000")
    await store(client, early, late)
    url = "/v2/studies?StudyDate=20260101-20260102&StudyTime=1000-0900"
    assert await studies(client, url) == [late.StudyInstanceUID]


async def test_v2_finds_studies_of_any_modality_of_a_list_or_a_pattern(client: Client) -> None:
    sources = {modality: dataset(Modality=modality) for modality in ("CT", "MR", "US", "MG")}
    await store(client, *sources.values())
    for value, modalities in (
        ("CT,MR", {"CT", "MR"}),
        (quote("CT\\US"), {"CT", "US"}),
        ("M*", {"MR", "MG"}),
        ("?T", {"CT"}),
    ):
        uids = await studies(client, f"/v2/studies?ModalitiesInStudy={value}")
        assert set(uids) == {sources[modality].StudyInstanceUID for modality in modalities}


async def test_the_class_of_an_instance_never_fails_a_search_for_studies(client: Client) -> None:
    await store(client, dataset())
    answer = await client.get("/v2/studies?SOPClassUID=1.2&includefield=SOPClassUID,Modality", JSON)
    assert (answer.status_code, len(answer.json())) == (200, 1)
    assert "SOPClassUID cannot be matched here" in answer.headers["warning"]
