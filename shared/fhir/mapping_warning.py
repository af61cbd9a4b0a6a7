"""What of a data set could not be said in FHIR."""

from dataclasses import dataclass, field


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


@dataclass(slots=True)
class Warnings:
    """Warnings as they come up, each once, all of one study, series or instance."""

    uid: str = ""
    found: dict[MappingWarning, None] = field(default_factory=dict)

    def add(self, tag: str, reason: str) -> None:
        """Note a warning."""
        self.found[MappingWarning(tag, reason, self.uid)] = None

    def within(self, uid: str) -> "Warnings":
        """The same warnings, of a series or instance from here on."""
        return Warnings(uid, self.found)
