"""The Warning header, by which PS3.18 tells what a result lacks (10.6.3.1, 2025b)."""

import re
from collections.abc import Mapping, Sequence

_NOT_PRINTABLE = re.compile(r'[^\x20-\x7e]|["\\]')


def warning_header(sentences: Sequence[str], host: str) -> Mapping[str, str]:
    """One Warning header with all sentences, or none; `host` is that of the request."""
    agent = f"{_NOT_PRINTABLE.sub('', host)}:" if host else "-"
    texts = (f'299 {agent} "{_NOT_PRINTABLE.sub(" ", sentence)}"' for sentence in sentences)
    value = ", ".join(texts)
    return {"Warning": value} if value else {}


def remaining_results(count: int | None) -> Sequence[str]:
    """The sentence on results beyond the page that was sent; None is an unknown number."""
    if count == 0:
        return ()
    number = "" if count is None else f" {count}"
    return (f"There are{number} additional results that can be requested",)
