"""Reading the Native DICOM Model as it comes from outside.

The parser calls back element by element and nothing is recursive. A document type declaration is
refused where it begins: there are no entities to expand, and nothing to fetch.

Standard: PS3.19 A.1.5 and A.1.6 (2025b).
"""

import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from shared.dicom.dictionary import MIN_PRIVATE_CREATOR
from shared.dicom.header import Limits
from shared.dicom.json_reading import document_of, refused
from shared.dicom.value_representation import Document
from shared.errors import InvalidInstanceError, InvalidRequestError

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
PERSON_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
PERSON_NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
NO_BLOCK = "00"
"""What stands for the block number in the tag of a private attribute (PS3.19 A.1.5, 2025b)."""

_ROOT, _ATTRIBUTE, _ITEM = "NativeDicomModel", "DicomAttribute", "Item"
_CHILDREN: dict[str, frozenset[str]] = {
    "": frozenset({_ROOT}),
    _ROOT: frozenset({_ATTRIBUTE}),
    _ITEM: frozenset({_ATTRIBUTE}),
    _ATTRIBUTE: frozenset({"Value", _ITEM, "PersonName", "InlineBinary", "BulkData"}),
    "PersonName": frozenset(PERSON_NAME_GROUPS),
    **dict.fromkeys(PERSON_NAME_GROUPS, frozenset(PERSON_NAME_COMPONENTS)),
}
_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}\Z", re.ASCII)
_LAST_BLOCK = 0xFF
# Each sequence is two elements; below the last one a name has three more.
_LEVELS_PER_SEQUENCE, _LEVELS_OF_NAME = 2, 5


@dataclass(slots=True)
class _Open:
    """An element whose end has not come yet.

    `content` is what its children make: attributes by tag, the element of a document, or the parts
    of a name.
    """

    name: str
    attributes: dict[str, str]
    text: list[str] = field(default_factory=list)
    content: dict[str, Any] = field(default_factory=dict)
    private: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self._open = [_Open("", {})]
        self._elements_left = limits.max_elements
        self._max_open = _LEVELS_PER_SEQUENCE * (limits.max_depth + 1) + _LEVELS_OF_NAME
        self.document: dict[str, Any] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.removeprefix(NAMESPACE + " ")
        if name not in _CHILDREN.get(self._open[-1].name, ()):
            raise InvalidRequestError("The XML is not of the Native DICOM Model.")
        if len(self._open) > self._max_open:
            raise InvalidInstanceError("Sequences are nested deeper than this service takes.")
        self._hold(1)
        opened = _Open(name, attributes)
        if name == _ATTRIBUTE:
            if not _TAG.match(attributes.get("tag", "")):
                raise InvalidRequestError("A DicomAttribute has no tag.")
            opened.content = {"vr": attributes.get("vr")}
        self._open.append(opened)

    def text(self, text: str) -> None:
        self._open[-1].text.append(text)

    def end(self, _: str) -> None:
        ended = self._open.pop()
        parent = self._open[-1]
        if ended.name in (_ROOT, _ITEM):
            _settle_private(ended)
        match ended.name:
            case "NativeDicomModel":
                self.document = ended.content
            case "DicomAttribute":
                _add_attribute(parent, ended)
            case "Item":
                self._add_value(parent, ended, ended.content)
            case "PersonName":
                self._add_value(parent, ended, ended.content or None)
            case "Value":
                self._add_value(parent, ended, "".join(ended.text) or None)
            case name:
                _add_once(parent, *_named_text(name, ended))

    def _hold(self, elements: int) -> None:
        self._elements_left -= elements
        if self._elements_left < 0:
            raise InvalidInstanceError("The data set has more attributes than this service takes.")

    def _add_value(self, parent: _Open, ended: _Open, value: object) -> None:
        """Put a value where its number says; some writers leave out the empty ones before it."""
        values: list[Any] = parent.content.setdefault("Value", [])
        number = ended.attributes.get("number")
        if number is not None:
            missing = int(number) - 1 - len(values) if _NUMBER.match(number) else -1
            if missing < 0:
                raise InvalidRequestError("The numbers of values do not rise from 1.")
            self._hold(missing)
            values += [None] * missing
        values.append(value)


def read(content: bytes, limits: Limits) -> Document:
    """The document that is written in XML.

    Raises:
        InvalidRequestError: It is not well-formed, has a document type declaration, or is
            something else than the Native DICOM Model.
        InvalidInstanceError: A value is none of its VR, or a bound is broken.
    """
    if len(content) > limits.max_held_length:
        raise InvalidInstanceError("The XML is longer than this service takes.")
    reader = _Reader(limits)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(content, True)  # noqa: FBT003 - positional only: this is all there is
    except (expat.ExpatError, LookupError, ValueError) as error:
        # The last two are of an encoding that nobody knows, or that holds no such bytes.
        raise InvalidRequestError("The XML is not well-formed.") from error
    return document_of(reader.document, limits)


def _refuse_document_type(*_: object) -> None:
    raise InvalidRequestError("XML with a document type declaration is not taken.")


def _named_text(name: str, ended: _Open) -> tuple[str, str]:
    """What an element that has a text, or stands for one, is called in the JSON model, and it."""
    if name in PERSON_NAME_GROUPS:
        return name, _name_group(ended.content)
    if name != "BulkData":
        return name, "".join(ended.text)
    uri = ended.attributes.get("uri")
    if not uri:
        raise InvalidRequestError("A BulkData has no uri.")
    return "BulkDataURI", uri


def _add_once(parent: _Open, name: str, content: str) -> None:
    if name in parent.content:
        raise InvalidRequestError("The XML is not of the Native DICOM Model.")
    parent.content[name] = content


def _name_group(components: dict[str, str]) -> str:
    """A group of a name as PS3.5 6.2.1 has it, up to the last component that is there."""
    present = [i for i, name in enumerate(PERSON_NAME_COMPONENTS) if name in components]
    wanted = PERSON_NAME_COMPONENTS[: present[-1] + 1] if present else ()
    return "^".join(components.get(name, "") for name in wanted)


def _add_attribute(data_set: _Open, ended: _Open) -> None:
    tag = ended.attributes["tag"].upper()
    creator = ended.attributes.get("privateCreator")
    if creator and int(tag[3], 16) & 1:
        data_set.private.append((tag, creator, ended.content))
        return
    if tag in data_set.content:
        raise refused(tag, "is given twice")
    data_set.content[tag] = ended.content


def _settle_private(data_set: _Open) -> None:
    """Give private attributes the blocks that their creators reserve, or reserve them."""
    attributes = data_set.content
    blocks: dict[tuple[str, str], str] = {}
    if data_set.private:
        blocks = _reserved(attributes)
    for tag, creator, content in data_set.private:
        group, block = tag[:4], tag[4:6]
        if block == NO_BLOCK:
            known = blocks.get((group, creator))
            block = _free_block(attributes, group) if known is None else known
        if f"{group}00{block}" not in attributes:
            attributes[f"{group}00{block}"] = {"vr": "LO", "Value": [creator]}
            blocks.setdefault((group, creator), block)
        key = group + block + tag[6:]
        if key in attributes:
            raise refused(key, "is given twice")
        attributes[key] = content


def _reserved(attributes: dict[str, Any]) -> dict[tuple[str, str], str]:
    """The first block that each private creator reserves in each group."""
    blocks: dict[tuple[str, str], str] = {}
    for tag, content in sorted(attributes.items()):
        values = content.get("Value")
        if int(tag[3], 16) & 1 and tag[4:6] == NO_BLOCK and values and isinstance(values[0], str):
            blocks.setdefault((tag[:4], values[0]), tag[6:])
    return blocks


def _free_block(attributes: dict[str, Any], group: str) -> str:
    for number in range(MIN_PRIVATE_CREATOR, _LAST_BLOCK + 1):
        if f"{group}00{number:02X}" not in attributes:
            return f"{number:02X}"
    raise InvalidInstanceError("A group has more private creators than there are blocks.")
