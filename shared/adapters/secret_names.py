"""The names that secrets have, wherever they are kept."""

import re

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}\Z")


def checked_name(name: str) -> str:
    """A name as it is.

    Raises:
        ValueError: It is none that a Key Vault takes.
    """
    if not _NAME.match(name):
        raise ValueError("a secret's name has letters, digits and dashes only")
    return name
