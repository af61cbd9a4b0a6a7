"""Store: take instances into the archive (PS3.18 10.5, 2025b)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic

from shared.dicom.blob_names import time_of
from shared.dicom.extended_query_tag import TagSet
from shared.dicom.header import Header
from shared.dicom.json_model import value
from shared.dicom.preamble import PreambleKind
from shared.dicom.resource import ResourcePath
from shared.dicom.tag_reading import with_tags
from shared.dicom.transfer_syntax import transfer_syntax
from shared.dicom.uid import Uid
from shared.dicom.validation import SOP_CLASS_UID, STUDY_INSTANCE_UID, Problem, Verdict, validate
from shared.dicomweb.metadata_request import UnfitInstanceError
from shared.dicomweb.store_report import (
    Failed,
    FailureReason,
    Stored,
    StoreOutcome,
    StoreReport,
    WarningReason,
)
from shared.errors import InvalidInstanceError, StoreUnavailableError, TagSetChangedError
from shared.ports import (
    AlreadyStored,
    BlobStore,
    CommitOutcome,
    Committed,
    Deletions,
    Index,
    NewInstance,
    Partition,
)
from shared.services.instance_writer import (
    SMALL_BYTES,
    Chunk,
    InstanceWriter,
    RefusedInstance,
    WrittenInstance,
)
from shared.services.tag_sets import KnownTagSet
from shared.services.tombstones import add_tombstone, add_unanswered

_BATCH_INSTANCES = 256
_BATCH_SECONDS = 5.0
_WRITES_AT_ONCE = 4

_FIRST_VALUE_ONLY = (
    "One or more indexed Dicom tag(s) have multiple values, only first value is indexed."
)
_EXECUTABLE = "The preamble makes the file a program; zeros are sent in its place."
_TRUNCATED = "The file ends before its last value does."

type Body = AsyncIterator[Chunk]
type OnStored = Callable[[Sequence[Stored]], None]
type _Waiting = tuple[int, WrittenInstance]


@dataclass(frozen=True, slots=True)
class Store:
    """Writes the blobs of each instance, then adds instances to the index in batches.

    Attributes:
        orphan_age: Age from which the sweeper takes a blob without a row for an orphan.
        grace: How long the blobs of a replaced instance stay.
        tag_set: The extended query tags by which instances are indexed.
        deletions: What is about to be replaced.
    """

    blobs: BlobStore
    index: Index
    writer: InstanceWriter
    orphan_age: timedelta
    grace: timedelta
    tag_set: KnownTagSet
    deletions: Deletions

    async def store(  # noqa: PLR0913
        self,
        partition: Partition,
        bodies: AsyncIterator[Body],
        *,
        version: int,
        study: Uid | None = None,
        replaces: bool = False,
        must_be_whole: bool = False,
        on_stored: OnStored | None = None,
    ) -> StoreReport:
        """Store the instances of one request; with `study`, only those of that study.

        With `must_be_whole` a file that ends before its last value does is refused.

        An instance that is stored already is a conflict, or with `replaces` it is replaced. When
        this returns, every instance reported as stored survives a crash and can be found.

        `on_stored` is told of instances once they are in the index, as they stay there even if the
        request ends in an error later.

        Raises:
            StoreUnavailableError: Nothing could be stored for want of blob storage or the index.
        """
        request = _Request(self, partition, version, study, replaces=replaces)
        request.on_stored = on_stored
        request.must_be_whole = must_be_whole
        request.tag_set = await self.tag_set.get()
        try:
            async for body in bodies:
                await request.take(body)
            await request.finish()
        except BaseException:
            await asyncio.shield(request.abandon())
            raise
        return request.report()


class _Request:
    """The instances of one Store request on their way into the archive."""

    def __init__(
        self,
        service: Store,
        partition: Partition,
        version: int,
        study: Uid | None,
        *,
        replaces: bool,
    ) -> None:
        self._service = service
        self._partition = partition
        self._version = version
        self._study = study
        self._replaces = replaces
        self._outcomes: list[StoreOutcome | None] = []
        self._unavailable: StoreUnavailableError | None = None
        self._slots = asyncio.Semaphore(_WRITES_AT_ONCE)
        self._writing: list[asyncio.Task[None]] = []
        self._waiting: list[_Waiting] = []
        self._waiting_since = 0.0
        self._committed: set[str] = set()
        self.must_be_whole = False
        self.tag_set = TagSet()
        self.on_stored: OnStored | None = None

    async def take(self, body: Body) -> None:
        """Read one instance to its end; a small one is written while the next one is read."""
        number = len(self._outcomes)
        self._outcomes.append(None)
        try:
            chunks, is_whole = await _beginning(body)
        except InvalidInstanceError as error:
            self._outcomes[number] = _unfit(error)
            return
        if is_whole:
            await self._slots.acquire()
            self._writing.append(asyncio.create_task(self._write_in_slot(number, chunks)))
        else:
            await self._write(number, chunks, body)
        if self._is_batch_due():
            await self._commit()

    async def finish(self) -> None:
        """Wait for what is being written, and put it into the index."""
        await asyncio.gather(*self._writing)
        while self._waiting:
            await self._commit()

    async def abandon(self) -> None:
        """Remove the blobs that no commit was attempted for."""
        # Small writes end soon, and cannot be called back: what they wrote is known afterwards.
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._remove([written for _, written in self._waiting])

    def report(self) -> StoreReport:
        """What became of each instance.

        Raises:
            StoreUnavailableError: Nothing could be stored, and a store that is away is the reason.
        """
        outcomes = [outcome for outcome in self._outcomes if outcome is not None]
        if self._unavailable and not any(isinstance(outcome, Stored) for outcome in outcomes):
            raise self._unavailable
        return StoreReport(outcomes, None if self._study is None else ResourcePath(self._study))

    async def _write_in_slot(self, number: int, chunks: Sequence[Chunk]) -> None:
        try:
            await self._write(number, chunks, None)
        finally:
            self._slots.release()

    async def _write(self, number: int, chunks: Sequence[Chunk], rest: Body | None) -> None:
        name = self._partition.name
        try:
            if rest is None:
                result = await self._service.writer.write_small(chunks, name, self._check)
            else:
                result = await self._service.writer.write_large(
                    _chain(chunks, rest), name, self._check
                )
        except InvalidInstanceError as error:
            self._outcomes[number] = _unfit(error)
        except StoreUnavailableError as error:
            self._unavailable = error
            self._fail([number])
        else:
            if isinstance(result, RefusedInstance):
                self._outcomes[number] = _refused(result)
            else:
                self._waiting_since = self._waiting_since if self._waiting else monotonic()
                self._waiting.append((number, result))

    def _check(self, header: Header) -> Verdict:
        verdict = validate(header.document, self._version, header.null_padded)
        if header.is_truncated and self.must_be_whole:
            failures = (Problem(None, _TRUNCATED), *verdict.failures)
            return Verdict(verdict.path, failures, (), verdict.document)
        if verdict.path is not None and self._study not in (None, verdict.path.study):
            mismatch = Problem(STUDY_INSTANCE_UID, "The study is not the one that was asked for.")
            return Verdict(verdict.path, (mismatch, *verdict.failures), (), verdict.document)
        return with_tags(verdict, self.tag_set, self._version, header.null_padded)

    def _is_batch_due(self) -> bool:
        return bool(self._waiting) and (
            len(self._waiting) >= _BATCH_INSTANCES
            or monotonic() - self._waiting_since >= _BATCH_SECONDS
        )

    async def _commit(self) -> None:
        # In the order of the request, as the last instance decides the attributes of its study.
        waiting = sorted(self._waiting, key=lambda item: item[0])
        self._waiting = waiting[_BATCH_INSTANCES:]
        batch = await self._without_stale(waiting[:_BATCH_INSTANCES])
        batch = await self._with_present_tags(batch)
        instances = [written.instance for _, written in batch]
        until = datetime.now(UTC) + self._service.grace
        try:
            noted = await self._bury(instances, until) if self._replaces else frozenset()
            outcomes = await self._service.index.commit(
                self._partition, instances, replaced_until=until if self._replaces else None
            )
            await self._bury_others(instances, outcomes, noted, until)
        except TagSetChangedError:
            self.tag_set = await self._service.tag_set.read()
            self._waiting = [*batch, *self._waiting]  # No instance fails for it.
            return
        except StoreUnavailableError as error:
            # Whether it took effect is unknown, or to be noted yet: no blob is removed.
            self._unavailable = error
            self._fail([number for number, _ in batch])
            with suppress(StoreUnavailableError):
                blob_ids = [item.file.blob_id for item in instances]
                await add_unanswered(self._service.blobs, blob_ids)
            return
        unused = []
        for (number, written), outcome in zip(batch, outcomes, strict=True):
            self._outcomes[number] = self._outcome(written, outcome)
            if isinstance(outcome, AlreadyStored):
                unused.append(written)
            else:
                self._committed.add(written.instance.file.blob_id)
        self._tell([number for number, _ in batch])
        await self._remove(unused)

    def _tell(self, numbers: Sequence[int]) -> None:
        outcomes = [self._outcomes[number] for number in numbers]
        if self.on_stored is not None:
            self.on_stored([done for done in outcomes if isinstance(done, Stored)])

    async def _bury(self, instances: Sequence[NewInstance], until: datetime) -> frozenset[str]:
        """Note what is about to be replaced, lest a crash lets a rebuilt index bring it back."""
        replaced = await self._service.deletions.replaced_by(self._partition, instances)
        await self._note_replaced(replaced, instances, until)
        return frozenset(replaced)

    async def _bury_others(
        self,
        instances: Sequence[NewInstance],
        outcomes: Sequence[CommitOutcome],
        noted: frozenset[str],
        until: datetime,
    ) -> None:
        """Note what came after the others were noted, and was replaced all the same."""
        replaced: dict[str, ResourcePath] = {}
        for item, outcome in zip(instances, outcomes, strict=True):
            blob_id = outcome.replaced_blob_id if isinstance(outcome, Committed) else None
            if blob_id is not None and blob_id not in noted:
                replaced[blob_id] = item.path
        await self._note_replaced(replaced, instances, until)

    async def _note_replaced(
        self,
        replaced: Mapping[str, ResourcePath],
        instances: Sequence[NewInstance],
        until: datetime,
    ) -> None:
        if not replaced:
            return
        places = set(replaced.values())
        successors = [item.file.blob_id for item in instances if item.path in places]
        name = self._partition.name
        await add_tombstone(self._service.blobs, name, replaced, until, successors)

    def _outcome(self, written: WrittenInstance, outcome: CommitOutcome) -> StoreOutcome:
        if isinstance(outcome, AlreadyStored) and not self._is_retry(written, outcome):
            path = written.instance.path
            return Failed(FailureReason.ALREADY_STORED, path, _sop_class_uid(written.header))
        is_duplicate = isinstance(outcome, AlreadyStored)
        return replace(_stored(written, self._version), is_duplicate=is_duplicate)

    def _is_retry(self, written: WrittenInstance, outcome: AlreadyStored) -> bool:
        """Whether the very same file was stored by an earlier request; v1 does not forgive that."""
        if self._replaces:
            return True  # Any other file would have been replaced.
        is_same = outcome.sha256 == written.instance.file.sha256
        return self._version > 1 and is_same and outcome.blob_id not in self._committed

    async def _without_stale(self, batch: Sequence[_Waiting]) -> Sequence[_Waiting]:
        """Leave out what took so long that the sweeper might be about to remove its blobs."""
        oldest = datetime.now(UTC) - self._service.orphan_age / 2
        stale = [item for item in batch if time_of(item[1].instance.file.blob_id) < oldest]
        if not stale:
            return batch
        self._fail([number for number, _ in stale])
        await self._remove([written for _, written in stale])
        return [item for item in batch if item not in stale]

    async def _with_present_tags(self, batch: Sequence[_Waiting]) -> Sequence[_Waiting]:
        """Check anew, and leave out if need be, what was read for other tags than there are."""
        kept: list[_Waiting] = []
        refused: list[WrittenInstance] = []
        for number, written in batch:
            if written.instance.tag_values.version == self.tag_set.version:
                kept.append((number, written))
                continue
            result = await asyncio.to_thread(written.checked_again, self._check)
            if isinstance(result, RefusedInstance):
                self._outcomes[number] = _refused(result)
                refused.append(written)
            else:
                kept.append((number, result))
        await self._remove(refused)
        return kept

    def _fail(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._outcomes[number] = Failed(FailureReason.PROCESSING_FAILURE)

    async def _remove(self, written: Sequence[WrittenInstance]) -> None:
        names = [name for item in written for name in item.blob_names]
        try:
            await self._service.blobs.delete(names)
        except StoreUnavailableError:
            return  # No row names them: the sweeper removes them.


async def _beginning(body: Body) -> tuple[Sequence[Chunk], bool]:
    """A body up to the size of a small one, and whether that is all of it."""
    chunks: list[Chunk] = []
    size = 0
    async for chunk in body:
        chunks.append(chunk)
        size += len(chunk)
        if size > SMALL_BYTES:
            return chunks, False
    return chunks, True


def _unfit(error: InvalidInstanceError) -> Failed:
    path = sop_class_uid = None
    if isinstance(error, UnfitInstanceError):
        path, sop_class_uid = error.path, error.sop_class_uid
    return Failed(FailureReason.INVALID_INSTANCE, path, sop_class_uid, comment=error.message)


async def _chain(first: Sequence[Chunk], rest: Body) -> Body:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk


def _refused(result: RefusedInstance) -> Failed:
    verdict = result.verdict
    return Failed(
        FailureReason.INVALID_INSTANCE,
        verdict.path,
        _sop_class_uid(result.header),
        verdict.failures,
        is_truncated=result.header.is_truncated,
    )


def _stored(written: WrittenInstance, version: int) -> Stored:
    verdict, header = written.verdict, written.header
    problems, sentences = verdict.warnings, []
    if verdict.has_unindexed_values:
        sentences.append(_FIRST_VALUE_ONLY)
    if header.preamble is PreambleKind.EXECUTABLE:
        sentences.append(_EXECUTABLE)
        problems = (*problems, Problem(None, _EXECUTABLE)) if version > 1 else problems
    if header.is_truncated and version > 1:
        problems = (*problems, Problem(None, _TRUNCATED))
    warning = None
    if transfer_syntax(header.transfer_syntax_uid).is_implicit:
        warning = WarningReason.IMPLICIT_VR
    elif problems:
        warning = WarningReason.ATTRIBUTES
    sop_class_uid = _sop_class_uid(header) or ""
    return Stored(written.instance.path, sop_class_uid, warning, problems, tuple(sentences))


def _sop_class_uid(header: Header) -> str | None:
    first: object = value(header.document, SOP_CLASS_UID)
    return first if isinstance(first, str) else None
