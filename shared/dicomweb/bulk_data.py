"""How a client takes bulk data (PS3.18 8.7.3.3.2 and 10.4.1.1.5, 2025b)."""

from collections.abc import Sequence

from shared.dicomweb.media_type import MULTIPART, OCTET_STREAM, AcceptEntry, parse_accept
from shared.errors import NotAcceptableError


def accept_value(accept: Sequence[str] | None, *, preferred: Sequence[str] = ()) -> bool:
    """Whether a client takes one value of bulk data in a part; alone unless it says so.

    Raises:
        NotAcceptableError: It takes it in neither way.
    """
    entries = _entries(accept, preferred)
    fitting = [entry.is_multipart for entry in entries if entry.media_type.matches(OCTET_STREAM)]
    if entries and not fitting:
        raise NotAcceptableError(f"Bulk data is given as {OCTET_STREAM}.")
    return fitting[0] if fitting else False


def accept_values(accept: Sequence[str] | None, *, preferred: Sequence[str] = ()) -> None:
    """See that a client takes many values of bulk data, each in a part.

    Raises:
        NotAcceptableError: It does not.
    """
    entries = _entries(accept, preferred)
    if entries and not any(
        entry.is_multipart or entry.media_type.matches(OCTET_STREAM) for entry in entries
    ):
        raise NotAcceptableError(f"Bulk data of many values is given as {MULTIPART}.")


def _entries(accept: Sequence[str] | None, preferred: Sequence[str]) -> list[AcceptEntry]:
    entries = parse_accept(preferred) + parse_accept(accept or ())
    return [entry for entry in entries if entry.quality]
