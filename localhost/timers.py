"""Timer triggers: NCRONTAB with seconds, time spans, and settings in per cent signs."""

import asyncio
import json
import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from croniter import croniter

from localhost.errors import StartError, WorkerLostError
from localhost.messages import Function
from localhost.pool import Pool
from localhost.protos import TypedData

_SETTING = re.compile(r"%([^%]+)%")
_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})\Z")
_FIELDS_WITHOUT_SECONDS = 5

_log = logging.getLogger(__name__)


async def run_timer(pool: Pool, function: Function) -> None:
    """Fire a function by its schedule for ever; it never overlaps itself."""
    trigger = function.binding("timerTrigger") or {}
    schedule = with_settings(trigger["schedule"], os.environ)
    last = datetime.now(UTC)
    if trigger.get("runOnStartup"):
        await _fire(pool, function, trigger["name"], last, last)
    due = last
    while True:
        # Never the same time twice, though a sleep may end a little early.
        due = next_time(schedule, max(due, datetime.now(UTC)))
        await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
        await _fire(pool, function, trigger["name"], last, due)
        last = due


def with_settings(text: str, settings: Mapping[str, str]) -> str:
    """Put the values of settings where `%NAME%` stands.

    Raises:
        StartError: A setting is not there.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in settings:
            raise StartError(f"the setting {found[1]} is not there, which {text} names")
        return settings[found[1]]

    return _SETTING.sub(value, text)


def next_time(schedule: str, now: datetime) -> datetime:
    """The first time after `now`, by a cron expression of five or six fields or a time span.

    Raises:
        StartError: The schedule is neither.
    """
    span = _SPAN.match(schedule.strip())
    if span is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        return now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    fields = schedule.split()
    if len(fields) == _FIELDS_WITHOUT_SECONDS:
        fields = ["0", *fields]
    try:
        # NCRONTAB wants both days right, that of the month and that of the week.
        times = croniter(" ".join(fields), now, second_at_beginning=True, day_or=False)
    except ValueError as error:
        raise StartError(f"the schedule {schedule!r} cannot be read: {error}") from error
    found: datetime = times.get_next(datetime)
    return found


async def _fire(pool: Pool, function: Function, name: str, last: datetime, due: datetime) -> None:
    info = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": {
            "Last": last.isoformat(),
            "Next": due.isoformat(),
            "LastUpdated": last.isoformat(),
        },
        "IsPastDue": False,
    }
    try:
        outcome = await pool.invoke(function.name, {name: TypedData(json=json.dumps(info))}, {})
    except WorkerLostError:
        _log.warning("timer %s: the worker died", function.name)
        return
    if outcome.error is not None:
        _log.error("timer %s failed: %s", function.name, outcome.error)
