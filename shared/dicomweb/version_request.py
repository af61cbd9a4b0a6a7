"""Which version of updated instances a client asks for (reference, original version)."""

from collections.abc import Mapping

ORIGINAL_HEADER = "msdicom-request-original"


def wants_original(headers: Mapping[str, str]) -> bool:
    """Whether instances shall be given as they were stored, before any update.

    Of several values of the header the first one counts; names of headers are in lower case.
    """
    first = headers.get(ORIGINAL_HEADER, "").partition(",")[0]
    return first.strip().lower() == "true"
