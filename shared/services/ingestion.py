"""Ingestion: files that arrive in the inbox are taken into the archive as Store takes them.

What a file needs is done in an order that lets it be killed at any moment and called again: the
instance is in the index, or the refused file and the reason lie aside, and the result is noted,
before the file leaves the inbox.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import batched
from time import monotonic

import orjson

from shared.dicomweb.store_report import Failed, FailureReason, Stored, StoreOutcome
from shared.errors import (
    BlobNotFoundError,
    ConflictError,
    DicomWebError,
    InboxFileError,
    InvalidRequestError,
    PayloadTooLargeError,
    StoreUnavailableError,
)
from shared.ports import DEFAULT_PARTITION_NAME, Inbox, InboxFile, Partition
from shared.services.ingest_results import IngestResult, IngestResults, IngestStatus, result_id
from shared.services.partitions import Partitions
from shared.services.store import Store
from shared.telemetry import Measure, Telemetry

WAITS_AT_MOST = timedelta(minutes=10)
"""A file that lies in the inbox for longer has been overlooked, or given up in an outage."""

_VERSION = 2
_MOST_PER_RUN = 500
_AT_ONCE = 8
_LONGEST_RUN_SECONDS = 240.0
_MOST_ATTEMPTS = 5
_MOST_SENTENCES = 20

_SENTENCES = {
    FailureReason.ALREADY_STORED: "Another file is stored of this SOP Instance UID.",
    FailureReason.PROCESSING_FAILURE: "The file could not be stored.",
    FailureReason.INVALID_INSTANCE: "The file is not a valid instance.",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PartitionFolders:
    """Whether the first folder of a file in the inbox names its partition, and must be there."""

    are_served: bool
    are_required: bool


class Ingestion:
    """Takes files of the inbox into the archive, each once, and tells what became of them."""

    def __init__(  # noqa: PLR0913
        self,
        inbox: Inbox,
        store: Store,
        partitions: Partitions,
        results: IngestResults,
        *,
        folders: PartitionFolders,
        max_file_bytes: int,
        telemetry: Telemetry,
    ) -> None:
        self._inbox = inbox
        self._store = store
        self._partitions = partitions
        self._results = results
        self._folders = folders
        self._max_file_bytes = max_file_bytes
        self._telemetry = telemetry

    async def ingest(self, name: str) -> IngestResult | None:
        """Take in a file, and tell what became of it.

        None stands for one that is not there any more, as an earlier call has taken it in, or not
        yet: it is still being written, or ends too early and may go on.

        Raises:
            StoreUnavailableError, InboxFileError: Nothing has become of it yet, and it stays where
                it is.
        """
        return await self._take_in(name, waits=True)

    async def _take_in(self, name: str, *, waits: bool) -> IngestResult | None:
        try:
            file, chunks = await self._inbox.open(name)
            partition_name, outcome = await self._stored(file, chunks)
            if isinstance(outcome, Failed) and outcome.is_truncated and waits:
                _log.warning("inbox: a file ends before its last value does, and waits")
                return None
            return await self._settle(file, partition_name, outcome)
        except BlobNotFoundError:
            _log.info("inbox: a file was gone or being written before it was taken in")
            return None

    async def ingest_overlooked(self, now: datetime) -> int:
        """Take in what has waited too long, a bounded number of files, and tell how many.

        A file that keeps failing unexpectedly, ends too early or ends the process is set aside in
        the end; the time of an outage does not count.

        Raises:
            StoreUnavailableError: The archive or the inbox did not answer for one of them at least.
        """
        until, done = monotonic() + _LONGEST_RUN_SECONDS, 0
        outages: Sequence[StoreUnavailableError] = ()
        for files in batched(await self._overlooked(now - WAITS_AT_MOST), _AT_ONCE, strict=False):
            if monotonic() > until:
                break
            ends = await asyncio.gather(*map(self._try_again, files), return_exceptions=True)
            done += len(files)
            met = _outages(ends)
            outages = outages or met
            if len(met) == len(files):
                break  # What answers to none will not answer to the next ones.
        if done:
            _log.warning("inbox: %d files had waited too long", done)
        if outages:
            raise outages[0]
        return done

    async def _overlooked(self, before: datetime) -> Sequence[InboxFile]:
        found: list[InboxFile] = []
        async for file in self._inbox.list():
            if file.changed <= before:
                found.append(file)
            if len(found) == _MOST_PER_RUN:
                break
        return found

    async def _try_again(self, file: InboxFile) -> None:
        id_ = result_id(file.name)
        known, row = await self._results.find(id_)
        attempts = 0 if known is None or known.version != file.version else known.attempts
        partition_name = (
            await self._partition_name(file.name) if known is None else known.partition_name
        )
        if attempts >= _MOST_ATTEMPTS:
            await self._settle(file, partition_name, Failed(FailureReason.PROCESSING_FAILURE))
            return
        waiting = IngestResult(
            id=id_,
            partition_name=partition_name,
            status=IngestStatus.WAITING,
            at=datetime.now(UTC),
            version=file.version,
            attempts=attempts + 1,
        )
        try:
            # Before it is tried, as it may end the process.
            await self._results.put(waiting, if_version=row)
        except ConflictError:
            return  # The trigger has just taken it in.
        try:
            await self._take_in(file.name, waits=attempts + 1 < _MOST_ATTEMPTS)
        except StoreUnavailableError:
            await self._results.put(replace(waiting, attempts=attempts))
            raise

    async def _stored(
        self, file: InboxFile, chunks: AsyncIterator[bytes]
    ) -> tuple[str, StoreOutcome]:
        partition_name = DEFAULT_PARTITION_NAME
        try:
            partition = await self._partition(file.name)
            partition_name = partition.name
            if file.length > self._max_file_bytes:
                raise PayloadTooLargeError(
                    f"An instance may have {self._max_file_bytes} bytes at most."
                )
            report = await self._store.store(
                partition, _only(chunks), version=_VERSION, must_be_whole=True
            )
        except (BlobNotFoundError, InboxFileError, StoreUnavailableError):
            raise
        except DicomWebError as error:
            failed = Failed(FailureReason.PROCESSING_FAILURE, comment=error.message)
            return partition_name, failed
        return partition_name, report.outcomes[0]

    async def _partition(self, name: str) -> Partition:
        folder, slash, _ = name.partition("/")
        if not (slash and self._folders.are_served):
            if self._folders.are_required:
                raise InvalidRequestError("The file lies in no folder that names its partition.")
            return await self._partitions.resolve(None, create=True)
        return await self._partitions.resolve(folder, create=True)

    async def _partition_name(self, name: str) -> str:
        try:
            return (await self._partition(name)).name
        except InvalidRequestError:
            return DEFAULT_PARTITION_NAME

    async def _settle(
        self, file: InboxFile, partition_name: str, outcome: StoreOutcome
    ) -> IngestResult:
        result = IngestResult(
            id=result_id(file.name),
            partition_name=partition_name,
            status=_status(outcome),
            at=datetime.now(UTC),
            version=file.version,
            path=outcome.path if isinstance(outcome, Stored) else None,
            reason=outcome.warning if isinstance(outcome, Stored) else outcome.reason,
            sentences=_sentences(outcome),
        )
        await self._tell(result)
        if isinstance(outcome, Stored):
            lag = (result.at - file.changed).total_seconds()
            self._telemetry.measure(Measure.INGEST_LAG, max(0.0, lag))
        try:
            await self._clear(file, result)
        except InboxFileError:
            _log.warning("inbox: a file was dealt with, but may not be moved or removed")
        return result

    async def _clear(self, file: InboxFile, result: IngestResult) -> None:
        if result.status is IngestStatus.FAILED:
            await self._inbox.set_aside(file, _reason(result))
        else:
            await self._inbox.remove(file)

    async def _tell(self, result: IngestResult) -> None:
        """Note a result, but not that a file is a duplicate of itself, as overlapping calls see."""
        if result.status is not IngestStatus.DUPLICATE:
            await self._results.put(result)
            return
        known, row = await self._results.find(result.id)
        if known is None or known.version != result.version or known.status is IngestStatus.WAITING:
            with suppress(ConflictError):
                await self._results.put(result, if_version=row)


async def _only[T](item: T) -> AsyncIterator[T]:
    yield item


def _outages(ends: Sequence[BaseException | None]) -> Sequence[StoreUnavailableError]:
    """The outages that files met; of all else that ended them a line is left."""
    for error in ends:
        if error is not None and not isinstance(error, StoreUnavailableError):
            _log.error("inbox: a file cannot be taken in", exc_info=error)
    return [error for error in ends if isinstance(error, StoreUnavailableError)]


def _status(outcome: StoreOutcome) -> IngestStatus:
    if isinstance(outcome, Failed):
        return IngestStatus.FAILED
    return IngestStatus.DUPLICATE if outcome.is_duplicate else IngestStatus.STORED


def _sentences(outcome: StoreOutcome) -> tuple[str, ...]:
    if isinstance(outcome, Stored):
        return outcome.sentences
    comments = [outcome.comment] if outcome.comment is not None else []
    comments += [problem.comment for problem in outcome.problems[:_MOST_SENTENCES]]
    return tuple(comments) or (_SENTENCES[outcome.reason],)


def _reason(result: IngestResult) -> bytes:
    """Why a file was refused, as the report of Store says it."""
    return orjson.dumps(
        {"reason": result.reason, "sentences": result.sentences, "at": result.at},
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
