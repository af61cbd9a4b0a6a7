"""What a client says of extended query tags, checked (rules and texts: reference)."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

from shared.dicom.extended_query_tag import NewTag
from shared.dicom.minimum_rules import MINIMUM_RULES
from shared.dicom.resource import Level
from shared.dicom.searchable import SEARCH_ATTRIBUTES
from shared.dicomweb.search_value import echo
from shared.errors import InvalidRequestError

_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DT", "FD", "FL", "IS", "LO"}
    | {"PN", "SH", "SL", "SS", "TM", "UI", "UL", "US"}
)
_VRS_SINCE_V2 = _VRS | {"DS"}
_LEVELS = {level.name.capitalize(): level for level in Level}
_STATUSES = {"Enabled": True, "Disabled": False}
_MEMBERS = frozenset({"path", "vr", "privatecreator", "level"})
_CORE = frozenset(attribute.tag for attribute in SEARCH_ATTRIBUTES if attribute.since_version == 1)
_MAX_CREATOR_ELEMENT = 0xFF
_BLANK_PATH = (
    "The Dicom Tag Property Path must be specified and must not be null, empty or whitespace"
)
_PRIVATE_CREATOR = MINIMUM_RULES["LO"]


def parse_path(text: str) -> str:
    """The tag that a path names, by keyword or as eight hexadecimal digits in any case.

    Raises:
        InvalidRequestError: It names none.
    """
    tag = _tag(text)
    if tag is None:
        raise InvalidRequestError(f"'{echo(text)}' is not the path of one attribute.")
    return tag


def parse_new_tags(body: bytes, version: int) -> Sequence[NewTag]:
    """The tags that a request body asks for.

    Raises:
        InvalidRequestError: It is malformed, or one of them cannot be a tag.
    """
    entries = _json(body)
    if not isinstance(entries, list) or not entries:
        raise InvalidRequestError("The request body must be an array of extended query tags.")
    tags = [_new_tag(number, entry, version) for number, entry in enumerate(entries)]
    if len({tag.path for tag in tags}) < len(tags):
        raise InvalidRequestError("An extended query tag is given more than once.")
    return tags


def parse_query_status(body: bytes) -> bool:
    """Whether a tag is to be enabled, as a request body says.

    Raises:
        InvalidRequestError: It is malformed, or has other members.
    """
    entry = _json(body)
    if not isinstance(entry, dict) or [name.lower() for name in entry] != ["querystatus"]:
        raise InvalidRequestError("The request body must have queryStatus and nothing else.")
    [text] = entry.values()
    return _choice(text, _STATUSES, "QueryStatus")


def _json(body: bytes) -> Any:  # noqa: ANN401
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError("The syntax of the request body is invalid.") from error


def _new_tag(number: int, entry: object, version: int) -> NewTag:
    if not isinstance(entry, dict):
        raise InvalidRequestError(f"The field '[{number}]' in request body is invalid.")
    members = {name.lower(): value for name, value in entry.items() if value is not None}
    unknown = members.keys() - _MEMBERS
    if unknown:
        raise _invalid(number, echo(min(unknown)), "It is unknown")
    path = _text(number, members, "path")
    if not path.strip():
        raise _invalid(number, "Path", _BLANK_PATH)
    if "level" not in members:
        raise _invalid(number, "Level", "The Level field is required.")
    level = _choice(members["level"], _LEVELS, f"[{number}].Level")
    tag = parse_path(path)
    # The blanks around an LO mean nothing (PS3.5 6.2).
    creator = _text(number, members, "privatecreator").strip(" ") or None
    vr = _vr(tag, _text(number, members, "vr").upper(), creator)
    if vr not in (_VRS if version == 1 else _VRS_SINCE_V2):
        raise InvalidRequestError(f"The VR of the attribute {tag} is not supported.")
    if tag in _CORE:
        raise InvalidRequestError(f"The attribute {tag} is already supported.")
    return NewTag(path=tag, vr=vr, level=level, private_creator=creator)


def _vr(tag: str, given: str, creator: str | None) -> str:
    """The VR of a tag: the dictionary's, of which the client may name one; or the client's own."""
    group, element = int(tag[:4], 16), int(tag[4:], 16)
    if group % 2:
        return _private_vr(tag, element, given, creator)
    if creator is not None:
        raise InvalidRequestError(f"The standard attribute {tag} has no private creator.")
    number = int(tag, 16)
    if not dictionary_has_tag(number):
        if given:
            return given
        raise InvalidRequestError(f"The VR of the unknown attribute {tag} must be given.")
    known = dictionary_VR(number).split(" or ")
    if given and given not in known:
        raise InvalidRequestError(f"The VR of {tag} is not the one given.")
    return given or known[0]


def _private_vr(tag: str, element: int, given: str, creator: str | None) -> str:
    if not given:
        raise InvalidRequestError(f"The VR of the private attribute {tag} must be given.")
    if element <= _MAX_CREATOR_ELEMENT:
        if creator is not None:
            raise InvalidRequestError(f"The attribute {tag} is a private creator and has none.")
        return given
    if creator is None or _PRIVATE_CREATOR(creator) is not None:
        raise InvalidRequestError(
            f"The private creator of the attribute {tag} must be given and be valid."
        )
    return given


def _text(number: int, members: Mapping[str, object], name: str) -> str:
    value = members.get(name, "")
    if not isinstance(value, str):
        raise _invalid(number, name.capitalize(), "It must be a text.")
    return value


def _choice[T](text: object, choices: Mapping[str, T], name: str) -> T:
    known = {key.lower(): value for key, value in choices.items()}
    if isinstance(text, str) and text.lower() in known:
        return known[text.lower()]
    allowed = ", ".join(f"'{key}'" for key in sorted(choices))
    given = echo(str(text))
    raise InvalidRequestError(
        f"The field '{name}' in request body is invalid: "
        f"Expected value '{given}' to be one of the following values: [{allowed}]"
    )


def _invalid(number: int, name: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The field '[{number}].{name}' in request body is invalid: {reason}"
    )


def _tag(text: str) -> str | None:
    if len(text) == 8 and all(char in "0123456789abcdefABCDEF" for char in text):  # noqa: PLR2004
        return text.upper()
    number = tag_for_keyword(text) if text else None
    return None if number is None else f"{number:08X}"
