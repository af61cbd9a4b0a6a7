"""New heads for the instances of studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from shared.dicom.uid import Uid
from shared.ports.instances import (
    NewInstance,
    Partition,
)


@dataclass(frozen=True, slots=True)
class UpdatedInstance:
    """An instance with a new head, whose blobs are written.

    `watermark` is that of the version which the head was made from.
    """

    watermark: int
    head_id: str
    instance: NewInstance


@dataclass(frozen=True, slots=True)
class UpdateProgress:
    """How far an operation is before and after a study; `before` is empty at its beginning."""

    operation_id: str
    before: Mapping[str, Any]
    results: Mapping[str, Any]
    percent_complete: int


class UpdateOutcome(Enum):
    """What became of the commit of an updated study."""

    COMMITTED = "committed"
    OVERTAKEN = "overtaken"
    """The study is another one than the heads were made for, or they may be gone."""
    ENDED = "ended"
    """The operation has ended, or another run of it has done the study."""


class StudyUpdates(Protocol):
    """New heads for the instances of studies."""

    async def prepare(self, head_ids: Sequence[str], until: datetime) -> None:
        """Let the blobs of heads that will be written wait for their removal (UTC).

        So they are removed if no commit takes them before, whatever happens.
        """

    async def commit(
        self,
        partition: Partition,
        study_uid: Uid,
        updated: Sequence[UpdatedInstance],
        progress: UpdateProgress,
        superseded_until: datetime,
    ) -> UpdateOutcome:
        """Put heads in place and note the progress of their operation, in one transaction.

        Nothing is changed unless `updated` is the whole study as it is now. The heads that are
        superseded wait until then (UTC) for their removal; the files as stored stay.

        Raises:
            TagSetChangedError: As with Index.commit.
        """
