"""The body of a request to export: what, where to, and whether without what identifies patients.

Source: Microsoft's DICOM service, "Export DICOM files"; the query as a source, folders and
de-identification are ours.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared.dicom.deidentification.profile import Profile
from shared.dicom.resource import Level, ResourcePath, parse_path
from shared.dicom.uid import Uid, parse_uid
from shared.dicomweb.export_container import BlobContainer, parse_container
from shared.errors import InvalidRequestError, InvalidUidError

MAX_IDENTIFIERS = 20_000

_QUERY_PATH = re.compile(
    r"(?:studies/(?P<study>[^/]+)/)?(?:series/(?P<series>[^/]+)/)?(?P<what>studies|series|instances)\Z"
)
_DEIDENTIFICATION = "deidentification"
_MEMBERS = {"source", "destination", _DEIDENTIFICATION}
_LEVELS = {"studies": Level.STUDY, "series": Level.SERIES, "instances": Level.INSTANCE}


class _Members(Mapping[str, Any]):
    """The members of a JSON object, whose names are the same in any case."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = {name.lower(): content for name, content in members.items()}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        return self._members[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@dataclass(frozen=True, slots=True)
class QuerySource:
    """A search whose results are exported, with all that is below them.

    Attributes:
        parameters: Names and values as in the query string of a search.
    """

    level: Level
    study: Uid | None
    series: Uid | None
    parameters: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ExportFolder:
    """A folder below the one that exports are allowed in; empty for that one itself."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What is asked for; whether the destination is allowed is not known yet.

    Attributes:
        source: Paths, each once, or a search.
        profile: How instances are de-identified, None if they are not.
    """

    source: Sequence[ResourcePath] | QuerySource
    destination: BlobContainer | ExportFolder
    profile: Profile | None = None


def parse_export(body: bytes, *, version: int) -> ExportRequest:
    """Read the body; v1 takes what the reference takes.

    Raises:
        InvalidRequestError: It is malformed, or asks for what there is not.
    """
    document = parse_body(body)
    return ExportRequest(
        source=_source(_typed(document, "source"), version),
        destination=_destination(_typed(document, "destination")),
        profile=_profile(document, version),
    )


def parse_body(body: bytes) -> Mapping[str, Any]:
    """Read a body that is a JSON object.

    Raises:
        InvalidRequestError: It is none.
    """
    try:
        return parse_object(orjson.loads(body), "")
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError("The syntax of the request body is invalid.") from error


def parse_identifier(text: str) -> ResourcePath:
    """Read a study, `study/series` or `study/series/instance`.

    Raises:
        InvalidUidError: It is not one to three UIDs.
    """
    uids = text.split("/")
    if len(uids) > Level.INSTANCE:
        raise InvalidUidError("An identifier to export has at most three unique identifiers.")
    return parse_path(*uids)


def identifier(path: ResourcePath) -> str:
    """A path as it is written in requests and logs of exports."""
    return "/".join(uid for uid in (path.study, path.series, path.instance) if uid is not None)


def _profile(document: Mapping[str, Any], version: int) -> Profile | None:
    """How to de-identify; whoever asks for it in vain must not get what identifies."""
    if version > 1 and document.keys() - _MEMBERS:
        raise InvalidRequestError("The request body has members that are not known.")
    if _DEIDENTIFICATION not in document:
        return None
    if version == 1:
        raise _wrong(_DEIDENTIFICATION, "v1 has none")
    return Profile.from_json(parse_object(document[_DEIDENTIFICATION], _DEIDENTIFICATION))


def _typed(document: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
    """The type of a source or destination, in small letters, and its settings."""
    member = parse_object(document.get(name), name)
    kind = member.get("type")
    if not isinstance(kind, str):
        raise _wrong(f"{name}.type", "it must name the type")
    return kind.lower(), parse_object(member.get("settings"), f"{name}.settings")


def _source(
    typed: tuple[str, Mapping[str, Any]], version: int
) -> Sequence[ResourcePath] | QuerySource:
    match typed:
        case "identifiers", settings:
            return parse_identifiers(settings)
        case "query", settings if version > 1:
            return parse_query_source(settings)
        case _:
            raise _wrong("source.type", "there is no such source")


def _destination(typed: tuple[str, Mapping[str, Any]]) -> BlobContainer | ExportFolder:
    match typed:
        case "azureblob", settings:
            return parse_container(settings)
        case "folder", settings:
            return ExportFolder(_folder(settings.get("path", "")))
        case _:
            raise _wrong("destination.type", "there is no such destination")


def parse_identifiers(settings: Mapping[str, Any]) -> Sequence[ResourcePath]:
    """Read a source that names what is exported.

    Raises:
        InvalidRequestError: It is malformed.
    """
    values = settings.get("values")
    if not isinstance(values, list) or not values:
        raise _wrong("source.settings.values", "it must be a list of identifiers")
    if len(values) > MAX_IDENTIFIERS:
        raise _wrong("source.settings.values", f"it has more than {MAX_IDENTIFIERS} identifiers")
    if not all(isinstance(value, str) for value in values):
        raise _wrong("source.settings.values", "identifiers are texts")
    return tuple(dict.fromkeys(parse_identifier(value) for value in values))


def parse_query_source(settings: Mapping[str, Any]) -> QuerySource:
    """Read a source that is a search.

    Raises:
        InvalidRequestError: It is malformed.
    """
    path, parameters = settings.get("path", "studies"), settings.get("parameters", {})
    found = _QUERY_PATH.match(path.strip("/")) if isinstance(path, str) else None
    if found is None or (found["series"] and (not found["study"] or found["what"] != "instances")):
        raise _wrong("source.settings.path", "it must be that of a search")
    if found["study"] and found["what"] == "studies":
        raise _wrong("source.settings.path", "it must be that of a search")
    if not isinstance(parameters, dict):
        raise _wrong("source.settings.parameters", "it must be an object")
    return QuerySource(
        _LEVELS[found["what"]],
        None if found["study"] is None else parse_uid(found["study"]),
        None if found["series"] is None else parse_uid(found["series"]),
        tuple((name, _parameter(name, value)) for name, value in parameters.items()),
    )


def _parameter(name: str, value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if name.lower() in {"limit", "offset", "includefield", "accept"}:
        raise _wrong(f"source.settings.parameters.{name.lower()}", "all results are exported")
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int):
        raise _wrong("source.settings.parameters", "values are texts")
    return str(value)


def _folder(path: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """A relative path of plain names: none is hidden, or leads up or elsewhere."""
    if not isinstance(path, str):
        raise _wrong("destination.settings.path", "it must be a text")
    names = [name for name in path.split("/") if name] if path else []
    is_plain = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,100}", name) for name in names)
    if path.startswith("/") or not is_plain:
        raise _wrong("destination.settings.path", "it must be a relative path of plain names")
    return "/".join(names)


def parse_object(value: Any, name: str) -> Mapping[str, Any]:  # noqa: ANN401 - whatever JSON holds
    """Read a JSON object whose members are found in any case; what is in them is left as it is.

    Raises:
        InvalidRequestError: It is none, or has a member twice.
    """
    if not isinstance(value, dict):
        raise _wrong(name, "it must be an object")
    members = _Members(value)
    if len(members) < len(value):
        raise _wrong(name, "it has a member twice")
    return members


def _wrong(name: str, reason: str) -> InvalidRequestError:
    if not name:
        return InvalidRequestError(f"The request body is invalid: {reason}.")
    return InvalidRequestError(f"The field '{name}' in request body is invalid: {reason}.")
