"""Reading the values of extended query tags out of data sets, by the minimum rules of their VRs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from shared.dicom.extended_query_tag import TagSet, TagValue, TagValues
from shared.dicom.json_model import person_name, value
from shared.dicom.validation import Problem, Verdict, element_problem, is_empty
from shared.dicom.value_representation import Document


@dataclass(frozen=True, slots=True)
class TagReading:
    """What was found of a set of tags in a data set.

    Attributes:
        problems: Why a value is not indexed, by the key of its tag.
        has_several: Whether an attribute has several values, of which the first is indexed.
    """

    values: TagValues
    problems: Mapping[int, Problem]
    has_several: bool

    @property
    def sentences(self) -> Mapping[int, str]:
        """What is wrong, by the key of the tag; no values are quoted."""
        return {key: problem.sentence for key, problem in self.problems.items()}


def read_tags(document: Document, tag_set: TagSet, null_padded: Collection[str] = ()) -> TagReading:
    """Find the values of tags; those that are kept as bulk data are none.

    Args:
        document: The data set, free of padding.
        tag_set: What to look for.
        null_padded: Tags of text attributes that were padded with NUL, which makes them malformed.
    """
    values: list[TagValue] = []
    problems: dict[int, Problem] = {}
    has_several = False
    for tag in tag_set.tags:
        place, element = tag.element_in(document)
        content = element.get("Value")
        if is_empty(element) or "BulkDataURI" in element or (content and content[0] is None):
            continue
        padding = "\0" if place in null_padded else ""
        problem = element_problem(place, tag.vr, element, padding)
        if problem is not None:
            problems[tag.key] = problem
            continue
        has_several = has_several or len(element["Value"]) > 1
        found = person_name(document, place) if tag.vr == "PN" else value(document, place)
        if found is not None:
            values.append(TagValue(tag, found))
    return TagReading(TagValues(tag_set.version, tuple(values)), problems, has_several)


def with_tags(
    verdict: Verdict, tag_set: TagSet, version: int, null_padded: Collection[str] = ()
) -> Verdict:
    """A verdict that has heed of tags too: v1 refuses an instance for a malformed value of one."""
    if verdict.failures or verdict.path is None:
        return verdict
    padded = null_padded if version == 1 else ()
    reading = read_tags(verdict.document, tag_set, padded)
    problems = tuple(reading.problems.values())
    if version == 1:
        return replace(
            verdict,
            failures=problems,
            tag_values=reading.values,
            has_unindexed_values=verdict.has_unindexed_values or reading.has_several,
        )
    known = {problem.tag for problem in verdict.warnings}
    new = tuple(problem for problem in problems if problem.tag not in known)
    return replace(verdict, warnings=(*verdict.warnings, *new), tag_values=reading.values)
