"""The content of structured reports as a tree of items (PS3.3 C.17.3, 2025b)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from shared.fhir.coding import DCM, coding
from shared.fhir.data_set import DataSet
from shared.fhir.resource import Resource

type Code = tuple[str, str]
"""System and code."""

_DEEPEST = 16


@dataclass(frozen=True)
class ContentItem:
    """An item of a report, or its root; what is looked at again and again is read once."""

    data_set: DataSet
    schemes: Mapping[str, str]
    root: DataSet

    @classmethod
    def of_report(cls, report: DataSet, schemes: Mapping[str, str]) -> "ContentItem":
        """The root of a report."""
        return cls(report, schemes, report)

    @cached_property
    def name(self) -> Resource | None:
        """Its concept name as a Coding."""
        return self._coding(self.data_set.item("ConceptNameCodeSequence"))

    @cached_property
    def code(self) -> Code | None:
        """Its concept name."""
        name = self.name
        return None if name is None else (str(name["system"]), str(name["code"]))

    @property
    def value(self) -> Resource | None:
        """Its coded value as a Coding."""
        return self._coding(self.data_set.item("ConceptCodeSequence"))

    @property
    def meaning(self) -> str | None:
        """The meaning of its coded value, or its text."""
        code = self.data_set.item("ConceptCodeSequence")
        return code.text("CodeMeaning") or self.data_set.text("TextValue")

    @property
    def measured(self) -> DataSet:
        """Its measured value."""
        return self.data_set.item("MeasuredValueSequence")

    @cached_property
    def children(self) -> Sequence["ContentItem"]:
        """The items right below it."""
        items = self.data_set.items("ContentSequence")
        return [ContentItem(item, self.schemes, self.root) for item in items]

    def named(self, *codes: Code) -> Sequence["ContentItem"]:
        """Those of its children that have one of some concept names."""
        return [child for child in self.children if child.code in codes]

    def first(self, code: Code) -> "ContentItem | None":
        """The first of its children with a concept name."""
        return next(iter(self.named(code)), None)

    def below(self, *codes: Code, depth: int = _DEEPEST) -> Sequence["ContentItem"]:
        """The outermost items below it that have one of some concept names, in order."""
        found: list[ContentItem] = []
        for child in self.children:
            if child.code in codes:
                found.append(child)
            elif depth:
                found += child.below(*codes, depth=depth - 1)
        return found

    def _coding(self, item: DataSet) -> Resource | None:
        return coding(item, self.schemes, self.root)


def dcm(code: str) -> Code:
    """A code of the DICOM ontology."""
    return DCM, code
