from datetime import UTC, datetime

import pytest

from localhost.errors import StartError
from localhost.timers import next_time, with_settings

_NOW = datetime(2026, 3, 14, 15, 9, 26, 535_000, tzinfo=UTC)  # A Saturday.


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("* * * * * *", datetime(2026, 3, 14, 15, 9, 27, tzinfo=UTC)),
        ("*/5 * * * * *", datetime(2026, 3, 14, 15, 9, 30, tzinfo=UTC)),
        ("0 */5 * * * *", datetime(2026, 3, 14, 15, 10, tzinfo=UTC)),
        ("30 0 0 * * *", datetime(2026, 3, 15, 0, 0, 30, tzinfo=UTC)),
        ("0 0 5 1 1 *", datetime(2027, 1, 1, 5, tzinfo=UTC)),
        ("0 30 9 * * 1-5", datetime(2026, 3, 16, 9, 30, tzinfo=UTC)),
        ("0 0 0 * * Sun", datetime(2026, 3, 15, tzinfo=UTC)),
        ("0 0 0 1 Jun *", datetime(2026, 6, 1, tzinfo=UTC)),
    ],
)
def test_six_fields_begin_with_the_seconds(schedule: str, due: datetime) -> None:
    assert next_time(schedule, _NOW) == due


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("* * * * *", datetime(2026, 3, 14, 15, 10, tzinfo=UTC)),
        ("0 5 * * *", datetime(2026, 3, 15, 5, tzinfo=UTC)),
    ],
)
def test_five_fields_begin_with_the_minutes(schedule: str, due: datetime) -> None:
    assert next_time(schedule, _NOW) == due


def test_a_day_of_the_month_and_a_day_of_the_week_must_both_be_right() -> None:
    assert next_time("0 0 0 13 * 5", _NOW) == datetime(2026, 11, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("00:00:30", datetime(2026, 3, 14, 15, 9, 56, 535_000, tzinfo=UTC)),
        ("01:30:00", datetime(2026, 3, 14, 16, 39, 26, 535_000, tzinfo=UTC)),
        ("2.00:00:00", datetime(2026, 3, 16, 15, 9, 26, 535_000, tzinfo=UTC)),
    ],
)
def test_a_time_span_counts_from_the_last_time(schedule: str, due: datetime) -> None:
    assert next_time(schedule, _NOW) == due


def test_the_next_time_is_after_one_that_is_due_now() -> None:
    due = next_time("* * * * * *", _NOW)
    assert next_time("* * * * * *", due) > due


def test_settings_stand_where_their_names_are_in_per_cent_signs() -> None:
    settings = {"EVERY": "*/5 * * * * *", "BOX": "inbox"}
    assert with_settings("%EVERY%", settings) == "*/5 * * * * *"
    assert with_settings("%BOX%/{name}", settings) == "inbox/{name}"
    assert with_settings("plain", settings) == "plain"


def test_a_setting_that_is_not_there_is_named() -> None:
    with pytest.raises(StartError, match="EVERY"):
        with_settings("%EVERY%", {})


@pytest.mark.parametrize("schedule", ["", "* * *", "99 * * * * *", "1:2"])
def test_a_schedule_that_cannot_be_read_is_refused(schedule: str) -> None:
    with pytest.raises(StartError, match="schedule"):
        next_time(schedule, _NOW)
