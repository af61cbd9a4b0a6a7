"""Under which names a refused file may be kept, and the reason beside it."""

from collections.abc import Callable, Iterator

REASON = ".error.json"
_DIGITS_OF_DIGEST = 12


def failed_names(name: str, sha256: Callable[[], str]) -> Iterator[str]:
    """Names to be tried in turn, the file's own first.

    The second is for another file of the same name, the third for a name that cannot be had; both
    are made of the digest of the file, which may take long.
    """
    # The reason of another file might have to take the place of such a one.
    if not name.endswith(REASON):
        yield name
    digest = sha256()
    yield f"{name}.{digest[:_DIGITS_OF_DIGEST]}"
    yield digest
