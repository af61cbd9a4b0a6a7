"""What a Search request asks for, as a value.

Standard: PS3.18 8.3.4 and 10.6.1 (2025b); rules and texts of v1: reference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.datadict import tag_for_keyword

from shared.dicom.resource import Level
from shared.dicom.searchable import (
    ALL_FIELDS,
    IN_ROWS,
    MODALITIES_IN_STUDY,
    SEARCH_ATTRIBUTES,
    V1_DEFAULTS,
    V2_DEFAULTS,
    Kind,
    SearchAttribute,
    tag_of,
)
from shared.dicom.uid import Uid
from shared.dicomweb.condition import Condition
from shared.dicomweb.matching import MAX_LIST, Matching
from shared.dicomweb.parameter import truth, whole_number
from shared.dicomweb.search_value import echo
from shared.errors import InvalidQueryError

V1_MAX_LIMIT = 200
DEFAULT_LIMIT = 100
_MAX_OFFSET = 1 << 31
_MAX_CONDITIONS = 100
_MAX_NAME_LENGTH = 256
_MAX_VALUE_LENGTH = 4096
_MAX_WARNINGS = 16

_PARAMETERS = frozenset(
    {"limit", "offset", "fuzzymatching", "includefield", "accept"}
    | {"multiplevaluematching", "emptyvaluematching"}
)
_STUDY_INSTANCE_UID = tag_of("StudyInstanceUID")
_SERIES_INSTANCE_UID = tag_of("SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search for studies, series or instances, in all or in one study or series.

    Attributes:
        return_tags: Tags of the attributes that each result has, if the data has them.
        warnings: Sentences on what was ignored.
        erroneous: The extended query tags, as they were given, by which some instances could not
            be indexed.
        has_bulk: Whether results have values of binary VRs; v1 leaves them out.
    """

    level: Level
    study: Uid | None
    series: Uid | None
    conditions: tuple[Condition, ...]
    return_tags: frozenset[str]
    limit: int
    offset: int
    warnings: tuple[str, ...] = ()
    erroneous: tuple[str, ...] = ()
    has_bulk: bool = True


def other_attributes(pairs: Sequence[tuple[str, str]], version: int) -> Sequence[str]:
    """The tags of attributes that a search asks for, and that not every archive can be searched by.

    If it can, because they are extended query tags, `parse_query` is to be told.
    """
    names = (name for name, _ in pairs if name.lower() not in _PARAMETERS)
    tags = (tag for name in names if (tag := _tag_path(name)) and "." not in tag)
    found = (tag for tag in tags if not _is_known(_BY_TAG.get(tag), version))
    return list(dict.fromkeys(found))[:_MAX_CONDITIONS]


def _is_known(attribute: SearchAttribute | None, version: int) -> bool:
    return attribute is not None and attribute.since_version <= version


def parse_query(  # noqa: PLR0913
    pairs: Sequence[tuple[str, str]],
    level: Level,
    *,
    version: int,
    study: Uid | None = None,
    series: Uid | None = None,
    max_limit: int = V1_MAX_LIMIT,
    extra: Sequence[SearchAttribute] = (),
) -> SearchQuery:
    """Read the parameters of a search, percent-decoded and in order.

    Raises:
        InvalidQueryError: A parameter is malformed or not allowed here; what v1 does not know it
            refuses, and v2 ignores.
    """
    in_path = {_STUDY_INSTANCE_UID: study, _SERIES_INSTANCE_UID: series}
    scope = _lowest_scope(study, series)
    reading = _Reading(level, version, max_limit, scope, in_path, extra)
    for name, text in pairs:
        reading.take(name, text)
    matched = {attribute.tag.split(".")[0] for attribute in reading.seen}
    return SearchQuery(
        level,
        study,
        series,
        reading.conditions(),
        frozenset(matched | reading.fields() | _identifiers(level)),
        reading.limit,
        reading.offset,
        tuple(reading.warnings),
        tuple(reading.erroneous),
        has_bulk=version > 1,
    )


def _lowest_scope(study: Uid | None, series: Uid | None) -> Level | None:
    if series is not None:
        return Level.SERIES
    return None if study is None else Level.STUDY


def _identifiers(level: Level) -> set[str]:
    tags = {_STUDY_INSTANCE_UID}
    if level > Level.STUDY:
        tags.add(_SERIES_INSTANCE_UID)
    return tags


@dataclass(slots=True)
class _Reading:
    """The parameters read so far."""

    level: Level
    version: int
    max_limit: int
    scope: Level | None
    in_path: Mapping[str, Uid | None]
    extra: Sequence[SearchAttribute]
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    is_fuzzy: bool = False
    is_multiple: bool = False
    is_empty: bool = False
    warnings: list[str] = field(default_factory=list)
    erroneous: list[str] = field(default_factory=list)
    seen: dict[SearchAttribute, str] = field(default_factory=dict)
    _included: set[str] = field(default_factory=set)
    _wants_all: bool = False

    @property
    def levels(self) -> range:
        """The levels of the result: from below the scope to that of the resource."""
        return range(1 if self.scope is None else self.scope + 1, self.level + 1)

    def take(self, name: str, text: str) -> None:
        match name.lower():
            case "limit":
                self.limit = self._limit(text)
            case "offset":
                self.offset = whole_number(text, "Offset", 0, _MAX_OFFSET)
            case "fuzzymatching":
                self.is_fuzzy = truth(text, "FuzzyMatching")
            case "multiplevaluematching" if self.version > 1:
                self.is_multiple = truth(text, "MultipleValueMatching")
            case "emptyvaluematching" if self.version > 1:
                self.is_empty = truth(text, "EmptyValueMatching")
            case "includefield":
                self._include(text)
            case "accept" if self.version > 1:
                pass
            case _:
                self._take_attribute(name, text)

    def _warn(self, sentence: str) -> None:
        """Note what is ignored; a header has no room for very much of that."""
        if len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(sentence)
        elif len(self.warnings) == _MAX_WARNINGS:
            self.warnings.append("More was ignored")

    def _limit(self, text: str) -> int:
        if self.version == 1:
            return whole_number(text, "Limit", 1, self.max_limit)
        return min(whole_number(text, "Limit", 1, _MAX_OFFSET), self.max_limit)

    def _include(self, text: str) -> None:
        for item in (item.strip() for item in text.split(",")):
            # What lies in a sequence is returned with its sequence.
            tag = _tag(item if self.version == 1 else item.partition(".")[0])
            if item.lower() == "all":
                self._wants_all = True
            elif tag is not None:
                self._included.add(tag)
            elif self.version == 1:
                raise InvalidQueryError(f"Invalid query: unknown attribute '{echo(item)}'.")
            elif item:
                self._warn(f"includefield {echo(item)} is unknown and was ignored")
        if self.version == 1 and self._wants_all and self._included:
            raise InvalidQueryError("Invalid query: 'all' cannot be combined with other fields.")

    def _take_attribute(self, name: str, text: str) -> None:
        if self._repeats_path(name, text):
            return
        attribute = self._attribute(name)
        if attribute is None:
            return
        if attribute in self.seen and attribute is _MODALITIES_IN_STUDY and self.version > 1:
            self._warn(f"{echo(name)} was given under another name and was ignored")
            return
        if attribute in self.seen:
            raise InvalidQueryError(f"Invalid query: '{echo(name)}' is given more than once.")
        longest = MAX_LIST * 65 if attribute.kind is Kind.UID else _MAX_VALUE_LENGTH
        if len(text) > longest or len(self.seen) >= _MAX_CONDITIONS:
            raise InvalidQueryError("Invalid query: it is too long.")
        if not text.strip() and self.version == 1:
            raise InvalidQueryError(f"Invalid query: the value of '{echo(name)}' is empty.")
        self.seen[attribute] = text
        if attribute.extension is not None and attribute.extension.has_errors:
            self.erroneous.append(echo(name))

    def _repeats_path(self, name: str, text: str) -> bool:
        """Whether it asks for the study or series that is searched anyway, which v1 refuses."""
        return self.version > 1 and text.strip(" \0") == self._uid_in_path(name)

    def _uid_in_path(self, name: str) -> Uid | None:
        return self.in_path.get(_tag_path(name) or "")

    def _attribute(self, name: str) -> SearchAttribute | None:
        attribute = self._known(name)
        if attribute is not None and attribute.level in self.levels:
            if attribute.extension is not None and not attribute.extension.is_enabled:
                raise InvalidQueryError(f"Query is disabled on specified attribute '{echo(name)}'.")
            return attribute
        if self.version == 1 or self._uid_in_path(name) is not None:
            raise InvalidQueryError(
                f"Invalid query: AttributeId {echo(name)} is not queryable.  If the parameter is "
                "an attribute keyword, check the casing as they are case-sensitive."
            )
        if _tag_path(name) is not None:
            self._warn(f"{echo(name)} cannot be matched here and was ignored")
        return None

    def _known(self, name: str) -> SearchAttribute | None:
        tag = _tag_path(name)
        # What only v2 knows by itself may have been added for v1.
        known = (one for one in (_BY_TAG.get(tag or ""), *self.extra) if one and one.tag == tag)
        found = next((one for one in known if one.since_version <= self.version), None)
        if found is _MODALITY and self.level is Level.STUDY and self.version > 1:
            return _MODALITIES_IN_STUDY
        return found

    def fields(self) -> frozenset[str]:
        """The attributes that are returned besides those that were matched."""
        defaults = V1_DEFAULTS if self.version == 1 else V2_DEFAULTS
        chosen = (defaults, ALL_FIELDS) if self._wants_all else (defaults,)
        if self._wants_all and self.version == 1:
            chosen = (ALL_FIELDS,)
        sets = (table[level] for table in chosen for level in Level if level in self.levels)
        return self._included_here().union(*sets)

    def _included_here(self) -> frozenset[str]:
        """What was asked for by name; of the levels below, v1 gives what the newest instance has.

        Standard: PS3.18 10.6.3.3.1 and .2 (2025b).
        """
        if self.version == 1:
            return frozenset(self._included)
        return frozenset(self._included) - (IN_ROWS[Level.INSTANCE] - IN_ROWS[self.level])

    def conditions(self) -> tuple[Condition, ...]:
        """What the results must match."""
        rules = Matching(self.version, self.is_fuzzy, self.is_multiple, self.is_empty)
        return rules.conditions(self.seen)


def _tag_path(name: str) -> str | None:
    """The tags on the way to an attribute, each step given by keyword or by tag."""
    if len(name) > _MAX_NAME_LENGTH:
        return None
    tags: list[str] = []
    for step in name.split("."):
        tag = _tag(step)
        if tag is None:
            return None
        tags.append(tag)
    return ".".join(tags)


def _tag(name: str) -> str | None:
    if len(name) == 8 and all(char in "0123456789abcdefABCDEF" for char in name):  # noqa: PLR2004
        return name.upper()
    # pydicom has attributes without a keyword, and finds one of them for an empty name.
    tag = tag_for_keyword(name) if name else None
    return None if tag is None else f"{tag:08X}"


_BY_TAG: Mapping[str, SearchAttribute] = {
    attribute.tag: attribute for attribute in SEARCH_ATTRIBUTES
}
_MODALITY = _BY_TAG[tag_of("Modality")]
_MODALITIES_IN_STUDY = _BY_TAG[MODALITIES_IN_STUDY]
