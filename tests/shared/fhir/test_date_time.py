"""Dates and times are told with their offset from UTC, or without a time."""

from zoneinfo import ZoneInfo

import pytest

from shared.dicom.json_model import Document
from shared.fhir.data_set import DataSet
from shared.fhir.date_time import Clock, fhir_date, fhir_date_time, fhir_moment
from shared.fhir.mapping_warning import Warnings

BERLIN = ZoneInfo("Europe/Berlin")


def moment(
    date: str, time: str = "", offset: str = "", site: ZoneInfo | None = None
) -> tuple[str | None, list[str]]:
    """A study's date and time, and the tags of what was left out."""
    document: Document = {}
    for tag, vr, text in (
        ("00080020", "DA", date),
        ("00080030", "TM", time),
        ("00080201", "SH", offset),
    ):
        if text:
            document[tag] = {"vr": vr, "Value": [text]}
    warnings, data_set = Warnings(), DataSet(document)
    clock = Clock.of(data_set, site, warnings)
    told = fhir_date_time(data_set, "StudyDate", "StudyTime", clock, warnings)
    return told, [one.tag for one in warnings.found]


@pytest.mark.parametrize(
    ("date", "time", "offset", "told"),
    [
        ("20240102", "", "", "2024-01-02"),
        ("20240102", "030405", "+0100", "2024-01-02T03:04:05+01:00"),
        ("20240102", "0304", "-0530", "2024-01-02T03:04:00-05:30"),
        ("20240102", "030405.1234", "+0000", "2024-01-02T03:04:05.1234+00:00"),
        ("20240102", "235960", "+0000", "2024-01-02T23:59:59+00:00"),
        ("20240102", "03", "+0100", "2024-01-02"),
        ("2024.01.02", "03:04:05", "+0100", "2024-01-02T03:04:05+01:00"),
    ],
)
def test_a_date_with_a_time_has_the_offset_of_its_data_set(
    date: str, time: str, offset: str, told: str
) -> None:
    assert moment(date, time, offset) == (told, [])


@pytest.mark.parametrize(
    ("date", "told"),
    [("20240702", "2024-07-02T12:00:00+02:00"), ("20240102", "2024-01-02T12:00:00+01:00")],
)
def test_without_an_offset_the_zone_of_the_site_holds_as_it_was_that_day(
    date: str, told: str
) -> None:
    assert moment(date, "120000", site=BERLIN) == (told, [])


def test_the_offset_of_the_data_set_goes_before_the_zone_of_the_site() -> None:
    told, _ = moment("20240102", "120000", "-0800", BERLIN)
    assert told == "2024-01-02T12:00:00-08:00"


def test_without_any_offset_there_is_no_time_rather_than_another_day() -> None:
    assert moment("20240102", "233000") == ("2024-01-02", ["00080030"])


@pytest.mark.parametrize("offset", ["-0000", "+1500", "+01:00", "CET", "0100", "+0099"])
def test_what_is_no_offset_is_not_guessed_at(offset: str) -> None:
    assert moment("20240102", "120000", offset) == ("2024-01-02", ["00080201", "00080030"])


@pytest.mark.parametrize("date", ["20230230", "00010101", "18491231", "29990101", "2024", "xx"])
def test_an_impossible_or_implausible_date_is_left_out_with_all_that_hangs_on_it(
    date: str,
) -> None:
    assert moment(date, "120000", "+0100") == (None, ["00080020"])


@pytest.mark.parametrize("time", ["2560", "1260", "noon", "120000.1234567"])
def test_what_is_no_time_is_left_out(time: str) -> None:
    assert moment("20240102", time, "+0100") == ("2024-01-02", ["00080030"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2024", "2024"),
        ("202401", "2024-01"),
        ("20240102", "2024-01-02"),
        ("20240102030405.5-0500", "2024-01-02T03:04:05.5-05:00"),
        ("20240102030405", "2024-01-02T03:04:05+01:00"),
        ("202401020304+0000", "2024-01-02T03:04:00+00:00"),
        ("20240132", None),
        ("2024x", None),
    ],
)
def test_a_date_time_has_its_own_offset_or_that_of_its_data_set(
    text: str, told: str | None
) -> None:
    warnings = Warnings()
    clock = Clock.of(DataSet({"00080201": {"vr": "SH", "Value": ["+0100"]}}), None, warnings)
    assert fhir_moment(text, "0008002A", clock, warnings) == told
    assert len(warnings.found) == (told is None)


def test_a_birth_date_has_no_offset_and_a_warning_no_value() -> None:
    warnings = Warnings()
    document: Document = {"00100030": {"vr": "DA", "Value": ["19709999"]}}
    assert fhir_date(DataSet(document), "PatientBirthDate", warnings) is None
    [warning] = warnings.found
    assert "1970" not in repr(warning)
