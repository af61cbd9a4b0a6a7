from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.dicom.blob_names import new_blob_id
from shared.dicom.json_model import Document, strings, value
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.searchable import (
    INSTANCE_AVAILABILITY,
    MODALITIES_IN_STUDY,
    NUMBER_OF_SERIES_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_SERIES,
    tag_of,
)
from shared.dicom.uid import Uid
from shared.dicomweb.query import parse_query
from shared.ports import Index, Matches, Partition
from tests.contracts.index_data import new_instance, path, study_uid

NOW = datetime.now(UTC)


async def _search(
    index: Index,
    partition: Partition,
    level: Level = Level.STUDY,
    *,
    study: Uid | None = None,
    series: Uid | None = None,
    **parameters: object,
) -> Matches:
    pairs = [(name.replace("__", "."), str(text)) for name, text in parameters.items()]
    query = parse_query(pairs, level, version=2, study=study, series=series, max_limit=20_000)
    return await index.search(partition, query)


async def _studies(index: Index, partition: Partition, **parameters: object) -> list[Uid]:
    found = await _search(index, partition, **parameters)  # type: ignore[arg-type]
    return [match.path.study for match in found.results]


async def _store(index: Index, partition: Partition, *studies: dict[str, object]) -> None:
    """Studies 1, 2, … of one instance each, with these attributes."""
    await index.commit(
        partition,
        [new_instance(path(number), study=values) for number, values in enumerate(studies, 1)],
    )


async def test_a_search_without_conditions_gives_all_studies_newest_first(
    index: Index, partition: Partition
) -> None:
    await _store(index, partition, {}, {}, {})
    assert await _studies(index, partition) == [study_uid(3), study_uid(2), study_uid(1)]


async def test_a_study_keeps_its_place_when_it_grows(index: Index, partition: Partition) -> None:
    await _store(index, partition, {}, {})
    await index.commit(partition, [new_instance(path(1, 2, 1))])
    assert await _studies(index, partition) == [study_uid(2), study_uid(1)]


async def test_nothing_stored_gives_nothing(index: Index, partition: Partition) -> None:
    assert await _search(index, partition) == Matches([], 0)


@pytest.mark.parametrize("level", list(Level))
async def test_results_of_other_partitions_are_never_given(
    index: Index, partition: Partition, level: Level
) -> None:
    other = await index.create_partition("other")
    await index.commit(other, [new_instance()])
    assert await _search(index, partition, level) == Matches([], 0)
    found = await _search(
        index, partition, level, PatientName="doe", fuzzymatching=True, ModalitiesInStudy="CT"
    )
    assert found == Matches([], 0)


TEXT = [
    ("12345", "12345", True),
    ("AbC", "aBc", True),
    ("abc ", "abc", True),
    ("é", "e", False),
    ("abc", "ab", False),
    ("", "abc", False),
]


@pytest.mark.parametrize(("stored", "asked", "matches"), TEXT)
async def test_text_is_compared_without_case_and_padding(
    index: Index, partition: Partition, stored: str, asked: str, *, matches: bool
) -> None:
    await _store(index, partition, {"PatientID": stored})
    assert bool(await _studies(index, partition, PatientID=asked)) == matches


NAMES = [
    ("Müller^Jörg", "muller^jorg", True),
    ("Doe^John", "DOE^JOHN^^", True),
    ("Doe^John", "Doe", False),
    ("Иванов^Иван", "иванов^иван", True),
    ("Иванов^Иван", "ivanov^ivan", False),
]


@pytest.mark.parametrize(("stored", "asked", "matches"), NAMES)
async def test_names_are_compared_whole_without_case_and_accents(
    index: Index, partition: Partition, stored: str, asked: str, *, matches: bool
) -> None:
    await _store(index, partition, {"PatientName": stored})
    assert bool(await _studies(index, partition, PatientName=asked)) == matches


FUZZY = [
    ("Doe^John", "jo do", True),
    ("Doe^John", "joh", True),
    ("Doe^John", "DOE^JOHN", True),
    ("Doe^John", "ohn", False),
    ("Doe^John", "jo smi", False),
    ("Müller-Lüdenscheidt^Jörg", "lud", True),
    ("山田^太郎", "山", True),
    ("山田^太郎", "a", False),
    ("Doe\U0010ffff", "doe\U0010ffff", True),
]


@pytest.mark.parametrize(("stored", "asked", "matches"), FUZZY)
async def test_fuzzy_names_match_when_each_word_begins_a_word(
    index: Index, partition: Partition, stored: str, asked: str, *, matches: bool
) -> None:
    await _store(index, partition, {"PatientName": stored, "ReferringPhysicianName": "Zoe^Zed"})
    found = await _studies(index, partition, PatientName=asked, fuzzymatching=True)
    assert bool(found) == matches


async def test_fuzzy_matching_follows_a_name_that_changes(
    index: Index, partition: Partition
) -> None:
    await _store(index, partition, {"PatientName": "Doe^John"})
    renamed = new_instance(path(1, 1, 2), study={"PatientName": "Smith^John"})
    await index.commit(partition, [renamed])
    assert await _studies(index, partition, PatientName="doe", fuzzymatching=True) == []
    assert await _studies(index, partition, PatientName="smi jo", fuzzymatching=True)
    await index.delete(partition, path(1, 1, 2), NOW)
    assert await _studies(index, partition, PatientName="smi", fuzzymatching=True) == []
    assert await _studies(index, partition, PatientName="doe", fuzzymatching=True)


WILDCARDS = [
    ("abcdef", "abc*", True),
    ("abcdef", "*def", True),
    ("abcdef", "a?c*f", True),
    ("abcdef", "a?d*", False),
    ("abcdef", "abcde?", True),
    ("abcdef", "abcdef?", False),
    ("100%", "100%*", True),
    ("1000", "1?0%", False),
    ("a_b[c]!", "?_b[c]!", True),
    ("axb[c]!", "?_b[c]!", False),
    ("ABC", "?bc", True),
    ("abc", "a***c", True),
]


@pytest.mark.parametrize(("stored", "asked", "matches"), WILDCARDS)
async def test_wildcards_stand_for_any_text_and_any_character(
    index: Index, partition: Partition, stored: str, asked: str, *, matches: bool
) -> None:
    await _store(index, partition, {"StudyDescription": stored})
    assert bool(await _studies(index, partition, StudyDescription=asked)) == matches


RANGES = [
    ("20260101-20260131", [2, 1]),
    ("20260102-20260131", [2]),
    ("-20260101", [1]),
    ("20260131-", [3, 2]),
    ("20260131", [2]),
    ("20270101-", []),
]


@pytest.mark.parametrize(("asked", "expected"), RANGES)
async def test_a_range_of_dates_includes_both_ends(
    index: Index, partition: Partition, asked: str, expected: Sequence[int]
) -> None:
    await _store(
        index,
        partition,
        {"StudyDate": "20260101"},
        {"StudyDate": "20260131"},
        {"StudyDate": "2026.02.01"},
        {"StudyDate": "soon"},
        {"StudyDate": ""},
    )
    found = await _studies(index, partition, StudyDate=asked)
    assert found == [study_uid(number) for number in expected]


@pytest.mark.parametrize(
    ("stored", "asked", "matches"),
    [
        ("101530.5", "101530.500000", True),
        ("101530.5", "1015", True),
        ("10:15:30", "101530-11", True),
        ("101530", "-1015", True),
        ("101600", "-1015", False),
        ("10", "1000", True),
    ],
)
async def test_times_are_compared_by_what_they_cover(
    index: Index, partition: Partition, stored: str, asked: str, *, matches: bool
) -> None:
    await _store(index, partition, {"StudyTime": stored})
    assert bool(await _studies(index, partition, StudyTime=asked)) == matches


async def test_a_list_of_identifiers_matches_each(index: Index, partition: Partition) -> None:
    await _store(index, partition, {}, {}, {})
    asked = f"{study_uid(1)},{study_uid(3)},2.25.99"
    assert await _studies(index, partition, StudyInstanceUID=asked) == [study_uid(3), study_uid(1)]


async def test_all_conditions_must_hold(index: Index, partition: Partition) -> None:
    await _store(
        index,
        partition,
        {"PatientID": "1", "StudyDate": "20260101"},
        {"PatientID": "1", "StudyDate": "20260102"},
        {"PatientID": "2", "StudyDate": "20260101"},
    )
    found = await _studies(index, partition, PatientID="1", StudyDate="20260101")
    assert found == [study_uid(1)]


async def test_a_study_matches_by_the_modality_of_any_of_its_series(
    index: Index, partition: Partition
) -> None:
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), series={"Modality": "CT"}),
            new_instance(path(1, 2, 1), series={"Modality": "MR"}),
            new_instance(path(2, 1, 1), series={"Modality": "CT"}),
        ],
    )
    assert await _studies(index, partition, ModalitiesInStudy="mr") == [study_uid(1)]
    assert await _studies(index, partition, ModalitiesInStudy="C*") == [study_uid(2), study_uid(1)]
    assert await _studies(index, partition, ModalitiesInStudy="US") == []
    found = await _search(index, partition, Level.INSTANCE, ModalitiesInStudy="MR")
    assert [match.path for match in found.results] == [path(1, 2, 1), path(1, 1, 1)]


async def test_of_a_list_any_modality_of_a_study_matches_or_all_must(
    index: Index, partition: Partition
) -> None:
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), series={"Modality": "CT"}),
            new_instance(path(1, 2, 1), series={"Modality": "PT"}),
            new_instance(path(2, 1, 1), series={"Modality": "CT"}),
            new_instance(path(3, 1, 1), series={"Modality": "US"}),
        ],
    )
    any_of_them = await _studies(index, partition, ModalitiesInStudy="CT\\PT")
    assert any_of_them == [study_uid(2), study_uid(1)]
    all_of_them = await _studies(
        index, partition, ModalitiesInStudy="CT,PT", multiplevaluematching=True
    )
    assert all_of_them == [study_uid(1)]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientName", "Doe"), ("PatientID", "1"), ("StudyDate", "20260101"), ("StudyTime", "10")],
)
async def test_an_empty_value_matches_what_is_empty_or_absent(
    index: Index, partition: Partition, keyword: str, value: str
) -> None:
    await _store(index, partition, {keyword: value}, {keyword: ""}, {})
    found = await _studies(index, partition, emptyvaluematching=True, **{keyword: '""'})
    assert found == [study_uid(3), study_uid(2)]


async def test_a_study_without_any_modality_is_found_by_an_empty_one(
    index: Index, partition: Partition
) -> None:
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), series={"Modality": "CT"}),
            new_instance(path(1, 2, 1), series={}),
            new_instance(path(2, 1, 1), series={"Modality": ""}),
        ],
    )
    found = await _studies(index, partition, ModalitiesInStudy='""', emptyvaluematching=True)
    assert found == [study_uid(2)]


@pytest.mark.parametrize(
    ("dates", "times", "numbers"),
    [
        ("20260101-20260103", "18-07", [3, 2]),  # As one moment the end does come after the start.
        ("20260101-20260103", "06-2359", [5, 3, 2, 1]),
        ("20260102-", "0900-", [5, 4, 3]),  # A later day needs no time.
        ("-20260102", "-0900", [2, 1]),
        ("20260101-20260103", "1200", [3]),  # Of two forms: each by itself.
        ("20260102-", "-0900", [5, 2]),
    ],
)
async def test_ranges_of_date_and_time_are_one_range_of_moments(
    index: Index, partition: Partition, dates: str, times: str, numbers: list[int]
) -> None:
    await _store(
        index,
        partition,
        {"StudyDate": "20260101", "StudyTime": "073000"},
        {"StudyDate": "20260102", "StudyTime": "073000"},
        {"StudyDate": "20260102", "StudyTime": "120000"},
        {"StudyDate": "20260103"},
        {"StudyDate": "20260103", "StudyTime": "080000"},
    )
    found = await _studies(index, partition, StudyDate=dates, StudyTime=times)
    assert found == [study_uid(number) for number in numbers]


def _requests(*items: tuple[str, str]) -> dict[str, object]:
    return {
        "RequestAttributesSequence": [
            {"ScheduledProcedureStepID": step, "RequestedProcedureID": procedure}
            for step, procedure in items
        ]
    }


async def test_any_item_of_a_sequence_matches_but_one_must_match_in_all(
    index: Index, partition: Partition
) -> None:
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), series=_requests(("S1", "P1"), ("S2", "P2"))),
            new_instance(path(1, 2, 1), series=_requests(("S1", "P2"))),
            new_instance(path(1, 3, 1), series=_requests(("S3", ""))),
        ],
    )

    async def found(**keys: str) -> list[ResourcePath]:
        parameters = {f"RequestAttributesSequence__{key}": text for key, text in keys.items()}
        matches = await _search(index, partition, Level.SERIES, **parameters)  # type: ignore[arg-type]
        return [match.path for match in matches.results]

    assert await found(ScheduledProcedureStepID="s2") == [path(1, 1, None)]
    assert await found(RequestedProcedureID="P2") == [path(1, 2, None), path(1, 1, None)]
    both = {"ScheduledProcedureStepID": "S1", "RequestedProcedureID": "P2"}
    assert await found(**both) == [path(1, 2, None)]
    assert await found(ScheduledProcedureStepID="S?") == [
        path(1, 3, None),
        path(1, 2, None),
        path(1, 1, None),
    ]


async def test_items_follow_the_series_that_changes_or_goes(
    index: Index, partition: Partition
) -> None:
    async def found(step: str) -> list[ResourcePath]:
        key = {"RequestAttributesSequence__ScheduledProcedureStepID": step}
        matches = await _search(index, partition, Level.INSTANCE, **key)  # type: ignore[arg-type]
        return [match.path for match in matches.results]

    await index.commit(partition, [new_instance(path(1, 1, 1), series=_requests(("S1", "")))])
    await index.commit(partition, [new_instance(path(1, 1, 2), series=_requests(("S2", "")))])
    assert await found("S1") == []
    assert await found("S2") == [path(1, 1, 2), path(1, 1, 1)]
    await index.delete(partition, path(1, 1, 2), NOW)
    assert await found("S1") == [path(1, 1, 1)]
    await index.delete(partition, path(1, 1, None), NOW)
    assert await found("S1") == []


async def test_series_match_by_their_own_and_their_studys_attributes(
    index: Index, partition: Partition
) -> None:
    scheduled = {"RequestAttributesSequence": {"ScheduledProcedureStepID": "S1"}}
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), series={"Modality": "CT", "SeriesNumber": 3}),
            new_instance(path(1, 2, 1), series={"Modality": "MR", **scheduled}),
            new_instance(path(2, 1, 1), study={"PatientID": "2"}),
        ],
    )

    async def found(**parameters: object) -> list[ResourcePath]:
        matches = await _search(index, partition, Level.SERIES, **parameters)  # type: ignore[arg-type]
        return [match.path for match in matches.results]

    assert await found(Modality="CT") == [path(2, 1, None), path(1, 1, None)]
    assert await found(Modality="CT", PatientID="12345") == [path(1, 1, None)]
    assert await found(SeriesNumber="003") == [path(1, 1, None)]
    step = {"RequestAttributesSequence__ScheduledProcedureStepID": "s1"}
    assert await found(**step) == [path(1, 2, None)]
    assert await found(study=study_uid(1)) == [path(1, 2, None), path(1, 1, None)]
    assert await found(study=study_uid(1), Modality="CT") == [path(1, 1, None)]
    assert await found(SeriesInstanceUID=path(1, 2).series) == [path(1, 2, None)]
    assert await found(PatientName="jo", fuzzymatching=True, Modality="MR") == [path(1, 2, None)]


async def test_patterns_of_a_study_and_a_series_lead_to_their_instances(
    index: Index, partition: Partition
) -> None:
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), series={"SeriesDescription": "Axial thin"}),
            new_instance(path(1, 2, 1), series={"SeriesDescription": "Sagittal thin"}),
            new_instance(path(2, 1, 1), study={"PatientName": "Roe^Ann"}),
        ],
    )

    async def found(level: Level, **parameters: str) -> list[ResourcePath]:
        matches = await _search(index, partition, level, **parameters)  # type: ignore[arg-type]
        return [match.path for match in matches.results]

    assert await found(Level.INSTANCE, PatientName="*john") == [path(1, 2, 1), path(1, 1, 1)]
    assert await found(Level.SERIES, PatientName="*ann*") == [path(2, 1, None)]
    both = {"PatientName": "?oe*", "SeriesDescription": "*l thin"}
    assert await found(Level.INSTANCE, **both) == [path(1, 2, 1), path(1, 1, 1)]
    assert await found(Level.INSTANCE, **{**both, "SeriesDescription": "*sag*"}) == [path(1, 2, 1)]


async def test_instances_match_at_every_level(index: Index, partition: Partition) -> None:
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), instance={"InstanceNumber": 1}),
            new_instance(path(1, 1, 2), instance={"InstanceNumber": 2}),
            new_instance(path(1, 2, 1), instance={"InstanceNumber": 1}, series={"Modality": "MR"}),
            new_instance(path(2, 1, 1), study={"PatientID": "2"}),
        ],
    )

    async def found(**parameters: object) -> list[ResourcePath]:
        matches = await _search(index, partition, Level.INSTANCE, **parameters)  # type: ignore[arg-type]
        return [match.path for match in matches.results]

    assert await found() == [path(2, 1, 1), path(1, 2, 1), path(1, 1, 2), path(1, 1, 1)]
    assert await found(InstanceNumber=1) == [path(1, 2, 1), path(1, 1, 1)]
    assert await found(InstanceNumber=1, Modality="CT", PatientID="12345") == [path(1, 1, 1)]
    assert await found(SOPInstanceUID=path(1, 1, 2).instance) == [path(1, 1, 2)]
    assert len(await found(SOPClassUID="1.2.840.10008.5.1.4.1.1.2")) == 4
    assert await found(study=study_uid(1), Modality="MR") == [path(1, 2, 1)]
    series = path(1, 1).series
    assert await found(study=study_uid(1), series=series) == [path(1, 1, 2), path(1, 1, 1)]
    assert await found(study=study_uid(2), series=series) == []


async def test_pages_follow_each_other_and_tell_what_remains(
    index: Index, partition: Partition
) -> None:
    await _store(index, partition, *[{}] * 5)
    first = await _search(index, partition, limit=2)
    second = await _search(index, partition, limit=2, offset=2)
    third = await _search(index, partition, limit=2, offset=4)
    pages = [[match.path.study for match in page.results] for page in (first, second, third)]
    assert pages == [[study_uid(5), study_uid(4)], [study_uid(3), study_uid(2)], [study_uid(1)]]
    assert [page.remaining for page in (first, second, third)] == [3, 1, 0]
    assert await _search(index, partition, limit=2, offset=9) == Matches([], 0)


async def test_a_large_page_is_read_bit_by_bit(index: Index, partition: Partition) -> None:
    many = [new_instance(path(1, 1, number)) for number in range(1, 1203)]
    await index.commit(partition, many)

    page = await _search(index, partition, Level.INSTANCE, limit=1201, offset=1)
    assert (len(page.results), len(page.keys), page.remaining) == (1000, 201, 0)
    await index.delete(partition, path(1, 1, 3), NOW)
    rest = await index.matches(Level.INSTANCE, page.keys)

    found = [match.path for match in (*page.results, *rest)]
    assert found == [path(1, 1, number) for number in range(1201, 0, -1) if number != 3]


async def test_very_many_remaining_results_are_not_counted(
    index: Index, partition: Partition
) -> None:
    one = new_instance()
    for start in range(0, 10_001, 2000):
        batch = [
            replace(
                one,
                path=path(1, 1, start + number),
                file=replace(one.file, blob_id=new_blob_id()),
            )
            for number in range(2000)
        ]
        await index.commit(partition, batch)
    found = await _search(index, partition, Level.INSTANCE, limit=1)
    late = await _search(index, partition, Level.INSTANCE, limit=1, offset=11_000)
    assert (found.remaining, late.remaining) == (None, None)


def _computed(match_computed: Document) -> dict[str, object]:
    return {tag: item.get("Value") for tag, item in match_computed.items()}


async def test_computed_attributes_are_those_of_the_level_and_above(
    index: Index, partition: Partition
) -> None:
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 1), series={"Modality": "MR"}),
            new_instance(path(1, 1, 2), series={"Modality": "MR"}),
            new_instance(path(1, 2, 1), series={"Modality": "CT"}),
            new_instance(path(1, 3, 1), series={}),
        ],
    )
    [study] = (await _search(index, partition)).results
    of_study = {
        INSTANCE_AVAILABILITY: ["ONLINE"],
        MODALITIES_IN_STUDY: ["CT", "MR"],
        NUMBER_OF_STUDY_RELATED_SERIES: [3],
        NUMBER_OF_STUDY_RELATED_INSTANCES: [4],
    }
    assert _computed(study.computed) == of_study
    *_, oldest = (await _search(index, partition, Level.SERIES)).results
    of_series = {**of_study, NUMBER_OF_SERIES_RELATED_INSTANCES: [2]}
    assert _computed(oldest.computed) == of_series
    *_, first = (await _search(index, partition, Level.INSTANCE)).results
    assert _computed(first.computed) == of_series


async def test_modalities_and_counts_follow_a_deletion(index: Index, partition: Partition) -> None:
    paths = [path(1, 1, 1), path(1, 1, 2)]
    items = [new_instance(item, series={"Modality": "MR"}) for item in paths]
    await index.commit(partition, [*items, new_instance(path(1, 2, 1))])
    await index.delete(partition, path(1, 1, 2), NOW)
    await index.delete(partition, path(1, 2, None), NOW)
    [study] = (await _search(index, partition)).results
    assert _computed(study.computed) == {
        INSTANCE_AVAILABILITY: ["ONLINE"],
        MODALITIES_IN_STUDY: ["MR"],
        NUMBER_OF_STUDY_RELATED_SERIES: [1],
        NUMBER_OF_STUDY_RELATED_INSTANCES: [1],
    }


async def test_a_series_that_changes_its_modality_changes_that_of_the_study(
    index: Index, partition: Partition
) -> None:
    await index.commit(partition, [new_instance(path(1, 1, 1), series={"Modality": "CT"})])
    await index.commit(
        partition,
        [
            new_instance(path(1, 1, 2), series={"Modality": "MR"}),
            new_instance(path(1, 2, 1), series={"Modality": "US"}),
        ],
    )
    [study] = (await _search(index, partition)).results
    assert strings(study.computed, MODALITIES_IN_STUDY) == ("MR", "US")
    assert await _studies(index, partition, ModalitiesInStudy="CT") == []


async def test_attributes_of_all_levels_are_merged(index: Index, partition: Partition) -> None:
    await index.commit(partition, [new_instance(instance={"InstanceNumber": 7})])
    [match] = (await _search(index, partition, Level.INSTANCE)).results
    keywords = ("PatientID", "Modality", "InstanceNumber", "SOPInstanceUID")
    found = [value(match.attributes, tag_of(keyword)) for keyword in keywords]
    assert found == ["12345", "CT", 7, path().instance]


@pytest.mark.parametrize("level", list(Level))
async def test_the_newest_blob_below_a_result_is_named(
    index: Index, partition: Partition, level: Level
) -> None:
    items = [new_instance(path(1, 1, number)) for number in (1, 2)]
    await index.commit(partition, items)
    newest = (await _search(index, partition, level)).results[0]
    assert newest.newest_blob_id == items[1].file.blob_id


async def test_values_beyond_what_a_column_can_hold_do_no_harm(
    index: Index, partition: Partition
) -> None:
    await index.commit(
        partition,
        [
            new_instance(
                study={"PatientID": "x" * 5000, "PatientName": "y" * 5000},
                instance={"InstanceNumber": 2**64 - 1},
            )
        ],
    )
    assert await _studies(index, partition, PatientID="x" * 4000)
    assert await _studies(index, partition, PatientName="y" * 4000, fuzzymatching=True)
    found = await _search(index, partition, Level.INSTANCE, InstanceNumber=1)
    assert found.results == []


async def test_sql_in_a_value_is_text(index: Index, partition: Partition) -> None:
    hostile = "'; DROP TABLE study; --"
    await _store(index, partition, {"PatientID": hostile})
    assert await _studies(index, partition, PatientID=hostile) == [study_uid(1)]
