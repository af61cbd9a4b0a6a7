"""Whether an answer may be compressed (RFC 9110 12.5.3)."""


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether a client takes gzip: named or by `*`, and not with quality 0."""
    qualities: dict[str, bool] = {}
    for entry in (accept_encoding or "").lower().split(","):
        coding, *parameters = (text.strip() for text in entry.split(";"))
        qualities[coding] = not any(_is_zero(parameter) for parameter in parameters)
    return qualities.get("gzip", qualities.get("*", False))


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and not value.strip().strip("0.")
