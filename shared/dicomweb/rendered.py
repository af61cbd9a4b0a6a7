"""What a client wants of rendered resources: media types, and how an image shall look.

Standard: PS3.18 8.3.5 and 8.7.4 (2025b); what v1 accepts: reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.dicom.pixels.icc_profile import IccProfile
from shared.dicom.pixels.render import DEFAULT_QUALITY, GIF, JPEG, PNG, Rendering
from shared.dicom.pixels.viewport import Viewport
from shared.dicom.pixels.window import Window
from shared.dicomweb.media_type import AcceptEntry, parse_accept
from shared.errors import InvalidQueryError, NotAcceptableError

PDF = "application/pdf"
IMAGES = (JPEG, PNG, GIF)

_OFFERED = (*IMAGES, PDF, "video/mp4", "video/mpeg2", "video/H265")
_HIGHEST_QUALITY = 100


@dataclass(frozen=True, slots=True)
class RenderedType:
    """A media type that a client takes, and whether it asks for parts."""

    name: str
    is_multipart: bool


def acceptable_rendered(
    accept: Sequence[str] | None, *, version: int, preferred: Sequence[str] = ()
) -> tuple[RenderedType, ...]:
    """The media types that a client takes, best first; v1 knows only one.

    Raises:
        NotAcceptableError: There is none.
    """
    if version == 1:
        return (RenderedType(_negotiate_v1(accept), is_multipart=False),)
    entries = parse_accept(preferred) + parse_accept(accept or ())
    if not entries:
        return tuple(RenderedType(name, is_multipart=False) for name in _OFFERED)
    refused = {entry.media_type.name for entry in entries if not entry.quality}
    found = dict.fromkeys(
        RenderedType(name, entry.is_multipart)
        for entry in entries
        if entry.quality
        for name in _matching(entry)
        if name.lower() not in refused
    )
    if not found:
        raise _not_acceptable()
    return tuple(found)


def _matching(entry: AcceptEntry) -> list[str]:
    return [name for name in _OFFERED if entry.media_type.matches(name.lower())]


def _negotiate_v1(accept: Sequence[str] | None) -> str:
    if accept is None:
        return JPEG
    entries = parse_accept(accept, skip_malformed=False)
    names = [entry.media_type.name for entry in entries if not entry.is_multipart]
    if len(entries) != 1 or names[:1] not in ([JPEG], [PNG]):
        raise _not_acceptable()
    return names[0]


def _not_acceptable() -> NotAcceptableError:
    return NotAcceptableError("This resource is not rendered in any of the accepted media types.")


def parse_rendering(query: Sequence[tuple[str, str]], *, version: int) -> Rendering:
    """Read the parameters of a rendered resource; v1 knows only the quality.

    `annotation` is taken and has no effect: nothing is burned into images.

    Raises:
        InvalidQueryError: One of them is malformed.
    """
    given = dict(reversed(query))
    default = _HIGHEST_QUALITY if version == 1 else DEFAULT_QUALITY
    quality = _quality(given["quality"]) if "quality" in given else default
    if version == 1:
        return Rendering(quality=quality)
    return Rendering(
        window=Window.parse(given["window"]) if "window" in given else None,
        viewport=parse_viewport(query),
        quality=quality,
        icc_profile=IccProfile.parse(given.get("iccprofile", IccProfile.NO)),
    )


def parse_viewport(query: Sequence[tuple[str, str]]) -> Viewport | None:
    """Read the viewport of a rendered resource or thumbnail.

    Raises:
        InvalidQueryError: It is malformed.
    """
    text = dict(reversed(query)).get("viewport")
    return None if text is None else Viewport.parse(text)


def _quality(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_HIGHEST_QUALITY))
    if not is_number or not 1 <= int(text) <= _HIGHEST_QUALITY:
        raise InvalidQueryError("The parameter quality is an integer from 1 to 100.")
    return int(text)
