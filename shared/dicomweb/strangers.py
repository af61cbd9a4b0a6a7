"""Who is refused where nobody is asked who they are: other machines, and pages of elsewhere.

A page that somebody looks at on this machine sends its requests from here. If it has its own name
lead to this machine, it may even read the answers; the name gives it away.
"""

from collections.abc import Collection, Iterable

from shared.dicomweb.cors import CorsRule
from shared.loopback import is_this_machine

_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


def is_from_this_machine(peer: str | None, hosts: Iterable[str]) -> bool:
    """Whether a request comes from here, as far as that is known, and calls nobody else.

    `hosts` are the values of its Host and X-Forwarded-Host header lines. Whoever sends none of
    these is no browser.
    """
    if peer is not None and not is_this_machine(f"[{peer}]" if ":" in peer else peer):
        return False
    names = (name.strip() for line in hosts for name in line.split(","))
    return all(map(is_this_machine, names))


def is_forged(method: str, origin: str | None, hosts: Collection[str], pages: CorsRule) -> bool:
    """Whether a page may have sent a change without the knowledge of whoever looks at it.

    Browsers send such a request to anybody, and keep from the page only the answer. Pages of this
    machine, and those that came from where the request goes, are none of elsewhere.

    Standard: Fetch, 3.1 (the Origin header).
    """
    if method in _CHANGES_NOTHING or origin is None or pages.admits(origin):
        return False
    host = origin.partition("://")[2]
    return not (is_this_machine(host) or host in hosts)
