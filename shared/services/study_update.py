"""The update of one study: heads for all its instances, then one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched
from typing import Any

from shared.dicom.blob_names import dicom_blob, metadata_blob, new_blob_id
from shared.dicom.json_model import Document
from shared.dicom.resource import ResourcePath
from shared.dicom.uid import Uid
from shared.dicom.update import Update
from shared.errors import (
    BlobNotFoundError,
    DicomWebError,
    InvalidInstanceError,
    NotAcceptableError,
    TagSetChangedError,
)
from shared.ports import (
    BlobStore,
    Index,
    Partition,
    StoredInstance,
    StudyUpdates,
    UpdatedInstance,
    UpdateOutcome,
    UpdateProgress,
)
from shared.services.head_writer import HeadWriter, Writing
from shared.services.read_ahead import read_ahead
from shared.services.tag_sets import KnownTagSet
from shared.services.update_notes import add_update_note

_HEADS_AT_ONCE = 8
_HEADS_PER_REPORT = 128
_ROUNDS = 10

type _Waiting = tuple[StoredInstance, str]
"""An instance, and the id that its head will have."""


class StudyNotUpdatedError(Exception):
    """Nothing of a study was updated; a sentence for each instance tells why."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__(*messages)
        self.messages = messages


class OperationEndedError(Exception):
    """The operation has ended meanwhile, so nothing more is to be done for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyJob:
    """One study of an operation.

    Attributes:
        before: The results of the operation so far.
        after: Its results, and per cent, once so many instances of the study are updated.
        report: Tells which share of the heads is written; False if the operation has ended.
    """

    operation_id: str
    partition: Partition
    study: Uid
    changes: Document
    before: Mapping[str, Any]
    after: Callable[[int], tuple[Mapping[str, Any], int]]
    report: Callable[[float], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class StudyUpdater:
    """Updates a study as a whole or not at all.

    Attributes:
        grace: How long superseded heads stay.
        orphan_age: After which heads that were not put in place are removed.
    """

    blobs: BlobStore
    index: Index
    updates: StudyUpdates
    writer: HeadWriter
    tag_set: KnownTagSet
    grace: timedelta
    orphan_age: timedelta

    async def update(self, job: StudyJob) -> int:
        """Update all instances that the study has at the end, and tell how many there are.

        What is stored, replaced or deleted meanwhile is seen by the commit, and looked at anew.

        Raises:
            StudyNotUpdatedError: An instance cannot be updated, or the study never rests.
            OperationEndedError: The operation has ended meanwhile.
        """
        made: dict[int, UpdatedInstance] = {}
        try:
            return await self._update(job, made)
        except (StudyNotUpdatedError, OperationEndedError):
            await self._discard(made.values())
            raise

    async def _update(self, job: StudyJob, made: dict[int, UpdatedInstance]) -> int:
        for _ in range(_ROUNDS):
            await self._make(job, made)
            outcome = await self._commit(job, made)
            if outcome is UpdateOutcome.COMMITTED:
                return len(made)
            if outcome is UpdateOutcome.ENDED:
                raise OperationEndedError
        raise StudyNotUpdatedError(["It was changed again and again meanwhile."])

    async def _make(self, job: StudyJob, made: dict[int, UpdatedInstance]) -> None:
        """Make the heads that lack, and remove those whose instances are no longer there."""
        found = self.index.instances(job.partition, ResourcePath(job.study))
        instances = {instance.watermark: instance async for instance in found}
        stale = made.keys() - instances.keys()
        if made and made.keys() == instances.keys():
            stale = set(made)  # It is the heads themselves that may be gone.
        await self._discard([made.pop(watermark) for watermark in stale])
        missing = [item for watermark, item in instances.items() if watermark not in made]
        update = Update(job.changes, datetime.now(UTC))
        writing = Writing(job.partition.name, update, await self.tag_set.get())
        for some in batched(missing, _HEADS_PER_REPORT, strict=False):
            waiting = [(instance, new_blob_id()) for instance in some]
            until = datetime.now(UTC) + self.orphan_age
            await self.updates.prepare([head_id for _, head_id in waiting], until)
            failures: list[str] = []
            load = partial(self._head, job, writing)
            async for head in read_ahead(waiting, load, depth=_HEADS_AT_ONCE):
                if isinstance(head, UpdatedInstance):
                    made[head.watermark] = head
                elif head is not None:
                    failures.append(head)
            if failures:
                raise StudyNotUpdatedError(failures)
            if not await job.report(len(made) / len(instances)):
                raise OperationEndedError

    async def _head(
        self, job: StudyJob, writing: Writing, waiting: _Waiting
    ) -> UpdatedInstance | str | None:
        """The head of an instance, or why it has none; None if the instance is gone."""
        instance, head_id = waiting
        try:
            return await self.writer.write(instance, head_id, writing)
        except (NotAcceptableError, InvalidInstanceError) as error:
            return _message(job, instance, error)
        except BlobNotFoundError as error:
            now = await self.index.find_instance(job.partition, instance.path)
            is_there = now is not None and now.watermark == instance.watermark
            return _message(job, instance, error) if is_there else None

    async def _commit(self, job: StudyJob, made: dict[int, UpdatedInstance]) -> UpdateOutcome:
        updated = [made[watermark] for watermark in sorted(made)]
        results, percent = job.after(len(updated))
        progress = UpdateProgress(job.operation_id, job.before, results, percent)
        heads = {item.head_id: item.instance.file.blob_id for item in updated}
        notes = [await add_update_note(self.blobs, heads)] if heads else []
        until = datetime.now(UTC) + self.grace
        try:
            outcome = await self.updates.commit(job.partition, job.study, updated, progress, until)
        except TagSetChangedError:
            await self.tag_set.read()
            outcome = UpdateOutcome.OVERTAKEN
        if outcome is not UpdateOutcome.COMMITTED:
            await self.blobs.delete(notes)
        return outcome

    async def _discard(self, heads: Iterable[UpdatedInstance]) -> None:
        names = [
            name
            for head in heads
            for name in (dicom_blob(head.head_id), metadata_blob(head.head_id))
        ]
        await asyncio.shield(self.blobs.delete(names))


def _message(job: StudyJob, instance: StoredInstance, error: DicomWebError) -> str:
    path = instance.path
    return (
        f"Partition {job.partition.name}, study {path.study}, series {path.series}, "
        f"instance {path.instance}: {error.message}"
    )
