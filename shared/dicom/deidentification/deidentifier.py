"""De-identification of data sets by the basic profile and its options.

What is not known to be harmless goes: private attributes, and what the dictionary does not know or
cannot be read as it says.

Standard: PS3.15 E.1.1, E.2 and E.3 (2026c).
"""

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence

from shared.dicom.deidentification.dummies import dummy
from shared.dicom.deidentification.profile import (
    BASIC_PROFILE,
    CLEANING,
    Option,
    Profile,
)
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.dicom.deidentification.safe_private import is_safe_private
from shared.dicom.deidentification.table import Action, actions
from shared.dicom.deidentification.untabled import action_beside_table
from shared.dicom.dictionary import known_vr, vr_of
from shared.dicom.pydicom_reading import stored
from shared.dicom.resource import ResourcePath, parse_path

_PATIENT_NAME, _PATIENT_ID, _CONTENT_SEQUENCE = 0x00100010, 0x00100020, 0x0040A730
_PSEUDONYMS = {_PATIENT_NAME, _PATIENT_ID}
_META_GROUP = 0x0002
_GRAPHICS = (0x50, 0x60)
"""Curves and overlays: what is drawn or written over the image."""

_DATES = {"DA", "DT"}

_TEMPORAL = ("UNMODIFIED", "MODIFIED", "REMOVED")
"""What may have become of dates, from least to most (PS3.3 C.7.1.4, 2025b)."""

_METHODS = dict((BASIC_PROFILE, *CLEANING, *(option.value for option in Option)))

_FULL_DATES = Option.RETAIN_LONGITUDINAL_TEMPORAL_FULL_DATES
_MODIFIED_DATES = Option.RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES


class Deidentifier:
    """De-identifies instances that belong together; none is remembered."""

    def __init__(self, profile: Profile, pseudonyms: Pseudonyms) -> None:
        self._options = profile.options
        self._actions = actions(profile.options)
        self._pseudonyms = pseudonyms
        self._patient = ("", "")

    def deidentify(self, dataset: Dataset) -> None:
        """Change a data set, which is without pixel data, and say in it how.

        Raises:
            Exception: One of PYDICOM_ERRORS: something cannot be read.
        """
        self._patient = (
            str(dataset.get("PatientID") or "").strip(),
            str(dataset.get("IssuerOfPatientID") or "").strip(),
        )
        self._clean(dataset)
        self._sign(dataset)

    def path(self, path: ResourcePath) -> ResourcePath:
        """What an instance, or what it belongs to, is called once it is de-identified."""
        if Option.RETAIN_UIDS in self._options:
            return path
        uids = (path.study, path.series, path.instance)
        return parse_path(*(self._uid(uid) for uid in uids if uid is not None))

    def _clean(self, dataset: Dataset) -> None:
        kept_private = self._safe_private(dataset)
        for tag in list(dataset.keys()):
            if tag in kept_private:
                continue
            vr = None if tag.is_private else self._vr(dataset, tag)
            if vr is None:
                del dataset[tag]
            else:
                self._act(dataset, tag, vr)

    def _safe_private(self, dataset: Dataset) -> set[int]:
        """The private attributes that may stay, with their creators."""
        if Option.RETAIN_SAFE_PRIVATE not in self._options:
            return set()
        kept = set()
        for tag in [tag for tag in dataset.keys() if tag.is_private and tag.element > 0xFF]:  # noqa: PLR2004, SIM118
            creator_tag = (tag.group << 16) | (tag.element >> 8)
            creator = str(dataset[creator_tag].value) if creator_tag in dataset else ""
            if is_safe_private(creator.strip(), tag) and dataset[tag].VR != "SQ":
                kept |= {int(tag), creator_tag}
        return kept

    def _vr(self, dataset: Dataset, tag: int) -> str | None:
        """The VR of an attribute, None for one that nobody can judge."""
        group, element = tag >> 16, tag & 0xFFFF
        known = known_vr(tag)
        is_of_other_place = not element or group <= _META_GROUP or group >> 8 in _GRAPHICS
        if known is None or is_of_other_place:
            return None
        item = stored(dataset, tag)
        vr = vr_of(tag, item.VR, item.length) if isinstance(item, RawDataElement) else str(item.VR)
        if (known == "SQ") is not (vr == "SQ"):
            return None
        return vr if known != "UI" or vr == "UI" else None

    def _act(self, dataset: Dataset, tag: int, vr: str) -> None:
        action = self._actions.get(tag) or action_beside_table(tag, {vr}, self._options)
        match action:
            case Action.REMOVE:
                del dataset[tag]
            case Action.KEEP:
                self._keep(dataset, tag, vr)
            case Action.EMPTY if tag not in _PSEUDONYMS:
                dataset[tag] = DataElement(tag, vr, [] if vr == "SQ" else None)
            case Action.REPLACE_UIDS:
                self._replace_uids(dataset, tag)
            case Action.SHIFT:
                self._shift(dataset, tag, vr)
            case _:
                self._replace(dataset, tag, vr)

    def _keep(self, dataset: Dataset, tag: int, vr: str) -> None:
        if vr != "SQ":
            return
        for item in _items(dataset, tag):
            self._clean(item)

    def _replace_uids(self, dataset: Dataset, tag: int) -> None:
        dataset[tag] = DataElement(tag, "UI", [self._uid(uid) for uid in _texts(dataset, tag)])

    def _shift(self, dataset: Dataset, tag: int, vr: str) -> None:
        """Move dates; times of day stay."""
        if vr == "TM":
            return
        moved = [
            self._pseudonyms.shifted(value, *self._patient) if value else ""
            for value in _texts(dataset, tag)
        ]
        if vr not in _DATES or None in moved:
            self._replace(dataset, tag, vr)
        else:
            dataset[tag] = DataElement(tag, vr, moved)

    def _replace(self, dataset: Dataset, tag: int, vr: str) -> None:
        if tag in _PSEUDONYMS:
            dataset[tag] = DataElement(tag, vr, self._pseudonym(dataset, tag))
        elif tag == _CONTENT_SEQUENCE:
            dataset[tag] = DataElement(tag, vr, [_nothing_said()])
        elif vr == "SQ":
            for item in _items(dataset, tag):
                self._replace_all(item)
        elif vr == "UI":
            self._replace_uids(dataset, tag)
        else:
            plain = vr.partition(" or ")[0]
            dataset[tag] = DataElement(tag, plain, dummy(plain))

    def _replace_all(self, item: Dataset) -> None:
        """Make an item of dummies, as its sequence may be neither empty nor kept."""
        for tag in list(item.keys()):
            vr = None if tag.is_private else self._vr(item, tag)
            if vr is None or self._actions.get(tag) is Action.REMOVE:
                del item[tag]
            else:
                self._replace(item, tag, vr)

    def _pseudonym(self, dataset: Dataset, tag: int) -> str:
        """Of the patient whose ID stands beside a name, if there is one, else of the instance's."""
        if tag == _PATIENT_NAME:
            return self._pseudonyms.patient(*self._patient)
        return self._pseudonyms.patient(_texts(dataset, tag)[0].strip(), self._patient[1])

    def _uid(self, uid: str) -> str:
        return self._pseudonyms.uid(uid.strip(" \0"))

    def _sign(self, dataset: Dataset) -> None:
        options = [option.value for option in Option if option in self._options]
        applied = {**_earlier_methods(dataset), **dict((BASIC_PROFILE, *options))}
        # Whoever has de-identified it before may have taken more from it.
        said = str(dataset.get("LongitudinalTemporalInformationModified") or "").strip()
        said = said if said in _TEMPORAL else _TEMPORAL[0]
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = ["PS3.15 Annex E, 2026c, see codes"]
        dataset.DeidentificationMethodCodeSequence = Sequence(
            _code(*code) for code in applied.items()
        )
        dataset.LongitudinalTemporalInformationModified = max(
            self._temporal(), said, key=_TEMPORAL.index
        )

    def _temporal(self) -> str:
        """What becomes of dates, as a data set says it."""
        if _FULL_DATES in self._options:
            return "UNMODIFIED"
        return "MODIFIED" if _MODIFIED_DATES in self._options else "REMOVED"


def _items(dataset: Dataset, tag: int) -> Sequence:
    items = dataset[tag].value
    if not isinstance(items, Sequence):
        raise TypeError("a sequence that has no items")
    return items


def _texts(dataset: Dataset, tag: int) -> list[str]:
    value = dataset[tag].value
    values = [value] if isinstance(value, str) or value is None else list(value)
    return [str(one or "") for one in values] or [""]


def _earlier_methods(dataset: Dataset) -> dict[str, str]:
    """Methods that were applied before, as far as their codes are known; words may name somebody.

    Standard: PS3.3 C.7.1.1, De-identification Method Code Sequence (2026c).
    """
    said = dataset.get("DeidentificationMethodCodeSequence") or ()
    values = [str(item.get("CodeValue")) for item in said if _is_of_dcm(item)]
    return {value: _METHODS[value] for value in values if value in _METHODS}


def _is_of_dcm(code: Dataset) -> bool:
    return str(code.get("CodingSchemeDesignator")) == "DCM"


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = meaning
    return code


def _nothing_said() -> Dataset:
    """A content item that stands for all of a document."""
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = Sequence([_code("121106", "Comment")])
    item.TextValue = str(dummy("UT"))
    return item
