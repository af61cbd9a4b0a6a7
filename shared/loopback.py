"""Which addresses are on this machine."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_this_machine(authority: str) -> bool:
    """Whether a name or address, maybe with a port, is one of the loopback interface."""
    try:
        host = urlsplit(f"//{authority}").hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
