"""The change feed: rows get their sequence only once they are committed, so it has no gaps."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from shared.adapters.sql_index.mssql import take_lock
from shared.adapters.sql_index.schema import change, instance, partition, series, study
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.ports import Change, ChangeAction, InstanceState

_ACTIONS = {ChangeAction.CREATE: 0, ChangeAction.DELETE: 1, ChangeAction.UPDATE: 2}
_ACTION_OF = {number: action for action, number in _ACTIONS.items()}

_ADD = insert(change).returning(change.c.change_id, sort_by_parameter_order=True)

_UNNUMBERED = select(change.c.change_id).where(change.c.sequence.is_(None)).limit(1)
_LAST = (
    select(change.c.sequence, change.c.timestamp)
    .where(change.c.sequence.is_not(None))
    .order_by(change.c.sequence.desc())
    .limit(1)
)
_ORDINALS = (
    select(
        change.c.change_id,
        func.row_number().over(order_by=change.c.change_id).label("ordinal"),
    )
    .where(change.c.sequence.is_(None))
    .subquery()
)
_NUMBER = (
    update(change)
    .where(change.c.change_id == _ORDINALS.c.change_id)
    .values(
        sequence=bindparam("last_sequence", type_=change.c.sequence.type) + _ORDINALS.c.ordinal,
        timestamp=bindparam("now", type_=change.c.timestamp.type),
    )
)

# On SQL Server others write meanwhile. Rows whose transactions have not ended are locked, and
# passed over; the rest are locked and numbered in one pass, by the small index on them, and few
# enough at a time for the locks to stay on rows. The time is the server's: those who number run on
# many machines, and a window in time is final only by one clock.
_ROWS_AT_ONCE = 1000
_NUMBER_UNLOCKED = text(
    """
    WITH unnumbered AS (
        SELECT TOP (:most) [sequence], [timestamp],
            ROW_NUMBER() OVER (ORDER BY [change_id]) AS [ordinal]
        FROM [change] WITH (INDEX (ix_change_unnumbered), UPDLOCK, READPAST, READCOMMITTEDLOCK)
        WHERE [sequence] IS NULL
        ORDER BY [change_id]
    )
    UPDATE unnumbered SET [sequence] = :last_sequence + [ordinal], [timestamp] = (
        SELECT MAX([moment]) FROM (VALUES (SYSUTCDATETIME()), (:latest)) AS [clock] ([moment])
    )
    """
).bindparams(bindparam("latest", type_=change.c.timestamp.type))
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_TURN = "number changes"
_TURN_MS = 5000

# What has become of an instance is read from its row, so that no row of the feed is ever rewritten.
_ENTRIES = select(
    change.c.sequence,
    change.c.timestamp,
    change.c.action,
    change.c.change_id,
    change.c.study_instance_uid,
    change.c.series_instance_uid,
    change.c.sop_instance_uid,
    partition.c.name,
    instance.c.watermark,
    func.coalesce(instance.c.head_id, instance.c.blob_id).label("blob_id"),
).select_from(
    change.join(partition, partition.c.partition_key == change.c.partition_key)
    .outerjoin(
        study,
        and_(
            study.c.partition_key == change.c.partition_key,
            study.c.study_instance_uid == change.c.study_instance_uid,
        ),
    )
    .outerjoin(
        series,
        and_(
            series.c.study_key == study.c.study_key,
            series.c.series_instance_uid == change.c.series_instance_uid,
        ),
    )
    .outerjoin(
        instance,
        and_(
            instance.c.series_key == series.c.series_key,
            instance.c.sop_instance_uid == change.c.sop_instance_uid,
        ),
    )
)
_AFTER = (
    _ENTRIES.where(change.c.sequence > bindparam("after"))
    .order_by(change.c.sequence)
    .limit(bindparam("limit", type_=change.c.sequence.type))
)
_NUMBERED = select(change.c.sequence).where(change.c.sequence.is_not(None)).limit(1)
_FIRST_FROM = _NUMBERED.where(change.c.timestamp >= bindparam("moment")).order_by(
    change.c.timestamp, change.c.sequence
)
_LAST_BEFORE = _NUMBERED.where(change.c.timestamp < bindparam("moment")).order_by(
    change.c.timestamp.desc(), change.c.sequence.desc()
)
_LATEST = _ENTRIES.where(change.c.sequence.is_not(None)).order_by(change.c.sequence.desc()).limit(1)

# A literal, not a parameter: only so is it known that the index on deletions has all of them.
_DELETION = (
    select(change.c.change_id)
    .where(
        change.c.action == literal_column("1"),
        change.c.partition_key == bindparam("partition_key"),
        change.c.study_instance_uid == bindparam("study_uid"),
    )
    .limit(1)
)
_DELETION_IN_SERIES = _DELETION.where(change.c.series_instance_uid == bindparam("series_uid"))
_DELETION_AT = {
    Level.STUDY: _DELETION,
    Level.SERIES: _DELETION_IN_SERIES,
    Level.INSTANCE: _DELETION_IN_SERIES.where(
        change.c.sop_instance_uid == bindparam("instance_uid")
    ),
}


def add_changes(
    connection: Connection,
    partition_key: int,
    changes: Sequence[tuple[ChangeAction, ResourcePath]],
) -> list[int]:
    """Note what happens to instances, and give the change_id of each, ascending."""
    rows = [
        {
            "partition_key": partition_key,
            "study_instance_uid": path.study,
            "series_instance_uid": path.series,
            "sop_instance_uid": path.instance,
            "action": _ACTIONS[action],
        }
        for action, path in changes
    ]
    return list(connection.execute(_ADD, rows).scalars()) if rows else []


def has_deletion(connection: Connection, partition_key: int, path: ResourcePath) -> bool:
    """Whether an instance at or below a path has ever been deleted."""
    parameters = {
        "partition_key": partition_key,
        "study_uid": path.study,
        "series_uid": path.series,
        "instance_uid": path.instance,
    }
    return connection.execute(_DELETION_AT[path.level], parameters).first() is not None


def has_unnumbered(connection: Connection) -> bool:
    """Whether there are committed changes without a sequence."""
    return connection.execute(_UNNUMBERED).first() is not None


def number_changes(connection: Connection) -> int:
    """Number the committed changes that have no sequence, by change_id, and count them.

    Only one transaction numbers at a time, from after the highest number to before its own commit;
    so numbers follow each other without a gap, in the order in which they are committed: whoever
    sees one sees all below it. A row that was not committed in time gets a higher number later,
    although its change_id is lower; no number is ever given to a row that may still vanish.
    """
    if connection.dialect.name == "mssql":
        take_lock(connection, _TURN, owner="Transaction", milliseconds=_TURN_MS)
        return _number_unlocked(connection)
    last_sequence, latest = _last(connection)
    numbers = {"last_sequence": last_sequence, "now": max(datetime.now(UTC), latest)}
    return connection.execute(_NUMBER, numbers).rowcount


def _number_unlocked(connection: Connection) -> int:
    numbered = 0
    while True:
        last_sequence, latest = _last(connection)
        numbers = {"most": _ROWS_AT_ONCE, "last_sequence": last_sequence, "latest": latest}
        count = connection.execute(_NUMBER_UNLOCKED, numbers).rowcount
        numbered += count
        if count < _ROWS_AT_ONCE:
            return numbered


def _last(connection: Connection) -> tuple[int, datetime]:
    """The highest sequence and timestamp; a clock that is set back must not turn the feed back."""
    last = connection.execute(_LAST).first()
    return (0, _FIRST_MOMENT) if last is None else (last.sequence, last.timestamp)


def changes_after(connection: Connection, after: int, limit: int) -> list[Change]:
    """The numbered entries with a sequence above `after`, at most `limit` of them."""
    rows = connection.execute(_AFTER, {"after": after, "limit": limit})
    return [_change(row) for row in rows]


def changes_in_window(
    connection: Connection, start: datetime, end: datetime, offset: int, limit: int
) -> list[Change]:
    """The entries from `start` to before `end` (UTC), at most `limit` of them after `offset`.

    Sequences have no gaps and grow with timestamps, so a window in time is one of sequences, and
    what is left out need not be read.
    """
    first = connection.execute(_FIRST_FROM, {"moment": start}).scalar()
    last = connection.execute(_LAST_BEFORE, {"moment": end}).scalar()
    if first is None or last is None or first + offset > last:
        return []
    after = first + offset - 1
    return changes_after(connection, after, min(limit, last - after))


def latest_change(connection: Connection) -> Change | None:
    """The entry with the highest sequence."""
    row = connection.execute(_LATEST).first()
    return None if row is None else _change(row)


def _change(row: Row[*tuple[Any, ...]]) -> Change:
    if row.watermark is None:
        state = InstanceState.DELETED
    elif row.watermark == row.change_id:
        state = InstanceState.CURRENT
    else:
        state = InstanceState.REPLACED
    path = ResourcePath(
        Uid(row.study_instance_uid), Uid(row.series_instance_uid), Uid(row.sop_instance_uid)
    )
    return Change(
        row.sequence, row.timestamp, _ACTION_OF[row.action], state, row.name, path, row.blob_id
    )
