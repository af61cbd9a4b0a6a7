"""Instances stored in the place of those that are there, and commits whose outcome is unknown."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection

from shared.adapters.sql_index import deleted_blobs
from shared.adapters.sql_index.attributes import SERIES_DOCUMENTS, STUDY_DOCUMENTS
from shared.adapters.sql_index.commit import (
    Batch,
    Held,
    SeriesRow,
    StudyRow,
    commit_all,
)
from shared.adapters.sql_index.describe import (
    Described,
    correct_modalities,
    describe_series,
    describe_studies,
)
from shared.adapters.sql_index.locks import lock_studies
from shared.adapters.sql_index.tag_values import recompute
from shared.dicom.resource import ResourcePath
from shared.ports import AlreadyStored, CommitOutcome, Committed, NewInstance


def replace_all(
    connection: Connection,
    partition_key: int,
    instances: Sequence[NewInstance],
    blobs_until: datetime,
) -> list[CommitOutcome]:
    """Add instances one after the other, each in the place of the one that is there."""
    lock_studies(connection, partition_key, (item.path.study for item in instances))
    return [
        outcome
        for some in _without_repetition(instances)
        for outcome in _replace(connection, partition_key, some, blobs_until)
    ]


def commit_again(
    connection: Connection,
    partition_key: int,
    instances: Sequence[NewInstance],
    blobs_until: datetime | None,
) -> list[CommitOutcome]:
    """Repeat a commit that may have taken effect; what did counts as committed.

    An instance that was replaced or deleted since is told by its blobs, which wait for their
    removal: a row must not name them again.
    """
    lock_studies(connection, partition_key, (item.path.study for item in instances))
    undone = deleted_blobs.waiting(connection, [item.file.blob_id for item in instances])
    rest = [item for item in instances if item.file.blob_id not in undone]
    if blobs_until is None:
        [outcomes] = commit_all(connection, [(partition_key, rest)])
    else:
        outcomes = replace_all(connection, partition_key, rest, blobs_until)
    others = iter(outcomes)
    return [Committed(0) if item.file.blob_id in undone else next(others) for item in instances]


def _without_repetition(instances: Sequence[NewInstance]) -> Iterator[list[NewInstance]]:
    some: dict[ResourcePath, NewInstance] = {}
    for item in instances:
        if item.path in some:
            yield list(some.values())
            some = {}
        some[item.path] = item
    if some:
        yield list(some.values())


def _replace(
    connection: Connection,
    partition_key: int,
    instances: Sequence[NewInstance],
    blobs_until: datetime,
) -> list[CommitOutcome]:
    batch = Batch(connection, partition_key)
    batch.find(instances)
    changed = [item for item in instances if not _is_same(batch.held.get(item.path), item)]
    replaced = {item.path: batch.held[item.path] for item in changed if item.path in batch.held}
    if changed:
        batch.add(changed)
    if replaced:
        blobs = (blob for held in replaced.values() for blob in held.blobs())
        deleted_blobs.add_instances(connection, blobs, blobs_until)
        describe_anew(connection, partition_key, batch, replaced)
    return [_outcome(batch.held[item.path], replaced.get(item.path), item) for item in instances]


def _is_same(held: Held | None, item: NewInstance) -> bool:
    if held is None:
        return False
    # An updated instance is no longer the file that was stored.
    is_same_file = held.sha256 == item.file.sha256 and held.head_id is None
    return held.blob_id == item.file.blob_id or is_same_file


def _outcome(held: Held, replaced: Held | None, item: NewInstance) -> CommitOutcome:
    if held.blob_id != item.file.blob_id:
        return AlreadyStored(held.blob_id, held.sha256)
    return Committed(held.watermark, None if replaced is None else replaced.blob_id)


def describe_anew(
    connection: Connection, partition_key: int, batch: Batch, paths: Iterable[ResourcePath]
) -> None:
    """Let studies and series forget what only replaced instances said of them."""
    studies: dict[int, StudyRow] = {}
    all_series: dict[int, SeriesRow] = {}
    for path in paths:
        row = batch.series[path.study, path.series]
        studies[row.study.key], all_series[row.key] = row.study, row
    for key, study in sorted(studies.items()):
        after = STUDY_DOCUMENTS.refold(connection, key)
        describe_studies(connection, partition_key, [Described(key, study.after, after)])
    for key, series in sorted(all_series.items()):
        after = SERIES_DOCUMENTS.refold(connection, key)
        describe_series(connection, partition_key, [Described(key, series.after, after)])
    correct_modalities(connection, studies)
    if batch.has_tags:
        recompute(connection, studies, all_series)
