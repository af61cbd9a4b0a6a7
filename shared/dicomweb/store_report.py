"""What the answer to a Store request says of each instance.

Standard: PS3.18 10.5.3 and Annex I (2025b); reason codes that the Standard lacks: reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from shared.dicom.json_model import Document, Element
from shared.dicom.resource import ResourcePath
from shared.dicom.validation import Problem

_ERROR_COMMENT_LENGTH = 1024


class FailureReason(IntEnum):
    """Why an instance was not stored (0008,1197)."""

    PROCESSING_FAILURE = 0x0110
    INVALID_INSTANCE = 0xA900
    ALREADY_STORED = 0xB00E


class WarningReason(IntEnum):
    """What was odd about an instance that was stored (0008,1196)."""

    ATTRIBUTES = 0x0001
    IMPLICIT_VR = 0xB007


class StoreResult(Enum):
    """The outcome of a whole request, by which its status is chosen (10.5.3.1)."""

    NOTHING_SENT = "nothing sent"
    STORED = "stored"
    STORED_IN_PART = "stored in part"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is now in the archive.

    Attributes:
        sentences: What the Warning header says of it.
        is_duplicate: Whether an earlier request had stored the very same file.
    """

    path: ResourcePath
    sop_class_uid: str
    warning: WarningReason | None = None
    problems: tuple[Problem, ...] = ()
    sentences: tuple[str, ...] = ()
    is_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """An instance that was not stored; path and class are None when they cannot be told.

    Attributes:
        is_truncated: Whether its file ends before its last value does.
    """

    reason: FailureReason
    path: ResourcePath | None = None
    sop_class_uid: str | None = None
    problems: tuple[Problem, ...] = ()
    comment: str | None = None
    is_truncated: bool = False


type StoreOutcome = Stored | Failed


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The outcomes of a request, in the order of its parts."""

    outcomes: Sequence[StoreOutcome]
    study: ResourcePath | None = None

    def result(self, version: int) -> StoreResult:
        """Whether all, some or none were stored; in v2 a warning counts as in part."""
        stored = [outcome for outcome in self.outcomes if isinstance(outcome, Stored)]
        if not self.outcomes:
            return StoreResult.NOTHING_SENT
        if not stored:
            return StoreResult.REFUSED
        warned = version > 1 and any(outcome.warning is not None for outcome in stored)
        if len(stored) < len(self.outcomes) or warned:
            return StoreResult.STORED_IN_PART
        return StoreResult.STORED

    @property
    def sentences(self) -> Sequence[str]:
        """What the Warning header of the answer says, each sentence once."""
        stored = (outcome for outcome in self.outcomes if isinstance(outcome, Stored))
        return tuple(dict.fromkeys(text for outcome in stored for text in outcome.sentences))

    def document(self, version: int, base_url: str) -> Document:
        """The data set of the answer (PS3.18 Tables 10.5.3-1 and I.2-1); URLs below `base_url`."""
        stored = [outcome for outcome in self.outcomes if isinstance(outcome, Stored)]
        failed = [outcome for outcome in self.outcomes if isinstance(outcome, Failed)]
        document: Document = {}
        if self.study is not None and stored:
            document["00081190"] = _element("UR", f"{base_url}/{self.study}")
        if failed:
            document["00081198"] = {"vr": "SQ", "Value": [_failed(item) for item in failed]}
        if stored:
            items = [_stored(item, version, base_url) for item in stored]
            document["00081199"] = {"vr": "SQ", "Value": items}
        return document


def _element(vr: str, value: str | int) -> Element:
    return {"vr": vr, "Value": [value]}


def _stored(outcome: Stored, version: int, base_url: str) -> Document:
    item: Document = {
        "00081150": _element("UI", outcome.sop_class_uid),
        "00081155": _element("UI", outcome.path.instance or ""),
        "00081190": _element("UR", f"{base_url}/{outcome.path}"),
    }
    if outcome.warning is not None:
        item["00081196"] = _element("US", outcome.warning)
    if version > 1:
        item["00741048"] = _problems(outcome.problems)
    return item


def _failed(outcome: Failed) -> Document:
    item: Document = {}
    if outcome.sop_class_uid is not None:
        item["00081150"] = _element("UI", outcome.sop_class_uid)
    if outcome.path is not None and outcome.path.instance is not None:
        item["00081155"] = _element("UI", outcome.path.instance)
    item["00081197"] = _element("US", outcome.reason)
    if outcome.comment is not None:
        item["00000902"] = _element("LO", outcome.comment)
    if outcome.problems:
        item["00741048"] = _problems(outcome.problems)
    return dict(sorted(item.items()))


def _problems(problems: Sequence[Problem]) -> Element:
    items = [
        {"00000902": _element("LO", problem.comment[:_ERROR_COMMENT_LENGTH])}
        for problem in problems
    ]
    return {"vr": "SQ", "Value": items}
