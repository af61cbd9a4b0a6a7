"""The Basic Application Level Confidentiality Profile and the options that are offered.

Options that clean texts, graphics or pixels are not: somebody would have to read and see them.

Standard: PS3.15 Annex E, PS3.16 CID 7050 (2026c).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from shared.errors import InvalidRequestError

BASIC_PROFILE = ("113100", "Basic Application Confidentiality Profile")
CLEANING = (
    ("113101", "Clean Pixel Data Option"),
    ("113102", "Clean Recognizable Visual Features Option"),
    ("113103", "Clean Graphics Option"),
    ("113104", "Clean Structured Content Option"),
    ("113105", "Clean Descriptors Option"),
)
"""Options that are not offered, but that others may have applied: codes and meanings, DCM."""


class Option(Enum):
    """What is left that the profile by itself removes: code and meaning, DCM."""

    RETAIN_LONGITUDINAL_TEMPORAL_FULL_DATES = (
        "113106",
        "Retain Longitudinal Temporal Information Full Dates Option",
    )
    RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES = (
        "113107",
        "Retain Longitudinal Temporal Information Modified Dates Option",
    )
    RETAIN_PATIENT_CHARACTERISTICS = ("113108", "Retain Patient Characteristics Option")
    RETAIN_DEVICE_IDENTITY = ("113109", "Retain Device Identity Option")
    RETAIN_UIDS = ("113110", "Retain UIDs Option")
    RETAIN_SAFE_PRIVATE = ("113111", "Retain Safe Private Option")
    RETAIN_INSTITUTION_IDENTITY = ("113112", "Retain Institution Identity Option")

    @property
    def term(self) -> str:
        """The option as requests name it, as in retainUids."""
        first, *rest = self.name.lower().split("_")
        return first + "".join(word.capitalize() for word in rest)


@dataclass(frozen=True, slots=True)
class Profile:
    """The basic profile with options.

    Attributes:
        keeps_burned_in: Whether images are exported in whose pixels somebody may be named.
    """

    options: frozenset[Option] = frozenset()
    keeps_burned_in: bool = False

    def to_json(self) -> Mapping[str, Any]:
        """The profile as a request names it."""
        return {
            "profile": "basic",
            "options": sorted(option.term for option in self.options),
            "burnedInAnnotation": "keep" if self.keeps_burned_in else "skip",
        }

    @classmethod
    def from_json(cls, asked: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives, or a request.

        Raises:
            InvalidRequestError: It names something else.
        """
        if str(asked.get("profile", "basic")).lower() != "basic":
            raise _wrong("profile", "only basic is offered")
        burned_in = asked.get("burnedInAnnotation", "skip")
        if burned_in not in ("skip", "keep"):
            raise _wrong("burnedInAnnotation", "it must be skip or keep")
        if {name.lower() for name in asked} - {"profile", "options", "burnedinannotation"}:
            # Whoever misspells an option must not believe that it was heeded.
            raise _wrong("", "it has members that are not known")
        return cls(_options(asked.get("options", [])), burned_in == "keep")


def _options(terms: Any) -> frozenset[Option]:  # noqa: ANN401 - whatever JSON holds
    known = {option.term.lower(): option for option in Option}
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        raise _wrong("options", "it must be a list of names")
    if not all(term.lower() in known for term in terms):
        offered = ", ".join(option.term for option in Option)
        raise _wrong("options", f"those that are offered are {offered}")
    options = frozenset(known[term.lower()] for term in terms)
    if {
        Option.RETAIN_LONGITUDINAL_TEMPORAL_FULL_DATES,
        Option.RETAIN_LONGITUDINAL_TEMPORAL_MODIFIED_DATES,
    } <= options:
        raise _wrong("options", "dates are retained either in full or modified")
    return options


def _wrong(name: str, reason: str) -> InvalidRequestError:
    place = f"deidentification.{name}".rstrip(".")
    return InvalidRequestError(f"The field '{place}' in request body is invalid: {reason}.")
