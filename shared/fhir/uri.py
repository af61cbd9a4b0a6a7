"""URIs as names (RFC 3986)."""

from urllib.parse import urlsplit


def is_absolute_uri(text: str) -> bool:
    """Whether a text names something everywhere: a URI with a scheme."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not any(map(str.isspace, text))
