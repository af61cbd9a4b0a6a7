"""Reconciliation of one study: the FHIR server is brought to tell what the archive holds now.

Nothing is replayed: whatever has happened to a study, its resources are made anew, compared with
what is there, and written in one transaction where they differ. So it may be done at any time, as
often as one likes, and by several at once.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from http import HTTPStatus
from itertools import batched
from weakref import WeakValueDictionary

from shared.errors import (
    AmbiguousIdentityError,
    DicomWebError,
    FhirConflictError,
    FhirMappingError,
    FhirRefusedError,
)
from shared.fhir.endpoint import map_endpoint
from shared.fhir.mapping_warning import MappingWarning
from shared.fhir.merge import is_same, without_ours
from shared.fhir.ownership import is_ours, mark
from shared.fhir.partition import uid_key
from shared.fhir.r5 import to_r5
from shared.fhir.reference import referring
from shared.fhir.resource import Resource
from shared.fhir.rules import DeletedStudyRule, MappingRules, SyncRules
from shared.fhir.search import FhirSearch
from shared.fhir.study_resources import map_study
from shared.ports import FhirRelease, FhirServer, FhirWrite
from shared.services.fhir_lookup import (
    endpoint_of,
    find_study,
    is_moved,
    look_up,
    observations_of,
    subject_of,
)
from shared.services.fhir_study_content import StudyContents
from shared.services.fhir_study_writes import StudyWrites
from shared.services.fhir_transaction import change, creation, removal

PERMANENT = (FhirRefusedError, FhirMappingError, AmbiguousIdentityError)
"""Errors that trying again soon does not mend: the study is put aside."""

_TRIES = 6
_PAUSE_SECONDS = 0.1
_CONFLICT = HTTPStatus.CONFLICT.value
_MAX_ENTRIES = 500


class ReconcileOutcome(Enum):
    """What was to be done."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was done about a study, and what of it could not be told."""

    outcome: ReconcileOutcome
    warnings: Sequence[MappingWarning] = ()


class _Again(Enum):
    """Others were at it too, so that it has to be looked at again."""

    AFTER_WRITING = "after writing"
    AFTER_NOTHING = "after nothing"


@dataclass(slots=True)
class Reconciliation:
    """Brings studies to a FHIR server."""

    server: FhirServer
    contents: StudyContents
    mapping: MappingRules
    rules: SyncRules
    _endpoints: dict[str, str] = field(default_factory=dict, init=False)
    _locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(
        default_factory=WeakValueDictionary, init=False
    )

    async def reconcile(self, partition_name: str, study_uid: str) -> Reconciled:
        """Bring a study to the FHIR server as it is now, or take it away if it is gone.

        Raises:
            StoreUnavailableError: A store or the server does not answer now.
            FhirAccessError: The server does not let the app in.
            FhirRefusedError: It refuses the study; FhirMappingError, AmbiguousIdentityError.
        """
        lock = self._locks.setdefault((partition_name, study_uid), asyncio.Lock())
        async with lock:
            with _saying():
                return await self._as_it_is_accepted(partition_name, study_uid)

    async def _as_it_is_accepted(self, partition: str, uid: str) -> Reconciled:
        """Bring a study to the server, without its instances where it is too large with them."""
        most = self.rules.max_instances
        try:
            return await self._until_done(partition, uid, most)
        except FhirRefusedError as error:
            if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                most = 0
            elif not await self._has_lost_endpoint(partition):
                raise
        return await self._until_done(partition, uid, most)

    async def _until_done(
        self, partition: str, uid: str, most: int, *, follows: bool = True
    ) -> Reconciled:
        """Try again as long as others change the same resources.

        `follows` sees to the patient whom the study may have left.
        """
        has_written = False
        for attempt in range(_TRIES):
            if attempt:
                pause = _PAUSE_SECONDS * 2**attempt
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - no secret
            try:
                is_last = attempt == _TRIES - 1
                done = await self._once(partition, uid, most, is_last=is_last, follows=follows)
            except FhirConflictError:
                continue
            if isinstance(done, Reconciled):
                return replace(done, outcome=ReconcileOutcome.WRITTEN) if has_written else done
            has_written = has_written or done is _Again.AFTER_WRITING
        # Others must get past it: what is in use may be refused to be deleted by this, for ever.
        raise FhirRefusedError("The FHIR server finds a conflict again and again.", _CONFLICT)

    async def _once(
        self, partition: str, uid: str, most: int, *, is_last: bool, follows: bool
    ) -> Reconciled | _Again:
        content = await self.contents.read(partition, uid, most)
        if content is None:
            return await self._take_away(partition, uid, withdraws=is_last, follows=follows)
        # Thousands of instances keep the event loop for a quarter of a second.
        resources = await asyncio.to_thread(map_study, content, self.mapping)
        endpoint = await self._endpoint(partition)
        existing = await look_up(self.server, resources, self.mapping)
        writes = StudyWrites(
            resources=resources,
            existing=existing,
            endpoint=endpoint,
            partition_name=partition,
            is_r5=await self.server.release() is FhirRelease.R5,
            mapping=self.mapping,
            rules=self.rules,
        )
        warnings, changes = writes.warnings(), writes.changes()
        study = existing.found.get(resources.imaging_study.full_url)
        if changes and follows and is_moved(study, resources, existing):
            await self._follow(subject_of(study), partition, uid)
        done = await self._written(changes) if changes else ReconcileOutcome.UNCHANGED
        return done if isinstance(done, _Again) else Reconciled(done, warnings)

    async def _follow(self, left: str | None, partition: str, uid: str) -> None:
        """Have a Patient whom a study leaves be as his other studies say, before it leaves.

        He may be known as what only this study said, and none of them will be told for its sake.
        """
        patient = None if left is None else await self.server.read(left)
        if patient is None or not is_ours(patient, self.mapping):
            return
        for identifier in patient.get("identifier", ()):
            value = str(identifier.get("value", ""))
            other = await self.contents.newest_of_patient(partition, value, but=uid)
            if other is not None:
                with suppress(*PERMANENT):
                    await self._until_done(*other, self.rules.max_instances, follows=False)

    async def _written(self, writes: Sequence[FhirWrite]) -> ReconcileOutcome | _Again:
        """Make changes, in as many transactions as it takes."""
        again = _Again.AFTER_NOTHING
        while writes:
            first = self._first(writes)
            done = list(zip(first, await self.server.write(first), strict=True))
            found = [bool(one.if_none_exist) and made.status == HTTPStatus.OK for one, made in done]
            if not all(found):
                again = _Again.AFTER_WRITING
            if any(found):
                return again  # Somebody was there first.
            told = {one.full_url: made.reference for one, made in done if one.full_url}
            made = {url: reference for url, reference in told.items() if reference}
            writes = [
                replace(one, resource=referring(one.resource, made)) for one in writes[len(first) :]
            ]
            if writes and len(made) < len(told):
                return again  # It does not tell what it has made, which has to be looked up.
        return ReconcileOutcome.WRITTEN

    def _first(self, writes: Sequence[FhirWrite]) -> Sequence[FhirWrite]:
        """As many changes as one transaction may have; what others depend on comes first."""
        is_conditional = any(write.if_none_exist is not None for write in writes)
        most = self.rules.max_conditional_entries if is_conditional else _MAX_ENTRIES
        return writes[:most]

    async def _endpoint(self, partition: str) -> str:
        """The reference to the Endpoint of a partition, which is made where it is not found."""
        known = self._endpoints.get(partition)
        if known is not None:
            return known
        proposed = map_endpoint(partition, self.mapping)
        search = FhirSearch.by_identifier("Endpoint", proposed.key)
        for _ in range(2):
            [answer] = await self.server.search([search])
            found = endpoint_of(proposed, answer, self.mapping)
            if found is not None:
                self._endpoints[partition] = found
                return found
            resource = mark(proposed.resource, partition, self.mapping)
            if await self.server.release() is FhirRelease.R5:
                resource = to_r5(resource)
            [written] = await self.server.write([creation(proposed, resource)])
            if written.reference is not None:
                self._endpoints[partition] = written.reference
                return written.reference
        raise FhirConflictError("The Endpoint that was made is not found.")

    async def _has_lost_endpoint(self, partition: str) -> bool:
        """Whether the Endpoint of a partition, which has been found earlier, is not there now."""
        known = self._endpoints.pop(partition, None)
        return known is not None and await self.server.read(known) is None

    async def _take_away(
        self, partition: str, uid: str, *, withdraws: bool, follows: bool
    ) -> Reconciled:
        """Tell of a study that is gone, as the rules say.

        Some servers let nothing be deleted that others refer to; it can be withdrawn, though.
        """
        rule = self.rules.deleted_studies
        if withdraws and rule is DeletedStudyRule.DELETE:
            rule = DeletedStudyRule.ENTERED_IN_ERROR
        study = await find_study(self.server, uid_key(partition, uid, self.mapping), self.mapping)
        if study is None or rule is DeletedStudyRule.KEEP:
            return Reconciled(ReconcileOutcome.UNCHANGED)
        observations = [
            one for one in await observations_of(self.server, study) if is_ours(one, self.mapping)
        ]
        left = without_ours(study, await self._endpoint(partition), self.mapping)
        writes = _removals(study, left, observations, rule)
        if not writes:
            return Reconciled(ReconcileOutcome.UNCHANGED)
        if follows:
            await self._follow(subject_of(study), partition, uid)
        for some in batched(writes, _MAX_ENTRIES, strict=False):
            await self.server.write(some)
        return Reconciled(ReconcileOutcome.WRITTEN)


def _removals(
    study: Resource,
    left: Resource | None,
    observations: Sequence[Resource],
    rule: DeletedStudyRule,
) -> Sequence[FhirWrite]:
    """What takes away a study, of which so much is left as is somebody else's."""
    if left is None and rule is not DeletedStudyRule.DELETE:
        return [
            change({**one, "status": rule.value}, one)
            for one in (*observations, study)
            if one.get("status") != rule.value
        ]
    writes = [removal(one) for one in observations]
    if left is None:
        writes.append(removal(study))
    elif not is_same(left, study):
        writes.append(change(left, study))
    return writes


@contextmanager
def _saying() -> Iterator[None]:
    """Whatever a data set holds, or a resource of others, only its own study fails by it."""
    try:
        yield
    except DicomWebError:
        raise
    except Exception as error:
        raise FhirMappingError("The study cannot be said in FHIR.") from error
