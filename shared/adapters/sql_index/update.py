"""New heads for all instances of a study, in one transaction with the progress of the update."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, select, update

from shared.adapters.sql_index import deleted_blobs
from shared.adapters.sql_index.attributes import to_text
from shared.adapters.sql_index.commit import Batch
from shared.adapters.sql_index.errors import OutcomeUnknownError
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.locks import lock_studies, locking_rows
from shared.adapters.sql_index.replace import describe_anew
from shared.adapters.sql_index.schema import deleted_blob, instance, operation, study
from shared.dicom.uid import Uid
from shared.ports import (
    OperationStatus,
    Partition,
    StudyUpdates,
    UpdatedInstance,
    UpdateOutcome,
    UpdateProgress,
)

_IDS_AT_ONCE = 1000

_UNFINISHED = [status.value for status in OperationStatus if not status.is_final]
_RESULTS = locking_rows(
    select(operation.c.results).where(
        operation.c.operation_id == bindparam("id"), operation.c.status.in_(_UNFINISHED)
    ),
    operation,
)
_PROGRESS = update(operation).where(operation.c.operation_id == bindparam("id"))
_CURRENT = (
    select(instance.c.watermark)
    .select_from(study.join(instance, instance.c.study_key == study.c.study_key))
    .where(
        study.c.partition_key == bindparam("partition_key"),
        study.c.study_instance_uid == bindparam("study_uid"),
    )
)
_OF_HEADS = deleted_blob.c.blob_id.in_(bindparam("blob_ids", expanding=True))
_WAITING = locking_rows(select(deleted_blob.c.until).where(_OF_HEADS), deleted_blob)
_TAKE = delete(deleted_blob).where(_OF_HEADS)


class SqlStudyUpdates(StudyUpdates):
    """Updates of studies in the database of an index."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def prepare(self, head_ids: Sequence[str], until: datetime) -> None:
        """See StudyUpdates."""
        blobs = [(head_id, False) for head_id in head_ids]
        await self._database.write(lambda c: deleted_blobs.add_instances(c, blobs, until))

    async def commit(
        self,
        partition: Partition,
        study_uid: Uid,
        updated: Sequence[UpdatedInstance],
        progress: UpdateProgress,
        superseded_until: datetime,
    ) -> UpdateOutcome:
        """See StudyUpdates."""

        def job(connection: Connection) -> UpdateOutcome:
            commit = _Commit(connection, partition.key, study_uid, progress)
            return commit.run(updated, superseded_until)

        try:
            return await self._database.write(job)
        except OutcomeUnknownError:
            return await self._database.write(job)


class _Commit:
    """The commit of one study."""

    def __init__(
        self, connection: Connection, partition_key: int, study_uid: Uid, progress: UpdateProgress
    ) -> None:
        self._connection = connection
        self._partition_key = partition_key
        self._study_uid = study_uid
        self._progress = progress

    def run(self, updated: Sequence[UpdatedInstance], superseded_until: datetime) -> UpdateOutcome:
        """Put the heads in place, unless anything has changed since they were made."""
        lock_studies(self._connection, self._partition_key, [self._study_uid])
        done = self._done()
        if done == self._progress.results:
            return UpdateOutcome.COMMITTED  # By an earlier commit whose reply was lost.
        if done is None or done != self._progress.before:
            return UpdateOutcome.ENDED
        if self._current() != {item.watermark for item in updated}:
            return UpdateOutcome.OVERTAKEN
        head_ids = [item.head_id for item in updated]
        if not self._are_waiting(head_ids):
            return UpdateOutcome.OVERTAKEN
        if updated:
            self._take(head_ids)
            self._replace(updated, superseded_until)
        self._report()
        return UpdateOutcome.COMMITTED

    def _done(self) -> Mapping[str, Any] | None:
        row = self._connection.execute(_RESULTS, {"id": self._progress.operation_id}).first()
        if row is None:
            return None
        return {} if row.results is None else dict(orjson.loads(row.results))

    def _current(self) -> set[int]:
        parameters = {"partition_key": self._partition_key, "study_uid": self._study_uid}
        return set(self._connection.execute(_CURRENT, parameters).scalars())

    def _are_waiting(self, head_ids: Sequence[str]) -> bool:
        """Whether the removal of no head can have begun, nor can begin from now on."""
        times: list[datetime] = [
            until
            for some in batched(head_ids, _IDS_AT_ONCE, strict=False)
            for until in self._connection.execute(_WAITING, {"blob_ids": some}).scalars()
        ]
        now = datetime.now(UTC)  # After the wait for locks: a removal may have had them.
        return sum(until > now for until in times) == len(head_ids)

    def _take(self, head_ids: Sequence[str]) -> None:
        for some in batched(head_ids, _IDS_AT_ONCE, strict=False):
            self._connection.execute(_TAKE, {"blob_ids": some})

    def _replace(self, updated: Sequence[UpdatedInstance], superseded_until: datetime) -> None:
        items = [item.instance for item in updated]
        batch = Batch(self._connection, self._partition_key)
        batch.find(items)
        superseded = [
            (held.head_id, False) for held in batch.held.values() if held.head_id is not None
        ]
        batch.add(items)
        deleted_blobs.add_instances(self._connection, superseded, superseded_until)
        describe_anew(self._connection, self._partition_key, batch, (item.path for item in items))

    def _report(self) -> None:
        values = {
            "status": OperationStatus.RUNNING.value,
            "last_updated": datetime.now(UTC),
            "percent_complete": self._progress.percent_complete,
            "results": to_text(self._progress.results),
        }
        progress = _PROGRESS.values(values)
        self._connection.execute(progress, {"id": self._progress.operation_id})
