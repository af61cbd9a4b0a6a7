"""Entity tags, and requests that want an answer only if they have changed (RFC 9110 8.8.3, 13)."""

import re

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def entity_tag(
    revision: int, instance_count: int | None, *, version: int, form: str | None = None
) -> str:
    """The ETag of metadata: of one instance, or with a count of those of a study or series.

    v1 sends it without the quotes that RFC 9110 demands, as the reference does. `form` tells
    representations apart that are not the default one.
    """
    parts = (str(part) for part in (revision, instance_count, form) if part is not None)
    tag = "-".join(parts)
    return tag if version == 1 else f'"{tag}"'


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether a client already has what this ETag stands for; it may name several, or any."""
    if if_none_match is None:
        return False
    wanted = if_none_match.strip()
    tag = etag.strip('"')
    if wanted in ("*", tag):
        return True
    return any(found.strip('"') == tag for found in _TAG.findall(wanted))
