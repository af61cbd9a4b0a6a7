"""Media types, and which representation an Accept header gets.

Standard: PS3.18 8.7 (2025b), RFC 9110 12.5.1; what v1 accepts: reference.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.dicom.transfer_syntax import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    transfer_syntax,
)
from shared.errors import InvalidRequestError, NotAcceptableError, UnsupportedMediaTypeError

AS_STORED = "*"
"""The transfer syntax that a client names to get whatever is stored."""

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
JSON = "application/json"
YAML = "application/yaml"
MULTIPART = "multipart/related"
OCTET_STREAM = "application/octet-stream"
ZIP = "application/zip"
_ANY = "*/*"
_JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
# Native pixels are the same bytes, whether the VRs around them are told or deflated or neither.
_SAME_PIXELS = frozenset(
    {EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN}
)
# PS3.18 Table 8.7.3-5 (2025b).
_DEFAULT_SYNTAXES = {
    OCTET_STREAM: EXPLICIT_VR_LITTLE_ENDIAN,
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": _JPEG_2000_LOSSLESS,
    "image/jphc": "1.2.840.10008.1.2.4.201",
}

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf"[ \t]*({_NAME})/({_NAME})[ \t]*")
_PARAMETER = re.compile(
    rf';[ \t]*(?:({_NAME})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*+"|[^\s;,"]*)[ \t]*)?', re.DOTALL
)
# A quoted text that does not end goes on to the end of the header, so that nothing is read twice.
_ENTRY = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.?)*+(?:"|\Z))++', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_QUALITY = re.compile(r"(?:0(?:\.\d*)?|1(?:\.0*)?)\Z", re.ASCII)
_MAX_ENTRIES = 100


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range; its name and the names of its parameters are lower case."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def matches(self, name: str) -> bool:
        """Whether it is this type, or a range that holds it."""
        return self.name in (name, _ANY, name.partition("/")[0] + "/*")


def parse_media_type(text: str) -> MediaType:
    """Read a Content-Type.

    Raises:
        UnsupportedMediaTypeError: It is malformed, or repeats a parameter.
    """
    parsed = _parse(text)
    if parsed is None:
        raise UnsupportedMediaTypeError("The Content-Type is malformed.")
    return parsed


def _parse(text: str) -> MediaType | None:
    start = _TYPE.match(text)
    if start is None:
        return None
    parameters: dict[str, str] = {}
    position = start.end()
    while position < len(text):
        found = _PARAMETER.match(text, position)
        if found is None:
            return None
        position = found.end()
        if found[1] is None:
            continue
        if found[1].lower() in parameters:
            return None
        parameters[found[1].lower()] = _unquoted(found[2])
    return MediaType(f"{start[1]}/{start[2]}".lower(), parameters)


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text


@dataclass(frozen=True, slots=True)
class AcceptEntry:
    """One entry of an Accept header: what it means for the parts, and whether there are parts.

    Attributes:
        quality: From 0, which refuses, to 1.
    """

    media_type: MediaType
    is_multipart: bool
    transfer_syntax_uid: str | None
    quality: float


def parse_accept(values: Sequence[str], *, skip_malformed: bool = True) -> tuple[AcceptEntry, ...]:
    """Read Accept header lines: best quality first, then in the order written.

    Raises:
        NotAcceptableError: An entry is malformed, and such are not skipped.
    """
    texts = [text for value in values for text in _ENTRY.findall(value) if text.strip()]
    entries = [_entry(text) for text in texts[:_MAX_ENTRIES]]
    if None in entries and not skip_malformed:
        raise NotAcceptableError("The Accept header is malformed.")
    readable = (entry for entry in entries if entry is not None)
    return tuple(sorted(readable, key=lambda entry: -entry.quality))


def _entry(text: str) -> AcceptEntry | None:
    media_type = _parse(text)
    if media_type is None:
        return None
    parameters = media_type.parameters
    quality = parameters.get("q", "1")
    syntax = parameters.get("transfer-syntax")
    is_multipart = media_type.name in (MULTIPART, "multipart/*")
    if is_multipart:
        of_parts = _parse(parameters.get("type", _ANY))
        if of_parts is None:
            return None
        media_type = of_parts
        # A few clients put the transfer syntax into the quoted type.
        syntax = syntax or of_parts.parameters.get("transfer-syntax")
    if not _QUALITY.match(quality):
        return None
    return AcceptEntry(media_type, is_multipart, syntax, float(quality))


def accept_dicom_json(
    accept: Sequence[str] | None, *, version: int, preferred: Sequence[str] = ()
) -> None:
    """See that a client takes DICOM JSON; v1 demands that it says so, and well.

    `preferred` holds the values of the accept query parameter, which v1 does not know.

    Raises:
        NotAcceptableError: It does not.
    """
    if version == 1:
        names: tuple[str, ...] = (DICOM_JSON,)
        entries = parse_accept(accept or (), skip_malformed=False)
    else:
        names = (DICOM_JSON, JSON)
        entries = parse_accept(preferred) + parse_accept(accept or ())
        if not entries:
            return
    refused = _refused(entries)
    for entry in entries:
        if (
            not entry.is_multipart
            and entry.quality
            and any(
                entry.media_type.matches(name) and (name, False) not in refused for name in names
            )
        ):
            return
    raise NotAcceptableError("This resource is given as application/dicom+json.")


def _refused(entries: Sequence[AcceptEntry]) -> frozenset[tuple[str, bool]]:
    """The media types that quality 0 takes out of what a range would admit."""
    return frozenset((e.media_type.name, e.is_multipart) for e in entries if not e.quality)


@dataclass(frozen=True, slots=True)
class Representation:
    """What is sent: the media type of the whole or of each part, in a syntax or AS_STORED."""

    media_type: str
    is_multipart: bool
    transfer_syntax_uid: str

    def is_given_in(self, stored_syntax_uid: str) -> bool:
        """Whether a frame stored in a syntax is what was asked for, without transcoding."""
        if self.media_type not in (
            OCTET_STREAM,
            transfer_syntax(stored_syntax_uid).frame_media_type,
        ):
            return False
        if self.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
            return stored_syntax_uid in _SAME_PIXELS
        return self.transfer_syntax_uid in (AS_STORED, stored_syntax_uid)

    def given_from(self, stored_syntax_uid: str) -> "Representation":
        """The same with the transfer syntax that a frame stored in a syntax is sent in."""
        if self.transfer_syntax_uid != AS_STORED:
            return self
        if transfer_syntax(stored_syntax_uid).is_deflated:
            stored_syntax_uid = EXPLICIT_VR_LITTLE_ENDIAN
        return replace(self, transfer_syntax_uid=stored_syntax_uid)

    @property
    def transcoded_to(self) -> str | None:
        """The transfer syntax for a frame that is not stored as asked for, None without one."""
        uid = self.transfer_syntax_uid
        if uid == AS_STORED:
            return _DEFAULT_SYNTAXES.get(self.media_type)
        fitting = (OCTET_STREAM, transfer_syntax(uid).frame_media_type)
        return uid if self.media_type in fitting else None

    def with_type_of_syntax(self) -> "Representation":
        """The same with the media type that a frame has in its transfer syntax."""
        syntax = transfer_syntax(self.transfer_syntax_uid)
        return replace(self, media_type=syntax.frame_media_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """A media type that a resource is given in, best first in each table.

    Attributes:
        is_single: Whether it may be the whole answer.
        is_part: Whether it may be a part; what may not be one must be named, and not by a range.
        syntaxes: Transfer syntaxes that may be named, None when any may.
        default: The transfer syntax when none is named.
    """

    media_type: str
    is_single: bool
    is_part: bool = True
    syntaxes: frozenset[str] | None = None
    default: str = EXPLICIT_VR_LITTLE_ENDIAN


_V1_SYNTAXES = frozenset({AS_STORED, EXPLICIT_VR_LITTLE_ENDIAN, _JPEG_2000_LOSSLESS})

_V1_SERIES = (_Offer(media_type=DICOM, is_single=False, syntaxes=_V1_SYNTAXES),)
_V1_INSTANCE = (_Offer(media_type=DICOM, is_single=True, syntaxes=_V1_SYNTAXES),)
_V1_FRAMES = (
    _Offer(
        media_type=OCTET_STREAM,
        is_single=True,
        syntaxes=frozenset({AS_STORED, EXPLICIT_VR_LITTLE_ENDIAN}),
    ),
    _Offer(
        media_type="image/jp2",
        is_single=False,
        syntaxes=frozenset({_JPEG_2000_LOSSLESS}),
        default=_JPEG_2000_LOSSLESS,
    ),
)

_V2_SERIES = (
    _Offer(media_type=DICOM, is_single=False),
    _Offer(media_type=ZIP, is_single=True, is_part=False, default=AS_STORED),
)
_V2_INSTANCE = (_Offer(media_type=DICOM, is_single=True),)
_V2_FRAMES = (
    _Offer(media_type=OCTET_STREAM, is_single=True),
    *(
        # A frame as an image of its own kind: in whichever syntax of that kind it is stored.
        _Offer(media_type=media_type, is_single=True, default=AS_STORED)
        for media_type in sorted(
            {syntax.frame_media_type for syntax in TRANSFER_SYNTAXES.values()} - {OCTET_STREAM}
        )
    ),
)


def acceptable_instances(
    accept: Sequence[str] | None, *, version: int, is_instance: bool, preferred: Sequence[str] = ()
) -> tuple[Representation, ...]:
    """The ways a client takes a study, series or instance, best first; v1 knows only one.

    `preferred` holds the values of the accept query parameter, which v1 does not know.

    Raises:
        NotAcceptableError: There is none.
    """
    if version == 1:
        return (_negotiate_v1(accept or (), _V1_INSTANCE if is_instance else _V1_SERIES),)
    offers = _V2_INSTANCE if is_instance else _V2_SERIES
    return _acceptable_v2(parse_accept(preferred) + parse_accept(accept or ()), offers)


def acceptable_frames(
    accept: Sequence[str] | None, *, version: int, count: int = 1, preferred: Sequence[str] = ()
) -> tuple[Representation, ...]:
    """The ways a client takes a number of frames, best first; v1 knows only one.

    `preferred` holds the values of the accept query parameter, which v1 does not know.

    Raises:
        NotAcceptableError: There is none.
        InvalidRequestError: In v1, several frames are asked for without parts to put them in.
    """
    if version == 1:
        found = _negotiate_v1(accept or (), _V1_FRAMES)
        if count > 1 and not found.is_multipart:
            raise InvalidRequestError("Several frames can only be sent as multipart/related.")
        return (found,)
    entries = parse_accept(preferred) + parse_accept(accept or ())
    found_v2 = _acceptable_v2(entries, _V2_FRAMES)
    fitting = tuple(way for way in found_v2 if way.is_multipart or count == 1)
    if not fitting:
        raise NotAcceptableError("Several frames can only be sent as multipart/related.")
    return fitting


def _negotiate_v1(accept: Sequence[str], offers: Sequence[_Offer]) -> Representation:
    # The first entry that can be met, unless a later one of its quality takes anything stored.
    chosen: tuple[AcceptEntry, Representation] | None = None
    for entry in _v1_entries(accept):
        found = _v1(entry, offers)
        if found is None:
            continue
        takes_all = entry.transfer_syntax_uid == AS_STORED
        if chosen is None or (takes_all and entry.quality >= chosen[0].quality):
            chosen = entry, found
    if chosen is None:
        raise _not_acceptable()
    return chosen[1]


def _v1_entries(accept: Sequence[str]) -> Sequence[AcceptEntry]:
    entries: list[AcceptEntry] = []
    for value in accept:
        # A header line that begins with multipart is multipart throughout.
        is_all_multipart = value.lstrip().lower().startswith(MULTIPART)
        entries += (
            replace(entry, is_multipart=entry.is_multipart or is_all_multipart)
            for entry in parse_accept([value], skip_malformed=False)
            if entry.quality
        )
    return sorted(entries, key=lambda entry: -entry.quality)


def _v1(entry: AcceptEntry, offers: Sequence[_Offer]) -> Representation | None:
    is_any = entry.media_type.name == _ANY
    for offer in offers[:1] if is_any else offers:
        syntax = entry.transfer_syntax_uid or (AS_STORED if is_any else offer.default)
        if not is_any and entry.media_type.name != offer.media_type:
            continue
        if (entry.is_multipart or offer.is_single) and syntax in (offer.syntaxes or ()):
            return Representation(offer.media_type, entry.is_multipart or is_any, syntax)
    return None


def _acceptable_v2(
    entries: Sequence[AcceptEntry], offers: Sequence[_Offer]
) -> tuple[Representation, ...]:
    if not entries:
        return (Representation(offers[0].media_type, True, AS_STORED),)  # noqa: FBT003
    refused = _refused(entries)
    ways = (way for entry in entries if entry.quality for way in _v2(entry, offers))
    # Without duplicates, in order.
    found = dict.fromkeys(way for way in ways if (way.media_type, way.is_multipart) not in refused)
    if not found:
        raise _not_acceptable()
    return tuple(found)


def _v2(entry: AcceptEntry, offers: Sequence[_Offer]) -> Iterator[Representation]:
    name = entry.media_type.name
    for offer in offers[:1] if name == _ANY else offers:
        is_multipart = entry.is_multipart or name == _ANY
        is_offered = offer.is_part if is_multipart else offer.is_single
        is_meant = entry.media_type.matches(offer.media_type) and (offer.is_part or "*" not in name)
        if is_offered and is_meant:
            default = AS_STORED if "*" in name else offer.default
            syntax = entry.transfer_syntax_uid or default
            yield Representation(offer.media_type, is_multipart, syntax)


def _not_acceptable() -> NotAcceptableError:
    return NotAcceptableError("This resource is not given in any of the accepted media types.")
