"""What becomes of each attribute of a data set and of the items in it.

What is not known to be harmless goes: private attributes, and what the dictionary does not know or
cannot be read as it says.

Standard: PS3.15 E.1.1 and E.3 (2026c).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from shared.dicom.deidentification.codes import code
from shared.dicom.deidentification.dummies import dummy
from shared.dicom.deidentification.moments import MOMENTS, has_words, is_time
from shared.dicom.deidentification.profile import Option
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.dicom.deidentification.safe_private import is_safe_private
from shared.dicom.deidentification.table import Action
from shared.dicom.deidentification.untabled import action_beside_table
from shared.dicom.dictionary import known_vr, vr_of
from shared.dicom.pydicom_reading import stored

type Patient = tuple[str, str]
"""An ID and its issuer."""
NOBODY: Patient = ("", "")

_PATIENT_NAME, _PATIENT_ID, _CONTENT_SEQUENCE = 0x00100010, 0x00100020, 0x0040A730
_PSEUDONYMS = {_PATIENT_NAME, _PATIENT_ID}
_META_GROUP = 0x0002
_GRAPHICS = (0x50, 0x60)
"""Curves and overlays: what is drawn or written over the image."""

_DATES = {"DA", "DT"}
_NEVER_SAFE = MOMENTS | {"SQ", "PN", "UI", "LT", "ST", "UC", "UR", "UT"}
"""VRs that no private attribute has which is safe, whatever its sender writes into it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is done in all data sets of one export; actions are those of the table."""

    options: frozenset[Option]
    actions: Mapping[int, Action]
    pseudonyms: Pseudonyms

    def action(self, tag: int, vrs: set[str]) -> Action:
        """What is done to an attribute that has these VRs, as it is written and as it should be."""
        return self.actions.get(tag) or action_beside_table(tag, vrs, self.options)


class Cleaning:
    """A data set, or an item, that is under way to say nothing of anybody."""

    def __init__(self, rules: Rules, dataset: Dataset, around: Patient = NOBODY) -> None:
        self._rules = rules
        self._dataset = dataset
        self._patient = _patient(dataset, around)

    def clean(self) -> None:
        """Do to each attribute what becomes of it."""
        kept_private = self._safe_private()
        for tag in list(self._dataset.keys()):
            if tag in kept_private:
                continue
            vrs = self._vrs(tag)
            if vrs is None:
                del self._dataset[tag]
            else:
                self._act(tag, *vrs)

    def replace_all(self) -> None:
        """Make dummies of all, in an item whose sequence may be neither empty nor kept."""
        for tag in list(self._dataset.keys()):
            vrs = self._vrs(tag)
            if vrs is None or self._rules.action(tag, set(vrs)) is Action.REMOVE:
                del self._dataset[tag]
            else:
                self._replace(tag, vrs[0])

    def _safe_private(self) -> set[int]:
        """The private attributes that may stay, with their creators."""
        dataset, kept = self._dataset, set[int]()
        if Option.RETAIN_SAFE_PRIVATE not in self._rules.options:
            return kept
        for tag in [tag for tag in dataset.keys() if tag.is_private and tag.element > 0xFF]:  # noqa: PLR2004, SIM118
            creator_tag = (tag.group << 16) | (tag.element >> 8)
            creator = str(dataset[creator_tag].value) if creator_tag in dataset else ""
            if is_safe_private(creator.strip(), tag) and dataset[tag].VR not in _NEVER_SAFE:
                kept |= {int(tag), creator_tag}
        return kept

    def _vrs(self, tag: int) -> tuple[str, str] | None:
        """The VR of an attribute and that of the dictionary, None for one that nobody can judge."""
        group, element = tag >> 16, tag & 0xFFFF
        known = None if group & 1 else known_vr(tag)
        is_of_other_place = not element or group <= _META_GROUP or group >> 8 in _GRAPHICS
        if known is None or is_of_other_place:
            return None
        item = stored(self._dataset, tag)
        vr = vr_of(tag, item.VR, item.length) if isinstance(item, RawDataElement) else str(item.VR)
        if (known == "SQ") is not (vr == "SQ"):
            return None
        return (vr, known) if known != "UI" or vr == "UI" else None

    def _act(self, tag: int, vr: str, known: str) -> None:
        match self._rules.action(tag, {vr, known}):
            case Action.REMOVE:
                del self._dataset[tag]
            case Action.KEEP:
                self._keep(tag, vr, known)
            case Action.EMPTY if tag not in _PSEUDONYMS:
                self._put(tag, vr, [] if vr == "SQ" else None)
            case Action.REPLACE_UIDS:
                self._replace_uids(tag)
            case Action.SHIFT:
                self._shift(tag, vr, known)
            case _:
                self._replace(tag, vr)

    def _keep(self, tag: int, vr: str, known: str) -> None:
        if vr == "SQ":
            for item in self._items(tag):
                item.clean()
        elif known in MOMENTS and any(map(has_words, self._texts(tag))):
            self._replace(tag, vr)

    def _replace_uids(self, tag: int) -> None:
        uids = (uid.strip(" \0") for uid in self._texts(tag))
        self._put(tag, "UI", [self._rules.pseudonyms.uid(uid) for uid in uids])

    def _shift(self, tag: int, vr: str, known: str) -> None:
        """Move dates; times of day stay."""
        texts = self._texts(tag)
        if vr == known == "TM" and all(is_time(text) for text in texts if text):
            return
        shifted = self._rules.pseudonyms.shifted
        moved = [shifted(text, *self._patient) if text else "" for text in texts]
        if not {vr, known} <= _DATES or None in moved:
            self._replace(tag, vr)
        else:
            self._put(tag, vr, moved)

    def _replace(self, tag: int, vr: str) -> None:
        if tag in _PSEUDONYMS:
            is_told = any(text.strip() for text in self._texts(tag))
            pseudonym = self._rules.pseudonyms.patient(*self._patient) if is_told else ""
            self._put(tag, vr, pseudonym)
        elif tag == _CONTENT_SEQUENCE:
            self._put(tag, vr, [_nothing_said()])
        elif vr == "SQ":
            for item in self._items(tag):
                item.replace_all()
        elif vr == "UI":
            self._replace_uids(tag)
        else:
            plain = vr.partition(" or ")[0]
            self._put(tag, plain, dummy(plain))

    def _put(self, tag: int, vr: str, value: object) -> None:
        self._dataset[tag] = DataElement(tag, vr, value)

    def _items(self, tag: int) -> list["Cleaning"]:
        items = self._dataset[tag].value
        if not isinstance(items, Sequence):
            raise TypeError("a sequence that has no items")
        return [Cleaning(self._rules, item, self._patient) for item in items]

    def _texts(self, tag: int) -> list[str]:
        value = self._dataset[tag].value
        values = value if isinstance(value, MultiValue | list) else [value]
        return [str(one or "") for one in values] or [""]


def _patient(dataset: Dataset, around: Patient) -> Patient:
    """Whom a data set is of: an item that names nobody is of the one around it."""
    patient_id = str(dataset.get("PatientID") or "").strip()
    issuer = str(dataset.get("IssuerOfPatientID") or "").strip()
    is_same = patient_id == around[0] and not issuer
    return (patient_id, issuer) if patient_id and not is_same else around


def _nothing_said() -> Dataset:
    """A content item that stands for all of a document."""
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = Sequence([code("121106", "Comment")])
    item.TextValue = str(dummy("UT"))
    return item
