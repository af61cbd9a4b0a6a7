"""Extended query tags: attributes that an archive indexes besides those it always does.

Each instance has its value of a tag; a study or series has that of the newest instance in it that
has one.
"""

from dataclasses import dataclass

from shared.dicom.resource import Level
from shared.dicom.searchable import Kind, kind_of_vr
from shared.dicom.value_representation import Document, Element

_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTag:
    """A tag to be added; `path` is eight upper-case hexadecimal digits."""

    path: str
    vr: str
    level: Level
    private_creator: str | None = None


@dataclass(frozen=True, slots=True)
class IndexedTag:
    """A tag as instances are indexed by it; `key` is the index's own number.

    Attributes:
        tag: Eight upper-case hexadecimal digits.
        level: Whose attribute it is taken for.
        private_creator: Of a private attribute, who says what it means.
    """

    key: int
    tag: str
    vr: str
    level: Level
    private_creator: str | None = None

    @property
    def kind(self) -> Kind:
        """How its values compare."""
        return kind_of_vr(self.vr)

    def element_in(self, document: Document) -> tuple[str, Element]:
        """The attribute in a data set, empty if it is not there, and where it is.

        A private one lies in whichever block of its group is reserved for its creator.

        Standard: PS3.5 7.8.1 (2025b).
        """
        if self.private_creator is None:
            return self.tag, document.get(self.tag, {})
        name, group, number = self.private_creator.strip(" "), self.tag[:4], self.tag[6:]
        for block in range(_FIRST_BLOCK, _LAST_BLOCK + 1):
            creator = document.get(f"{group}00{block:02X}")
            if creator is not None and _is_named(creator, name):
                place = f"{group}{block:02X}{number}"
                return place, document.get(place, {})
        return self.tag, {}


def _is_named(creator: Element, name: str) -> bool:
    # Blanks around an LO mean nothing; those in front of it stay in a data set.
    values = creator.get("Value", ())
    return [str(value).strip(" ") for value in values] == [name]


@dataclass(frozen=True, slots=True)
class TagSet:
    """The tags that instances are indexed by; the version moves whenever they change."""

    version: int = 0
    tags: tuple[IndexedTag, ...] = ()


@dataclass(frozen=True, slots=True)
class TagValue:
    """The first value of a tag's attribute in an instance, names with their groups joined by =."""

    tag: IndexedTag
    value: str | int | float


@dataclass(frozen=True, slots=True)
class TagValues:
    """What an instance has of a set of tags, and the version of that set."""

    version: int = 0
    values: tuple[TagValue, ...] = ()
