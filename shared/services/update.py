"""Bulk update: new values for attributes of whole studies (reference; the Standard has none).

A stored file is never changed. Each instance of a study gets a new head, which holds the new values
and what they replaced; when all are written, one transaction puts them in place. So a study is
updated as a whole or not at all, and its pixel data is neither copied nor read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.dicom.uid import Uid
from shared.dicomweb.update_request import UpdateRequest
from shared.ports import Index, Operation, OperationType, Orchestrations, Partition
from shared.services.operations import Operations
from shared.services.partitions import noted_partition
from shared.services.study_update import (
    OperationEndedError,
    StudyJob,
    StudyNotUpdatedError,
    StudyUpdater,
)

_MESSAGES_PER_STUDY = 5
_WHOLE = 100


@dataclass(frozen=True, slots=True)
class BulkUpdate:
    """Updates studies one after the other; how far it is stands in the operation's row."""

    operations: Operations
    index: Index
    updater: StudyUpdater

    async def start(
        self, orchestrations: Orchestrations, partition: Partition, asked: UpdateRequest
    ) -> Operation:
        """Start an update; there is one at a time.

        Raises:
            OperationRunningError: Another one is not final.
        """
        return await self.operations.start(
            orchestrations,
            OperationType.UPDATE,
            {"partition": partition.name, "studies": asked.studies, "changes": asked.changes},
            alone=True,
        )

    async def update_next_study(self, operation_id: str) -> bool:
        """Update the next study of an operation; False when there is no more to do.

        Raises:
            StoreUnavailableError: Trying again goes on where this ended.
        """
        operation = await self.operations.get(operation_id)
        if operation.status.is_final:
            return False
        done = _Results.of(operation)
        count = len(operation.input["studies"])
        if not operation.input["changes"]:
            done = _Results(processed=count)
        if done.processed < count:
            try:
                done = await self._update(operation, done)
            except OperationEndedError:
                return False
        if done.processed < count:
            return True
        results = done.to_json()
        await self.operations.finish(operation_id, results, has_failed=bool(done.errors))
        return False

    async def _update(self, operation: Operation, done: "_Results") -> "_Results":
        asked = operation.input
        studies: Sequence[str] = asked["studies"]

        def percent(share: float) -> int:
            # All is done only when the operation is told to have ended.
            return min(_WHOLE - 1, int(_WHOLE * (done.processed + share) / len(studies)))

        async def report(share: float) -> bool:
            return await self.operations.report(operation.id, percent(share))

        study = Uid(studies[done.processed])
        job = StudyJob(
            operation_id=operation.id,
            partition=await noted_partition(self.index, asked["partition"]),
            study=study,
            changes=asked["changes"],
            before=operation.results or {},
            after=lambda count: (done.with_updated(count).to_json(), percent(1)),
            report=report,
        )
        try:
            return done.with_updated(await self.updater.update(job))
        except StudyNotUpdatedError as error:
            failed = done.with_failed(_told(study, error.messages))
        if not await self.operations.report(operation.id, percent(1), failed.to_json()):
            raise OperationEndedError
        return failed


def _told(study: Uid, messages: Sequence[str]) -> str:
    told = [f"Failed to update instances for study {study}", *messages[:_MESSAGES_PER_STUDY]]
    more = len(messages) - _MESSAGES_PER_STUDY
    return "\n".join([*told, f"And {more} more."] if more > 0 else told)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """What an operation has done so far."""

    processed: int = 0
    updated: int = 0
    failed: int = 0
    instances: int = 0
    errors: tuple[str, ...] = ()

    @classmethod
    def of(cls, operation: Operation) -> "_Results":
        told = operation.results or {}
        return cls(
            processed=told.get("studyProcessed", 0),
            updated=told.get("studyUpdated", 0),
            failed=told.get("studyFailed", 0),
            instances=told.get("instanceUpdated", 0),
            errors=tuple(told.get("errors", ())),
        )

    def to_json(self) -> Mapping[str, Any]:
        told: dict[str, Any] = {
            "studyProcessed": self.processed,
            "studyUpdated": self.updated,
            "studyFailed": self.failed,
            "instanceUpdated": self.instances,
        }
        return {**told, "errors": list(self.errors)} if self.errors else told

    def with_updated(self, instances: int) -> "_Results":
        """With one more study, that had so many instances."""
        return _Results(
            processed=self.processed + 1,
            updated=self.updated + bool(instances),
            failed=self.failed,
            instances=self.instances + instances,
            errors=self.errors,
        )

    def with_failed(self, error: str) -> "_Results":
        """With one more study, that could not be updated."""
        return _Results(
            processed=self.processed + 1,
            updated=self.updated,
            failed=self.failed + 1,
            instances=self.instances,
            errors=(*self.errors, error),
        )
