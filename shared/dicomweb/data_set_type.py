"""Whether a client takes data sets as JSON or as XML (PS3.18 8.7.3.2, 2025b)."""

from collections.abc import Sequence

from shared.dicomweb.media_type import (
    DICOM_JSON,
    JSON,
    AcceptEntry,
    accept_dicom_json,
    parse_accept,
)
from shared.errors import NotAcceptableError

DICOM_XML = "application/dicom+xml"

_JSON_NAMES = (DICOM_JSON, JSON)


def acceptable_data_sets(
    accept: Sequence[str] | None, *, version: int, preferred: Sequence[str] = ()
) -> str:
    """The media type of data sets that a client takes: DICOM_JSON, or DICOM_XML in parts.

    v1 knows only JSON. `preferred` holds the values of the accept query parameter, which v1 does
    not know.

    Raises:
        NotAcceptableError: It takes neither.
    """
    if version == 1:
        accept_dicom_json(accept, version=version)
        return DICOM_JSON
    entries = parse_accept(preferred) + parse_accept(accept or ())
    if not entries:
        return DICOM_JSON
    refused = {entry.media_type.name for entry in entries if not entry.quality}
    for entry in entries:
        wanted = _wanted(entry)
        if entry.quality and wanted is not None and wanted not in refused:
            return wanted
    raise NotAcceptableError(
        f"This resource is given as {DICOM_JSON}, or as {DICOM_XML} in multipart/related."
    )


def _wanted(entry: AcceptEntry) -> str | None:
    media_type = entry.media_type
    if not entry.is_multipart and any(map(media_type.matches, _JSON_NAMES)):
        return DICOM_JSON
    return DICOM_XML if media_type.matches(DICOM_XML) else None
