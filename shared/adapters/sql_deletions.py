"""What has been deleted and can be brought back, in the index database."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import batched
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, literal_column, select

from shared.adapters.sql_index.commit import ROWS_AT_ONCE, Batch
from shared.adapters.sql_index.errors import OutcomeUnknownError
from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.locks import lock_studies, locking_rows
from shared.adapters.sql_index.reads import all_instances
from shared.adapters.sql_index.schema import change, deleted_blob, instance, series, study
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.ports import BlobUse, DeletedInstance, Deletions, NewInstance, Partition

# The action is a literal, not a parameter: only so is the index on deletions known to have all.
_OF_STUDY = (
    select(
        change.c.series_instance_uid,
        change.c.sop_instance_uid,
        deleted_blob.c.blob_id,
        func.coalesce(deleted_blob.c.head_id, deleted_blob.c.blob_id).label("metadata_id"),
    )
    .select_from(change.join(deleted_blob, deleted_blob.c.change_id == change.c.change_id))
    .where(
        change.c.action == literal_column("1"),
        change.c.partition_key == bindparam("partition_key"),
        change.c.study_instance_uid == bindparam("study_uid"),
    )
    .order_by(change.c.change_id)
)
_UNDOABLE = and_(
    deleted_blob.c.blob_id.in_(bindparam("blob_ids", expanding=True)),
    deleted_blob.c.change_id.is_not(None),
)
_TO_RESTORE = locking_rows(
    select(deleted_blob.c.blob_id, deleted_blob.c.head_id).where(_UNDOABLE), deleted_blob
)
_UNDO = delete(deleted_blob).where(_UNDOABLE)
_HELD = (
    select(
        study.c.study_instance_uid,
        series.c.series_instance_uid,
        instance.c.sop_instance_uid,
        instance.c.blob_id,
        instance.c.sha256,
        instance.c.head_id,
    )
    .select_from(
        study.join(series, series.c.study_key == study.c.study_key).join(
            instance, instance.c.series_key == series.c.series_key
        )
    )
    .where(
        study.c.partition_key == bindparam("partition_key"),
        study.c.study_instance_uid.in_(bindparam("study_uids", expanding=True)),
        series.c.series_instance_uid.in_(bindparam("series_uids", expanding=True)),
        instance.c.sop_instance_uid.in_(bindparam("instance_uids", expanding=True)),
    )
)
_STORED = select(instance.c.blob_id).where(
    instance.c.blob_id.in_(bindparam("blob_ids", expanding=True))
)
_WAITING = select(deleted_blob.c.blob_id).where(
    deleted_blob.c.blob_id.in_(bindparam("blob_ids", expanding=True))
)


class SqlDeletions(Deletions):
    """Deletions in the database of an index, which also closes it."""

    def __init__(self, index: SqlIndex) -> None:
        self._database = index.database

    async def of_study(self, partition: Partition, study: Uid) -> Sequence[DeletedInstance]:
        """See Deletions."""
        return await self._database.read(lambda c: deletions_of_study(c, partition.key, study))

    async def restore(
        self, partition: Partition, instances: Sequence[NewInstance]
    ) -> Collection[str]:
        """See Deletions."""
        try:
            return await self._database.write(lambda c: _restore(c, partition.key, instances))
        except OutcomeUnknownError:
            return await self._database.write(lambda c: _restore(c, partition.key, instances))

    async def replaced_by(
        self, partition: Partition, instances: Sequence[NewInstance]
    ) -> Mapping[str, ResourcePath]:
        """See Deletions."""
        return await self._database.read(lambda c: _replaced_by(c, partition.key, instances))

    async def uses(self, blob_ids: Collection[str]) -> Mapping[str, BlobUse]:
        """See Deletions."""
        return await self._database.read(lambda c: _uses(c, blob_ids))


def deletions_of_study(
    connection: Connection, partition_key: int, study_uid: Uid
) -> list[DeletedInstance]:
    """What of a study can be brought back, in the order of its deletion."""
    stored = {
        item.path for item in all_instances(connection, partition_key, ResourcePath(study_uid))
    }
    found: dict[ResourcePath, DeletedInstance] = {}
    parameters = {"partition_key": partition_key, "study_uid": study_uid}
    for series_uid, instance_uid, blob_id, metadata_id in connection.execute(_OF_STUDY, parameters):
        path = ResourcePath(study_uid, Uid(series_uid), Uid(instance_uid))
        found.pop(path, None)  # It takes the place of its last deletion.
        found[path] = DeletedInstance(path, blob_id, metadata_id, path in stored)
    return list(found.values())


def _restore(
    connection: Connection, partition_key: int, instances: Sequence[NewInstance]
) -> list[str]:
    lock_studies(connection, partition_key, (item.path.study for item in instances))
    batch = Batch(connection, partition_key)
    batch.find(instances)
    waiting = {
        row.blob_id: row.head_id
        for some in _blob_ids(instances)
        for row in connection.execute(_TO_RESTORE, {"blob_ids": some})
    }
    new, refused = [], []
    for item in instances:
        held, file = batch.held.get(item.path), item.file
        head_id = None if file.head is None else file.head.blob_id
        if held is None and file.blob_id in waiting and waiting[file.blob_id] == head_id:
            new.append(item)
        elif held is None or held.blob_id != file.blob_id:
            refused.append(file.blob_id)
    if new and not refused:
        batch.add(new)
        for some in _blob_ids(new):
            connection.execute(_UNDO, {"blob_ids": some})
    return refused


def _blob_ids(instances: Sequence[NewInstance]) -> Iterator[Sequence[str]]:
    return batched((item.file.blob_id for item in instances), ROWS_AT_ONCE, strict=False)


def _replaced_by(
    connection: Connection, partition_key: int, instances: Sequence[NewInstance]
) -> dict[str, ResourcePath]:
    digests = {item.path: item.file.sha256 for item in instances}
    replaced = {}
    for some in batched(instances, ROWS_AT_ONCE, strict=False):
        parameters = {
            "partition_key": partition_key,
            "study_uids": sorted({item.path.study for item in some}),
            "series_uids": list({item.path.series for item in some}),
            "instance_uids": [item.path.instance for item in some],
        }
        for *uids, blob_id, sha256, head_id in connection.execute(_HELD, parameters):
            path = ResourcePath(*map(Uid, uids))
            # The very same file replaces nothing, unless it was updated.
            is_same = sha256 == digests.get(path) and head_id is None
            if path in digests and not is_same:
                replaced[blob_id] = path
    return replaced


def _uses(connection: Connection, blob_ids: Collection[str]) -> dict[str, BlobUse]:
    waiting = _named(connection, _WAITING, blob_ids)
    stored = _named(connection, _STORED, blob_ids)
    return {
        **dict.fromkeys(waiting, BlobUse.WAITING),
        **dict.fromkeys(stored, BlobUse.STORED),
    }


def _named(
    connection: Connection, statement: Select[*tuple[Any, ...]], blob_ids: Collection[str]
) -> set[str]:
    return {
        blob_id
        for some in batched(blob_ids, ROWS_AT_ONCE, strict=False)
        for blob_id in connection.execute(statement, {"blob_ids": some}).scalars()
    }
