"""What of a data set could not be said in FHIR."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class MappingWarning:
    """An attribute that was left out or changed.

    Attributes:
        tag: Eight upper-case hexadecimal digits.
        reason: One sentence; it never quotes a value.
        uid: Of the series or instance that it was found in, empty for the study.
    """

    tag: str
    reason: str
    uid: str = ""
