from collections.abc import Mapping

import pytest

from shared.dicom.searchable import SEARCH_ATTRIBUTES, SearchAttribute
from shared.dicomweb.condition import (
    CombinedRange,
    Condition,
    Empty,
    Exact,
    FuzzyName,
    OneOf,
    Range,
    Wildcard,
)
from shared.dicomweb.matching import Matching
from shared.errors import InvalidQueryError

BY_KEYWORD = {attribute.keyword: attribute for attribute in SEARCH_ATTRIBUTES}
V2 = Matching(2)
MULTIPLE = Matching(2, is_multiple=True)
EMPTY = Matching(2, is_empty=True)
FUZZY = Matching(2, is_fuzzy=True)


def conditions(rules: Matching, texts: Mapping[str, str]) -> list[Condition]:
    return list(rules.conditions({BY_KEYWORD[name]: text for name, text in texts.items()}))


def of(keyword: str) -> SearchAttribute:
    return BY_KEYWORD[keyword]


@pytest.mark.parametrize("text", ["CT\\MR", "CT,MR", " CT , MR ", "ct\\,mr"])
def test_a_list_of_codes_is_any_of_them(text: str) -> None:
    for keyword in ("ModalitiesInStudy", "Modality"):
        assert conditions(V2, {keyword: text}) == [OneOf(of(keyword), ("ct", "mr"))]


def test_a_comma_is_part_of_other_text_unless_lists_are_asked_for() -> None:
    texts = {"PatientID": "1,2", "StudyDescription": "Chest, PA"}
    assert conditions(V2, texts) == [
        Exact(of("PatientID"), "1,2"),
        Exact(of("StudyDescription"), "chest, pa"),
    ]
    assert conditions(MULTIPLE, {"PatientID": "1,2"}) == [OneOf(of("PatientID"), ("1", "2"))]


def test_a_backslash_parts_the_values_of_any_list() -> None:
    assert conditions(V2, {"PatientName": "Doe^Jane\\Roe"}) == [
        OneOf(of("PatientName"), ("doe^jane", "roe"))
    ]


def test_several_modalities_of_a_study_are_all_demanded_by_multiple_value_matching() -> None:
    assert conditions(MULTIPLE, {"ModalitiesInStudy": "CT\\PT"}) == [
        Exact(of("ModalitiesInStudy"), "ct"),
        Exact(of("ModalitiesInStudy"), "pt"),
    ]
    assert conditions(MULTIPLE, {"Modality": "CT\\PT"}) == [OneOf(of("Modality"), ("ct", "pt"))]


@pytest.mark.parametrize("rules", [V2, MULTIPLE])
def test_the_values_of_a_list_have_no_wildcards(rules: Matching) -> None:
    with pytest.raises(InvalidQueryError, match="wildcards"):
        conditions(rules, {"Modality": "C*,MR"})


def test_v1_knows_no_lists() -> None:
    assert conditions(Matching(1), {"Modality": "CT,MR\\US"}) == [
        Exact(of("Modality"), "ct,mr\\us")
    ]


@pytest.mark.parametrize("attribute", SEARCH_ATTRIBUTES, ids=lambda attribute: attribute.keyword)
def test_two_quotation_marks_match_an_empty_value_of_any_attribute(
    attribute: SearchAttribute,
) -> None:
    assert list(EMPTY.conditions({attribute: ' "" '})) == [Empty(attribute)]


def test_two_quotation_marks_are_text_unless_empty_values_are_asked_for() -> None:
    assert conditions(V2, {"PatientID": '""'}) == [Exact(of("PatientID"), '""')]
    with pytest.raises(InvalidQueryError):
        conditions(V2, {"StudyDate": '""'})


@pytest.mark.parametrize("text", ["", " ", "*", "**", " *** "])
def test_nothing_and_asterisks_match_everything(text: str) -> None:
    assert conditions(V2, {"PatientName": text, "StudyDate": text, "Modality": text}) == []


def test_ranges_of_a_date_and_its_time_are_one_of_moments() -> None:
    texts = {"StudyTime": "1000-0900", "PatientID": "1", "StudyDate": "20060705-20060707"}
    assert conditions(V2, texts) == [
        CombinedRange(
            of("StudyDate"),
            of("StudyTime"),
            ("20060705", "100000.000000"),
            ("20060707", "090059.999999"),
        ),
        Exact(of("PatientID"), "1"),
    ]


def test_an_open_end_stays_open_in_a_range_of_moments() -> None:
    keys = ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime")
    (found,) = conditions(V2, {keys[0]: "20060705-", keys[1]: "10-"})
    assert found == CombinedRange(of(keys[0]), of(keys[1]), ("20060705", "100000.000000"), None)
    (found,) = conditions(V2, {keys[0]: "-20060705", keys[1]: "-10"})
    assert found == CombinedRange(of(keys[0]), of(keys[1]), None, ("20060705", "105959.999999"))


@pytest.mark.parametrize(
    "texts",
    [
        {"StudyDate": "20060705-20060707", "StudyTime": "10-"},
        {"StudyDate": "20060705-", "StudyTime": "-10"},
        {"StudyDate": "20060705-20060707", "StudyTime": "10"},
    ],
)
def test_dates_and_times_of_different_forms_are_matched_each_by_itself(
    texts: dict[str, str],
) -> None:
    assert [type(found) for found in conditions(V2, texts)] == [Range, Range]


def test_v1_matches_dates_and_times_each_by_itself() -> None:
    texts = {"StudyDate": "20060705-20060707", "StudyTime": "09-10"}
    assert [type(found) for found in conditions(Matching(1), texts)] == [Range, Range]


@pytest.mark.parametrize(
    ("dates", "times"),
    [("20060707-20060705", "10-11"), ("20060705-20060705", "11-10"), ("-", "-")],
)
def test_a_range_of_moments_that_ends_before_it_begins_is_refused(dates: str, times: str) -> None:
    with pytest.raises(InvalidQueryError):
        conditions(V2, {"StudyDate": dates, "StudyTime": times})


def test_asterisks_in_a_row_are_one() -> None:
    assert conditions(V2, {"PatientID": "a****b***"}) == [Wildcard(of("PatientID"), "a*b*")]


@pytest.mark.parametrize(
    "texts",
    [
        {"PatientID": "*".join("abcdefghijklmnopqrs")},
        {"Modality": ",".join(["CT"] * 501)},
        dict.fromkeys(("Modality", "PatientSex", "StudyInstanceUID"), ",".join(["1"] * 400)),
    ],
)
def test_a_storm_of_wildcards_or_values_is_refused(texts: dict[str, str]) -> None:
    with pytest.raises(InvalidQueryError):
        conditions(V2, texts)


def test_more_modalities_than_a_study_has_are_not_all_demanded() -> None:
    with pytest.raises(InvalidQueryError):
        conditions(MULTIPLE, {"ModalitiesInStudy": "\\".join(f"M{n}" for n in range(17))})


def test_a_name_of_very_many_words_is_refused() -> None:
    words = [f"w{number}" for number in range(17)]
    with pytest.raises(InvalidQueryError):
        conditions(FUZZY, {"PatientName": " ".join(words)})
    assert conditions(FUZZY, {"PatientName": " ".join(words[:16])}) == [
        FuzzyName(of("PatientName"), tuple(words[:16]))
    ]
