"""What a search demands of attributes, as values.

Standard: PS3.18 8.3.4.1, PS3.4 C.2.2.2 (2025b).
"""

from dataclasses import dataclass

from shared.dicom.searchable import SearchAttribute


@dataclass(frozen=True, slots=True)
class Exact:
    """The attribute has this value; text is folded, dates and times are of fixed width."""

    attribute: SearchAttribute
    value: str | int | float


@dataclass(frozen=True, slots=True)
class OneOf:
    """The attribute has one of these values."""

    attribute: SearchAttribute
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The value lies between two, which are included; None leaves an end open."""

    attribute: SearchAttribute
    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class CombinedRange:
    """The moment that a date and a time name together lies between two, which are included.

    Attributes:
        attribute: The date.
        time: The time of that day.
        low: Date and time of the first moment; None leaves the end open.
        high: Of the last one.
    """

    attribute: SearchAttribute
    time: SearchAttribute
    low: tuple[str, str] | None
    high: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The folded value matches a pattern in which * is any text and ? is any character."""

    attribute: SearchAttribute
    pattern: str

    @property
    def prefix(self) -> str:
        """What comes before the first wildcard."""
        return self.pattern.split("*", 1)[0].split("?", 1)[0]


@dataclass(frozen=True, slots=True)
class FuzzyName:
    """Each of these folded words begins a word of the name."""

    attribute: SearchAttribute
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Empty:
    """The attribute has no value, or is absent."""

    attribute: SearchAttribute


type Condition = Exact | OneOf | Range | CombinedRange | Wildcard | FuzzyName | Empty
