"""Media types, and which representation an Accept header gets.

Standard: PS3.18 8.7 (2025b), RFC 9110 12.5.1; what v1 accepts: reference.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.dicom.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    transfer_syntax,
)
from shared.errors import NotAcceptableError, UnsupportedMediaTypeError

AS_STORED = "*"
"""The transfer syntax that a client names to get whatever is stored."""

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
MULTIPART = "multipart/related"
OCTET_STREAM = "application/octet-stream"
_ANY = "*/*"
_JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"

_TYPE = re.compile(r"\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)/([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*")
_PARAMETER = re.compile(
    r';\s*(?:([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*)?'
)
_ENTRY = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_ESCAPED = re.compile(r"\\(.)")
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
        UnsupportedMediaTypeError: It is malformed.
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
        if found[1] is not None:
            parameters.setdefault(found[1].lower(), _unquoted(found[2]))
        position = found.end()
    return MediaType(f"{start[1]}/{start[2]}".lower(), parameters)


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text


@dataclass(frozen=True, slots=True)
class AcceptEntry:
    """One entry of an Accept header: what it means for the parts, and whether there are parts."""

    media_type: MediaType
    is_multipart: bool
    transfer_syntax_uid: str | None
    quality: float


def parse_accept(values: Sequence[str]) -> tuple[AcceptEntry, ...]:
    """Read Accept header lines: best quality first, then in the order written.

    Malformed entries are passed over, and so are those of quality 0.
    """
    texts = [text for value in values for text in _ENTRY.findall(value)][:_MAX_ENTRIES]
    parsed = (_parse(text) for text in texts)
    entries = [_entry(media_type) for media_type in parsed if media_type is not None]
    return tuple(
        sorted((e for e in entries if e.quality > 0), key=lambda e: e.quality, reverse=True)
    )


def _entry(media_type: MediaType) -> AcceptEntry:
    parameters = media_type.parameters
    syntax = parameters.get("transfer-syntax")
    quality = _quality(parameters.get("q", "1"))
    if media_type.name == MULTIPART:
        of_parts = _parse(parameters.get("type", _ANY)) or MediaType(_ANY)
        # A few clients put the transfer syntax into the quoted type.
        syntax = syntax or of_parts.parameters.get("transfer-syntax")
        return AcceptEntry(of_parts, True, syntax, quality)  # noqa: FBT003
    return AcceptEntry(media_type, False, syntax, quality)  # noqa: FBT003


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def accept_dicom_json(accept: Sequence[str] | None, *, version: int) -> None:
    """See that a client takes DICOM JSON; v1 demands that it says so.

    Raises:
        NotAcceptableError: It does not.
    """
    if accept is None and version > 1:
        return
    taken = (DICOM_JSON,) if version == 1 else (DICOM_JSON, "application/json")
    for entry in parse_accept(accept or ()):
        if any(entry.media_type.matches(name) for name in taken):
            return
    raise NotAcceptableError("This resource is given as application/dicom+json.")


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
        return self.transfer_syntax_uid in (AS_STORED, stored_syntax_uid)


@dataclass(frozen=True, slots=True)
class _Offer:
    """A media type that a resource is given in.

    Attributes:
        single: Whether it may be the whole answer; multipart it may always be.
        syntaxes: Transfer syntaxes that may be named, None when any may.
        default: The transfer syntax when none is named.
    """

    media_type: str
    single: bool
    syntaxes: frozenset[str] | None
    default: str


_V1_SYNTAXES = frozenset({AS_STORED, EXPLICIT_VR_LITTLE_ENDIAN, _JPEG_2000_LOSSLESS})

_V1_SERIES = (_Offer(DICOM, False, _V1_SYNTAXES, EXPLICIT_VR_LITTLE_ENDIAN),)  # noqa: FBT003
_V1_INSTANCE = (_Offer(DICOM, True, _V1_SYNTAXES, EXPLICIT_VR_LITTLE_ENDIAN),)  # noqa: FBT003
_V1_FRAMES = (
    _Offer(
        OCTET_STREAM,
        single=True,
        syntaxes=frozenset({AS_STORED, EXPLICIT_VR_LITTLE_ENDIAN}),
        default=EXPLICIT_VR_LITTLE_ENDIAN,
    ),
    _Offer(
        "image/jp2",
        single=False,
        syntaxes=frozenset({_JPEG_2000_LOSSLESS}),
        default=_JPEG_2000_LOSSLESS,
    ),
)

_V2_SERIES = (_Offer(DICOM, False, None, EXPLICIT_VR_LITTLE_ENDIAN),)  # noqa: FBT003
_V2_INSTANCE = (_Offer(DICOM, True, None, EXPLICIT_VR_LITTLE_ENDIAN),)  # noqa: FBT003
_V2_FRAMES = (
    _Offer(OCTET_STREAM, single=True, syntaxes=None, default=EXPLICIT_VR_LITTLE_ENDIAN),
    *(
        # A frame as an image of its own kind: in whichever syntax of that kind it is stored.
        _Offer(media_type, single=True, syntaxes=None, default=AS_STORED)
        for media_type in sorted(
            {syntax.frame_media_type for syntax in TRANSFER_SYNTAXES.values()} - {OCTET_STREAM}
        )
    ),
)


def negotiate_instances(
    accept: Sequence[str] | None, *, version: int, is_instance: bool
) -> Representation:
    """How a study, series or instance is given.

    Raises:
        NotAcceptableError: In no way that the client accepts.
    """
    if version == 1:
        return _negotiate_v1(accept, _V1_INSTANCE if is_instance else _V1_SERIES)
    return _negotiate_v2(accept, _V2_INSTANCE if is_instance else _V2_SERIES)


def negotiate_frames(accept: Sequence[str] | None, *, version: int) -> Representation:
    """How frames are given.

    Raises:
        NotAcceptableError: In no way that the client accepts.
    """
    return _negotiate_v1(accept, _V1_FRAMES) if version == 1 else _negotiate_v2(accept, _V2_FRAMES)


def _negotiate_v1(accept: Sequence[str] | None, offers: Sequence[_Offer]) -> Representation:
    # The first entry that can be met, unless a later one of at least its quality takes anything.
    chosen: tuple[float, Representation] | None = None
    for value in accept or ():
        # A header line that begins with multipart is multipart throughout.
        is_all_multipart = value.lstrip().lower().startswith(MULTIPART)
        for entry in parse_accept([value]):
            found = _v1(entry, offers, is_multipart=entry.is_multipart or is_all_multipart)
            if found is None:
                continue
            takes_all = found.transfer_syntax_uid == AS_STORED and entry.transfer_syntax_uid
            if chosen is None or (takes_all and entry.quality >= chosen[0]):
                chosen = entry.quality, found
    if chosen is None:
        raise _not_acceptable()
    return chosen[1]


def _v1(
    entry: AcceptEntry, offers: Sequence[_Offer], *, is_multipart: bool
) -> Representation | None:
    is_any = entry.media_type.name == _ANY
    for offer in offers[:1] if is_any else offers:
        syntax = entry.transfer_syntax_uid or (AS_STORED if is_any else offer.default)
        if not is_any and entry.media_type.name != offer.media_type:
            continue
        if (is_multipart or offer.single) and syntax in (offer.syntaxes or ()):
            return Representation(offer.media_type, is_multipart or is_any, syntax)
    return None


def _negotiate_v2(accept: Sequence[str] | None, offers: Sequence[_Offer]) -> Representation:
    entries = parse_accept(accept or ())
    if not entries:
        return Representation(
            offers[0].media_type, is_multipart=True, transfer_syntax_uid=AS_STORED
        )
    for entry in entries:
        for offer in offers:
            if entry.media_type.matches(offer.media_type) and (
                entry.is_multipart or _may(entry, offer)
            ):
                return _v2(entry, offer)
    raise _not_acceptable()


def _may(entry: AcceptEntry, offer: _Offer) -> bool:
    return offer.single or entry.media_type.name == _ANY


def _v2(entry: AcceptEntry, offer: _Offer) -> Representation:
    is_range = "*" in entry.media_type.name
    syntax = entry.transfer_syntax_uid or (AS_STORED if is_range else offer.default)
    return Representation(offer.media_type, entry.is_multipart or is_range, syntax)


def _not_acceptable() -> NotAcceptableError:
    return NotAcceptableError("This resource is not given in any of the accepted media types.")
