"""Where a client believes the service to be, as trusted proxies tell it.

Standard: RFC 7239 (Forwarded); X-Forwarded-Proto, -Host and -Prefix are what most proxies send.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

type Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?\Z", re.ASCII)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+\Z", re.ASCII)
_PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"([^"\\]*)"|([^\s;,"]*))\s*\Z', re.ASCII)
_SCHEMES = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host with port, and path prefix (with a leading slash, or empty) of the service."""

    scheme: str
    host: str
    prefix: str = ""

    @property
    def root(self) -> str:
        """The URL that paths of the service are appended to, without a final slash."""
        return f"{self.scheme}://{self.host}{self.prefix}"


def is_host(text: str) -> bool:
    """Whether a text is a host name or address, with or without a port."""
    return _HOST.match(text) is not None


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read a list of addresses and networks, separated by commas.

    Raises:
        ValueError: One of them is neither.
    """
    names = (name.strip() for name in text.split(","))
    return tuple(ip_network(name, strict=False) for name in names if name)


def is_trusted(client: str | None, proxies: Sequence[Network]) -> bool:
    """Whether the address that a connection comes from is that of a trusted proxy."""
    try:
        address = ip_address(client or "")
    except ValueError:
        return False
    return any(address in network for network in proxies)


def external_origin(direct: Origin, headers: Mapping[str, str]) -> Origin:
    """The origin as the outermost proxy saw it; what is malformed is ignored.

    `headers` have names in lower case. Forwarded goes before the X- headers.
    """
    found = _forwarded(headers.get("forwarded", ""))
    scheme = found.get("proto") or _first(headers.get("x-forwarded-proto", ""))
    host = found.get("host") or _first(headers.get("x-forwarded-host", ""))
    prefix = _first(headers.get("x-forwarded-prefix", "")).rstrip("/")
    return Origin(
        scheme.lower() if scheme.lower() in _SCHEMES else direct.scheme,
        host if is_host(host) else direct.host,
        prefix if _PREFIX.match(prefix) else direct.prefix,
    )


def _forwarded(header: str) -> Mapping[str, str]:
    """The parameters of the first element of a Forwarded header."""
    pairs = (_PAIR.match(pair) for pair in _first(header).split(";"))
    return {pair[1].lower(): pair[2] or pair[3] or "" for pair in pairs if pair}


def _first(header: str) -> str:
    return header.split(",", 1)[0].strip()
