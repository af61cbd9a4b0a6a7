from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.resource import Level
from shared.dicom.searchable import (
    ALL_FIELDS,
    SEARCH_ATTRIBUTES,
    V1_DEFAULTS,
    V2_DEFAULTS,
    SearchAttribute,
    tag_of,
)
from shared.dicom.uid import Uid
from shared.dicomweb.condition import Condition, Exact, FuzzyName, OneOf, Range, Wildcard
from shared.dicomweb.query import SearchQuery, parse_query
from shared.errors import InvalidQueryError

STUDY, SERIES = Uid("1.2"), Uid("1.2.3")
UNDER_ALL: dict[str, Uid] = {}
UNDER_STUDY = {"study": STUDY}
UNDER_SERIES = {"study": STUDY, "series": SERIES}
V1 = [a for a in SEARCH_ATTRIBUTES if a.since_version == 1]

EXTRA = {
    vr: SearchAttribute(keyword, tag_of(keyword), vr, Level.STUDY)
    for vr, keyword in {
        "DT": "AcquisitionDateTime",
        "TM": "SeriesTime",
        "FD": "PatientSize",
        "US": "Rows",
        "PN": "OperatorsName",
    }.items()
}


def query(
    *pairs: tuple[str, str],
    level: Level = Level.STUDY,
    version: int = 1,
    max_limit: int = 200,
    under: dict[str, Uid] = UNDER_ALL,
    extra: Sequence[SearchAttribute] = (),
) -> SearchQuery:
    return parse_query(
        pairs,
        level,
        version=version,
        study=under.get("study"),
        series=under.get("series"),
        max_limit=max_limit,
        extra=extra,
    )


def attribute(keyword: str) -> SearchAttribute:
    return next(a for a in (*SEARCH_ATTRIBUTES, *EXTRA.values()) if a.keyword == keyword)


def condition(
    name: str, text: str, *more: tuple[str, str], version: int = 1, level: Level = Level.INSTANCE
) -> Condition:
    (only,) = query(
        (name, text), *more, version=version, level=level, extra=tuple(EXTRA.values())
    ).conditions
    return only


def value(name: str, text: str, *, version: int = 1) -> str | int | float:
    found = condition(name, text, version=version)
    assert isinstance(found, Exact)
    return found.value


def ends(name: str, text: str, *, version: int = 1) -> tuple[str | None, str | None]:
    found = condition(name, text, version=version)
    assert isinstance(found, Range)
    return found.low, found.high


# --- levels -------------------------------------------------------------------------------------

ROUTES = [
    (Level.STUDY, UNDER_ALL, {Level.STUDY}),
    (Level.SERIES, UNDER_ALL, {Level.STUDY, Level.SERIES}),
    (Level.INSTANCE, UNDER_ALL, {Level.STUDY, Level.SERIES, Level.INSTANCE}),
    (Level.SERIES, UNDER_STUDY, {Level.SERIES}),
    (Level.INSTANCE, UNDER_STUDY, {Level.SERIES, Level.INSTANCE}),
    (Level.INSTANCE, UNDER_SERIES, {Level.INSTANCE}),
]
ONE_OF_EACH_LEVEL = {
    Level.STUDY: "PatientID",
    Level.SERIES: "ManufacturerModelName",
    Level.INSTANCE: "SOPInstanceUID",
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("level", "under", "levels"), ROUTES)
def test_attributes_of_the_levels_of_a_resource_are_matched(
    level: Level, under: dict[str, Uid], levels: set[Level], version: int
) -> None:
    for one in levels:
        keyword = ONE_OF_EACH_LEVEL[one]
        found = query((keyword, "1"), level=level, under=under, version=version)
        assert found.conditions == (Exact(attribute(keyword), "1"),)


@pytest.mark.parametrize(("level", "under", "levels"), ROUTES)
def test_v1_refuses_attributes_of_other_levels(
    level: Level, under: dict[str, Uid], levels: set[Level]
) -> None:
    for other in set(Level) - levels:
        with pytest.raises(InvalidQueryError, match=r"is not queryable\.  If the parameter is"):
            query((ONE_OF_EACH_LEVEL[other], "1"), level=level, under=under)


@pytest.mark.parametrize(("level", "under", "levels"), ROUTES)
def test_v2_ignores_attributes_of_other_levels_with_a_warning(
    level: Level, under: dict[str, Uid], levels: set[Level]
) -> None:
    for other in set(Level) - levels:
        keyword = ONE_OF_EACH_LEVEL[other]
        found = query((keyword, "1"), level=level, under=under, version=2)
        assert found.conditions == ()
        (warning,) = found.warnings
        assert keyword in warning


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("keyword", "level", "under"),
    [
        ("StudyInstanceUID", Level.SERIES, UNDER_STUDY),
        ("0020000D", Level.INSTANCE, UNDER_STUDY),
        ("StudyInstanceUID", Level.INSTANCE, UNDER_SERIES),
        ("SeriesInstanceUID", Level.INSTANCE, UNDER_SERIES),
    ],
)
def test_another_identifier_than_that_of_the_path_is_refused(
    keyword: str, level: Level, under: dict[str, Uid], version: int
) -> None:
    for value in ("1.2.4", "1.2,1.2.3", ""):
        with pytest.raises(InvalidQueryError, match=keyword):
            query((keyword, value), level=level, under=under, version=version)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "0020000D", "SeriesInstanceUID"])
def test_the_identifier_of_the_path_may_be_given_again_in_v2(keyword: str) -> None:
    value = SERIES if keyword == "SeriesInstanceUID" else STUDY
    for pairs in [(keyword, value)], [(keyword, f" {value} "), (keyword, value)]:
        found = query(*pairs, level=Level.INSTANCE, under=UNDER_SERIES, version=2)
        assert found == query(level=Level.INSTANCE, under=UNDER_SERIES, version=2)
    with pytest.raises(InvalidQueryError, match=keyword):
        query((keyword, value), level=Level.INSTANCE, under=UNDER_SERIES)


def test_the_scope_of_a_search_is_that_of_the_path() -> None:
    found = query(level=Level.INSTANCE, under=UNDER_SERIES)
    assert (found.level, found.study, found.series) == (Level.INSTANCE, STUDY, SERIES)


def test_modality_is_no_attribute_of_a_study_in_v1() -> None:
    with pytest.raises(InvalidQueryError, match="AttributeId Modality is not queryable"):
        query(("Modality", "CT"))


def test_modality_of_a_study_is_one_of_its_modalities_in_v2() -> None:
    (found,) = query(("Modality", "CT"), version=2).conditions
    assert found == Exact(attribute("ModalitiesInStudy"), "ct")


def test_v2_takes_modality_and_modalities_in_study_together() -> None:
    found = query(("ModalitiesInStudy", "CT"), ("Modality", "MR"), version=2)
    assert found.conditions == (Exact(attribute("ModalitiesInStudy"), "ct"),)
    assert len(found.warnings) == 1


def test_the_class_of_an_instance_is_no_attribute_of_a_study_in_v2() -> None:
    found = query(("SOPClassUID", "1.2"), version=2)
    assert found.conditions == ()
    assert found.warnings == ("SOPClassUID cannot be matched here and was ignored",)


@pytest.mark.parametrize("name", ["emptyvaluematching", "multiplevaluematching"])
def test_v2_has_switches_for_how_it_matches(name: str) -> None:
    assert query((name.title(), "TRUE"), version=2).warnings == ()
    for text in ("", "1", "yes"):
        with pytest.raises(InvalidQueryError):
            query((name, text), version=2)
    with pytest.raises(InvalidQueryError):
        query((name, "true"), version=1)


# --- attributes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("searched", V1, ids=lambda a: a.keyword)
def test_every_attribute_is_found_by_keyword_and_by_tag(searched: SearchAttribute) -> None:
    text = "20260102" if searched.vr == "DA" else "1"
    for name in (searched.keyword, searched.tag, searched.tag.lower()):
        (found,) = query((name, text), level=Level.INSTANCE).conditions
        assert found.attribute == searched


@pytest.mark.parametrize(
    "name",
    [
        *(a.keyword for a in SEARCH_ATTRIBUTES if a.since_version == 2),
        "TimezoneOffsetFromUTC",
        "patientid",
        "PATIENTNAME",
        "NoSuchAttribute",
        "00100010.00100020",
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "accept",
        "",
        "0010,0010",
        "(00100010)",
    ],
)
def test_v1_refuses_every_other_name(name: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        query((name, "1"), level=Level.INSTANCE)
    assert caught.value.message.startswith(f"Invalid query: AttributeId {name} is not queryable.")


@pytest.mark.parametrize(
    "name", ["patientid", "NoSuchAttribute", "accept", "", "orderby", "x" * 999]
)
def test_v2_ignores_unknown_parameters(name: str) -> None:
    found = query((name, "1"), version=2)
    assert (found.conditions, found.warnings) == ((), ())


@pytest.mark.parametrize("name", ["TimezoneOffsetFromUTC", "00280010", "PatientID.PatientID"])
def test_v2_warns_of_known_attributes_that_are_not_matched(name: str) -> None:
    found = query((name, "1"), version=2, level=Level.INSTANCE)
    assert found.conditions == ()
    assert found.warnings == (f"{name} cannot be matched here and was ignored",)


@pytest.mark.parametrize(
    "name",
    [
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00400275.00400009",
        "00400275.ScheduledProcedureStepID",
    ],
)
def test_v2_matches_within_sequences(name: str) -> None:
    found = condition(name, "A", version=2)
    assert found == Exact(attribute("RequestAttributesSequence.ScheduledProcedureStepID"), "a")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "names", [("PatientID", "PatientID"), ("PatientID", "00100020"), ("00081070", "OperatorsName")]
)
def test_an_attribute_given_twice_is_refused(names: tuple[str, str], version: int) -> None:
    with pytest.raises(InvalidQueryError, match="more than once"):
        query(*((name, "1") for name in names), version=version, extra=[EXTRA["PN"]])


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_v1_refuses_an_empty_value(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="empty"):
        query(("PatientID", text))


@pytest.mark.parametrize("text", ["", " ", "*"])
@pytest.mark.parametrize("keyword", ["PatientID", "PatientName", "StudyDate", "StudyInstanceUID"])
def test_v2_takes_an_empty_value_for_any_and_returns_the_attribute(keyword: str, text: str) -> None:
    found = query((keyword, text), version=2)
    assert found.conditions == ()
    assert tag_of(keyword) in found.return_tags


def test_an_attribute_that_is_added_is_searched_by_keyword_and_tag() -> None:
    private = SearchAttribute("", "00091001", "LO", Level.SERIES)
    for name in ("00091001", "Rows", "00280010"):
        (found,) = query((name, "1"), level=Level.SERIES, extra=[private, EXTRA["US"]]).conditions
        assert found.attribute in (private, EXTRA["US"])


def test_v1_searches_what_only_v2_knows_once_it_is_added() -> None:
    added = SearchAttribute("SeriesDescription", "0008103E", "LO", Level.SERIES)
    for name in ("SeriesDescription", "0008103e"):
        (found,) = query((name, "1"), level=Level.SERIES, extra=[added]).conditions
        assert found.attribute is added


def test_an_error_repeats_what_was_sent_only_in_plain_characters_and_at_bounded_length() -> None:
    with pytest.raises(InvalidQueryError) as caught:
        query(("\r\nSet-Cookie: ä" + "x" * 5000, "1"))
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


# --- limit, offset, fuzzymatching, includefield --------------------------------------------------


def test_without_parameters_everything_is_asked_for_by_the_hundred() -> None:
    found = query()
    assert (found.conditions, found.limit, found.offset, found.warnings) == ((), 100, 0, ())


@pytest.mark.parametrize("text", ["1", "200", "007"])
def test_limit_is_a_number(text: str) -> None:
    assert query(("limit", text)).limit == int(text)


@pytest.mark.parametrize(
    "text", ["0", "201", "500", "-1", "x", "", "1.5", "+1", "1_0", "٣", "9" * 99]
)
def test_any_other_limit_is_refused_in_v1(text: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        query(("limit", text))
    assert caught.value.message == (
        "The query parameter 'Limit' is invalid. The field Limit must be between 1 and 200."
    )


def test_v2_gives_at_most_its_limit_where_more_is_asked_for() -> None:
    assert query(("limit", "9999"), version=2, max_limit=5000).limit == 5000
    assert query(("limit", "4999"), version=2, max_limit=5000).limit == 4999
    assert query(version=2, max_limit=5000).limit == 100


@pytest.mark.parametrize("text", ["0", "-1", "x", ""])
def test_v2_refuses_what_is_no_limit(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="'Limit' is invalid"):
        query(("limit", text), version=2)


@pytest.mark.parametrize("text", ["0", "1000000"])
def test_offset_is_a_number_from_0(text: str) -> None:
    assert query(("offset", text)).offset == int(text)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("text", ["-1", "x", "", "9999999999", "9" * 99])
def test_any_other_offset_is_refused(text: str, version: int) -> None:
    with pytest.raises(InvalidQueryError, match="'Offset' is invalid"):
        query(("offset", text), version=version)


@pytest.mark.parametrize("text", ["", "yes", "1", "tru"])
def test_fuzzymatching_is_true_or_false(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="'FuzzyMatching' is invalid"):
        query(("fuzzymatching", text))


def test_the_names_of_parameters_have_no_case() -> None:
    pairs = [("LIMIT", "7"), ("Offset", "3"), ("FuzzyMatching", "true"), ("IncludeField", "ALL")]
    found = query(*pairs, ("PatientName", "doe"))
    assert (found.limit, found.offset) == (7, 3)
    assert isinstance(found.conditions[0], FuzzyName)
    assert tag_of("PatientAge") in found.return_tags


def test_fields_are_included_by_keyword_and_tag_from_lists_and_repetitions() -> None:
    found = query(("includefield", "Rows, 0008103e ,SeriesDate"), ("includefield", "StudyID"))
    included = {tag_of("Rows"), "0008103E", tag_of("SeriesDate"), tag_of("StudyID")}
    assert included <= found.return_tags


def test_v2_leaves_out_what_belongs_to_the_levels_below() -> None:
    field = ("includefield", "Modality,Rows,ProtocolName,PatientName")
    of_studies = query(field, version=2, level=Level.STUDY).return_tags
    assert of_studies & {"00080060", "00280010", "00181030", "00100010"} == {"00181030", "00100010"}
    of_series = query(field, version=2, level=Level.SERIES).return_tags
    assert {"00080060", "00181030", "00100010"} <= of_series
    assert "00280010" not in of_series
    assert {"00080060", "00280010"} <= query(field, version=1).return_tags


@pytest.mark.parametrize("text", ["NoSuchField", "rows", "", "Rows,", "Rows,,StudyID", "0010"])
def test_v1_refuses_unknown_fields(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="unknown attribute"):
        query(("includefield", text))


def test_v2_ignores_unknown_fields_with_a_warning() -> None:
    found = query(("includefield", "PatientAge,NoSuchField,"), version=2)
    assert tag_of("PatientAge") in found.return_tags
    assert found.warnings == ("includefield NoSuchField is unknown and was ignored",)


def test_v2_includes_the_sequence_of_a_field_within_it() -> None:
    field = "AnatomicRegionSequence.CodeValue"
    found = query(("includefield", field), version=2)
    assert tag_of("AnatomicRegionSequence") in found.return_tags
    with pytest.raises(InvalidQueryError):
        query(("includefield", field))


@pytest.mark.parametrize("fields", [["all,Rows"], ["Rows,all"], ["all", "Rows"], ["Rows", "ALL"]])
def test_v1_refuses_all_fields_together_with_others(fields: list[str]) -> None:
    with pytest.raises(InvalidQueryError, match="'all' cannot be combined"):
        query(*(("includefield", text) for text in fields))


def test_v2_takes_all_fields_together_with_others() -> None:
    found = query(("includefield", "all,ProtocolName"), version=2)
    assert found.return_tags >= ALL_FIELDS[Level.STUDY] | {tag_of("ProtocolName")}


# --- what is returned ---------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "defaults"), [(1, V1_DEFAULTS), (2, V2_DEFAULTS)])
@pytest.mark.parametrize(("level", "under", "levels"), ROUTES)
def test_the_defaults_of_the_levels_and_the_identifiers_are_returned(
    level: Level,
    under: dict[str, Uid],
    levels: set[Level],
    version: int,
    defaults: dict[Level, frozenset[str]],
) -> None:
    identifiers = {tag_of("StudyInstanceUID")}
    if level > Level.STUDY:
        identifiers.add(tag_of("SeriesInstanceUID"))
    found = query(level=level, under=under, version=version)
    assert found.return_tags == identifiers.union(*(defaults[one] for one in levels))


@pytest.mark.parametrize(("level", "under", "levels"), ROUTES)
def test_all_fields_are_those_of_the_levels(
    level: Level, under: dict[str, Uid], levels: set[Level]
) -> None:
    found = query(("includefield", "all"), level=level, under=under)
    assert found.return_tags >= frozenset().union(*(ALL_FIELDS[one] for one in levels))
    assert tag_of("NumberOfStudyRelatedInstances") not in found.return_tags


def test_what_is_matched_is_returned() -> None:
    assert tag_of("ModalitiesInStudy") in query(("ModalitiesInStudy", "CT")).return_tags
    assert tag_of("ModalitiesInStudy") not in query().return_tags


def test_the_sequence_that_holds_what_is_matched_is_returned() -> None:
    found = query(("00400275.00400009", "1"), version=2, level=Level.INSTANCE)
    assert "00400275" in found.return_tags
    assert not any("." in tag for tag in found.return_tags)


# --- matching: text and names -------------------------------------------------------------------


def test_text_is_compared_without_case_and_padding() -> None:
    assert value("PatientID", " AbC ") == "abc"


def test_accents_count_in_text() -> None:
    assert value("StudyDescription", "Échographie") == "échographie"


def test_names_are_compared_without_case_accents_and_empty_components() -> None:
    assert value("PatientName", "Müller^JÖRG^^") == "muller^jorg"


@pytest.mark.parametrize("text", ["do*", "d?e", "*", "a,b", r"a\b"])
def test_v1_takes_every_character_as_it_is(text: str) -> None:
    assert value("PatientID", text) == text
    assert value("PatientName", text) == text
    assert value("StudyInstanceUID", text) == text


@pytest.mark.parametrize(
    ("keyword", "text", "pattern", "prefix"),
    [
        ("PatientID", "AB*", "ab*", "ab"),
        ("PatientName", "Mü?ler^*", "mu?ler^*", "mu"),
        ("AccessionNumber", "*7", "*7", ""),
        ("Modality", "C?", "c?", "c"),
        ("StudyDescription", "50%_*", "50%_*", "50%_"),
    ],
)
def test_v2_takes_wildcards(keyword: str, text: str, pattern: str, prefix: str) -> None:
    found = condition(keyword, text, version=2)
    assert found == Wildcard(attribute(keyword), pattern)
    assert isinstance(found, Wildcard)
    assert found.prefix == prefix


def test_v2_takes_text_without_wildcards_as_it_is() -> None:
    assert value("PatientID", "AB%_", version=2) == "ab%_"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("text", ["jo do", "Jo^Do", "JÖ=do", "jo, do.", " jo  do "])
def test_a_fuzzy_name_is_its_folded_words(text: str, version: int) -> None:
    found = condition("PatientName", text, ("fuzzymatching", "true"), version=version)
    assert found == FuzzyName(attribute("PatientName"), ("jo", "do"))


def test_scripts_stay_apart_in_fuzzy_names() -> None:
    found = condition("PatientName", "Иван 山田", ("fuzzymatching", "true"))
    assert found == FuzzyName(attribute("PatientName"), ("иван", "山田"))


def test_wildcards_add_nothing_to_a_fuzzy_name() -> None:
    found = condition("PatientName", "do* jo*", ("fuzzymatching", "true"), version=2)
    assert found == FuzzyName(attribute("PatientName"), ("do", "jo"))


def test_fuzzy_matching_holds_for_every_name_and_for_nothing_else() -> None:
    fuzzy = ("fuzzymatching", "true")
    assert isinstance(condition("ReferringPhysicianName", "a", fuzzy), FuzzyName)
    assert isinstance(condition("OperatorsName", "a", fuzzy), FuzzyName)
    assert isinstance(condition("PatientID", "a", fuzzy), Exact)


def test_fuzzy_matching_may_be_asked_for_after_the_name() -> None:
    (found,) = query(("PatientName", "a"), ("fuzzymatching", "true")).conditions
    assert isinstance(found, FuzzyName)


def test_fuzzymatching_false_changes_nothing() -> None:
    assert isinstance(condition("PatientName", "a", ("fuzzymatching", "false")), Exact)


def test_v1_refuses_a_quotation_mark_in_a_fuzzy_name() -> None:
    with pytest.raises(InvalidQueryError, match="quotation mark"):
        query(("PatientName", 'a"b'), ("fuzzymatching", "true"))
    assert value("PatientName", 'a"b') == 'a"b'


# --- matching: identifiers ----------------------------------------------------------------------


def test_the_padding_of_an_identifier_is_dropped() -> None:
    assert value("StudyInstanceUID", "1.2 \0") == "1.2"


@pytest.mark.parametrize("text", ["1.2,1.3", r"1.2\1.3", " 1.2 , 1.3,"])
def test_v2_takes_lists_of_identifiers(text: str) -> None:
    found = condition("StudyInstanceUID", text, version=2)
    assert found == OneOf(attribute("StudyInstanceUID"), ("1.2", "1.3"))


def test_v2_takes_a_list_of_one_identifier() -> None:
    assert value("SOPClassUID", "1.2,", version=2) == "1.2"


def test_v2_takes_a_list_of_nothing_for_any() -> None:
    assert query(("StudyInstanceUID", ", ,"), version=2).conditions == ()


def test_v2_takes_long_lists_of_identifiers_up_to_a_limit() -> None:
    uids = ["1." + "2" * 62] * 501
    found = condition("SOPInstanceUID", ",".join(uids[:500]), version=2)
    assert isinstance(found, OneOf)
    with pytest.raises(InvalidQueryError):
        condition("SOPInstanceUID", ",".join(uids), version=2)
    with pytest.raises(InvalidQueryError, match="500"):
        condition("SOPInstanceUID", "1," * 501, version=2)


# --- matching: dates, times and numbers ---------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260102-20260203", ("20260102", "20260203")),
        ("20260102-20260102", ("20260102", "20260102")),
        ("-20260203", (None, "20260203")),
        ("20260102-", ("20260102", None)),
        (" 20260102 - 20260203 ", ("20260102", "20260203")),
    ],
)
def test_a_range_of_dates_has_one_or_two_ends(
    text: str, expected: tuple[str | None, str | None], version: int
) -> None:
    for keyword in ("StudyDate", "PatientBirthDate", "PerformedProcedureStepStartDate"):
        assert ends(keyword, text, version=version) == expected


def test_a_date_is_one_day() -> None:
    assert value("StudyDate", "20240229") == "20240229"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "text", ["2026", "2026-01", "20260230", "20261301", "2026.01.02", "00000101", "x", "20260102x"]
)
def test_what_is_no_date_is_refused(text: str, version: int) -> None:
    with pytest.raises(InvalidQueryError):
        query(("StudyDate", text), version=version)


def test_the_refusal_of_a_date_says_how_to_write_it() -> None:
    with pytest.raises(InvalidQueryError) as caught:
        query(("StudyDate", "20201332"))
    assert caught.value.message == (
        "Invalid query: specified Date value '20201332' is invalid for attribute 'StudyDate'. "
        "Date should be valid and formatted as yyyyMMdd."
    )


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("StudyDate", "-"),
        ("StudyDate", "20260203-20260102"),
        ("StudyDate", "20260102-20260103-20260104"),
        ("StudyDate", "20260102-x"),
        ("SeriesTime", "-"),
        ("SeriesTime", "11-10"),
        ("AcquisitionDateTime", "-"),
        ("AcquisitionDateTime", "2027-2026"),
    ],
)
def test_a_range_without_ends_or_order_is_refused(keyword: str, text: str) -> None:
    with pytest.raises(InvalidQueryError):
        condition(keyword, text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("10", "100000.000000", "105959.999999"),
        ("1011", "101100.000000", "101159.999999"),
        ("101112", "101112.000000", "101112.999999"),
        ("101112.5", "101112.500000", "101112.599999"),
        ("10-11", "100000.000000", "115959.999999"),
        ("-1112", None, "111259.999999"),
        ("101112.25-", "101112.250000", None),
    ],
)
def test_a_time_covers_what_it_leaves_open(text: str, low: str | None, high: str | None) -> None:
    assert ends("SeriesTime", text) == (low, high)


def test_a_whole_time_is_one_moment() -> None:
    assert value("SeriesTime", "101112.123456") == "101112.123456"


@pytest.mark.parametrize(
    "text", ["1", "101", "24", "1060", "101161", "10:11", "101112.", "101112.1234567", "x"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="Time"):
        condition("SeriesTime", text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2024", "20240101000000.000000", "20241231235959.999999"),
        ("202402", "20240201000000.000000", "20240229235959.999999"),
        ("20240229", "20240229000000.000000", "20240229235959.999999"),
        ("2024022910", "20240229100000.000000", "20240229105959.999999"),
        ("20240229101112.5", "20240229101112.500000", "20240229101112.599999"),
        ("2023-2024", "20230101000000.000000", "20241231235959.999999"),
        ("-202402", None, "20240229235959.999999"),
        ("2024-", "20240101000000.000000", None),
    ],
)
def test_a_date_time_covers_what_it_leaves_open(
    text: str, low: str | None, high: str | None
) -> None:
    assert ends("AcquisitionDateTime", text) == (low, high)


@pytest.mark.parametrize(
    "text", ["20260101101112+0100", "20260101101112-0100", "20261301", "20230229", "24", "x"]
)
def test_what_is_no_date_time_or_has_an_offset_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError):
        condition("AcquisitionDateTime", text)


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("0003", 3), ("-7", -7), ("+7", 7)])
def test_whole_numbers_are_compared_as_numbers(text: str, number: int) -> None:
    assert value("InstanceNumber", text, version=2) == number
    assert value("Rows", text) == number


@pytest.mark.parametrize("text", ["x", "1.5", "1e3", str(1 << 63), "9" * 4000])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="Integer"):
        condition("Rows", text)


@pytest.mark.parametrize(("text", "number"), [("1.5", 1.5), ("-2", -2.0), ("1e3", 1000.0)])
def test_real_numbers_are_compared_as_numbers(text: str, number: float) -> None:
    assert value("PatientSize", text) == number


@pytest.mark.parametrize("text", ["x", "nan", "inf", "-inf", "1,5", "1e999"])
def test_what_is_no_real_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="Real"):
        condition("PatientSize", text)


# --- abuse --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_a_value_that_is_too_long_is_refused(version: int) -> None:
    with pytest.raises(InvalidQueryError, match="too long"):
        query(("PatientID", "x" * 4097), version=version)


@given(
    version=st.sampled_from([1, 2]),
    level=st.sampled_from(Level),
    pairs=st.lists(
        st.tuples(
            st.sampled_from(
                [a.keyword for a in SEARCH_ATTRIBUTES]
                + [a.keyword for a in EXTRA.values()]
                + ["limit", "offset", "fuzzymatching", "includefield", "00100010"]
            )
            | st.text(max_size=10),
            st.text(max_size=20) | st.text("0123456789-*?,.+\\true", max_size=20),
        ),
        max_size=4,
    ),
)
def test_any_parameters_are_understood_or_refused(
    version: int, level: Level, pairs: list[tuple[str, str]]
) -> None:
    sentences: Sequence[str]
    try:
        sentences = query(
            *pairs, version=version, level=level, extra=tuple(EXTRA.values())
        ).warnings
    except InvalidQueryError as error:
        sentences = [error.message]
    assert all(sentence.isascii() and sentence.isprintable() for sentence in sentences)
