"""De-identification of data sets by the basic profile and its options.

Standard: PS3.15 E.1.1, E.2 and E.3 (2026c).
"""

from pydicom import Dataset
from pydicom.sequence import Sequence

from shared.dicom.deidentification.cleaning import Cleaning, Rules
from shared.dicom.deidentification.codes import code
from shared.dicom.deidentification.profile import (
    BASIC_PROFILE,
    CLEANING,
    Option,
    Profile,
)
from shared.dicom.deidentification.pseudonyms import Pseudonyms
from shared.dicom.deidentification.table import actions
from shared.dicom.resource import ResourcePath, parse_path

_TEMPORAL = ("UNMODIFIED", "MODIFIED", "REMOVED")
"""What may have become of dates, from least to most (PS3.3 C.7.1.4, 2025b)."""

_METHODS = dict((BASIC_PROFILE, *CLEANING, *(option.value for option in Option)))

_FULL_DATES = Option.RETAIN_LONGITUDINAL_TEMPORAL_FULL_DATES
_MODIFIED_DATES = Option.RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES


class Deidentifier:
    """De-identifies instances that belong together; none is remembered."""

    def __init__(self, profile: Profile, pseudonyms: Pseudonyms) -> None:
        self._options = profile.options
        self._rules = Rules(profile.options, actions(profile.options), pseudonyms)

    def deidentify(self, dataset: Dataset) -> None:
        """Change a data set, which is without pixel data, and say in it how.

        Raises:
            Exception: One of PYDICOM_ERRORS: something cannot be read.
        """
        Cleaning(self._rules, dataset).clean()
        self._sign(dataset)

    def path(self, path: ResourcePath) -> ResourcePath:
        """What an instance, or what it belongs to, is called once it is de-identified."""
        if Option.RETAIN_UIDS in self._options:
            return path
        uids = (path.study, path.series, path.instance)
        return parse_path(*(self._rules.pseudonyms.uid(uid) for uid in uids if uid is not None))

    def _sign(self, dataset: Dataset) -> None:
        options = [option.value for option in Option if option in self._options]
        applied = {**_earlier_methods(dataset), **dict((BASIC_PROFILE, *options))}
        # Whoever has de-identified it before may have taken more from it.
        said = str(dataset.get("LongitudinalTemporalInformationModified") or "").strip()
        said = said if said in _TEMPORAL else _TEMPORAL[0]
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = ["PS3.15 Annex E, 2026c, see codes"]
        dataset.DeidentificationMethodCodeSequence = Sequence(
            code(*method) for method in applied.items()
        )
        dataset.LongitudinalTemporalInformationModified = max(
            self._temporal(), said, key=_TEMPORAL.index
        )

    def _temporal(self) -> str:
        """What becomes of dates, as a data set says it."""
        if _FULL_DATES in self._options:
            return "UNMODIFIED"
        return "MODIFIED" if _MODIFIED_DATES in self._options else "REMOVED"


def _earlier_methods(dataset: Dataset) -> dict[str, str]:
    """Methods that were applied before, as far as their codes are known; words may name somebody.

    Standard: PS3.3 C.7.1.1, De-identification Method Code Sequence (2026c).
    """
    said = dataset.get("DeidentificationMethodCodeSequence") or ()
    values = [str(item.get("CodeValue")) for item in said if _is_of_dcm(item)]
    return {value: _METHODS[value] for value in values if value in _METHODS}


def _is_of_dcm(item: Dataset) -> bool:
    return str(item.get("CodingSchemeDesignator")) == "DCM"
