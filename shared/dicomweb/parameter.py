"""Values of query parameters that are plain numbers or truth values (texts: reference)."""

from collections.abc import Sequence

from shared.errors import InvalidQueryError

_MAX_OFFSET = (1 << 31) - 1


def whole_number(text: str, name: str, least: int, most: int) -> int:
    """A number from `least` to `most`.

    Raises:
        InvalidQueryError: It is none, or lies outside.
    """
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit() and len(stripped) <= len(str(most)):
        number = int(stripped)
        if least <= number <= most:
            return number
    raise InvalidQueryError(
        f"The query parameter '{name}' is invalid. "
        f"The field {name} must be between {least} and {most}."
    )


def page(pairs: Sequence[tuple[str, str]], *, most: int, usual: int) -> tuple[int, int]:
    """The `limit` and `offset` of a list; their names have no case.

    Raises:
        InvalidQueryError: One of them is no number, or out of bounds.
    """
    given = {name.lower(): text for name, text in reversed(pairs)}
    limit = whole_number(given.get("limit", str(usual)), "Limit", 1, most)
    return limit, whole_number(given.get("offset", "0"), "Offset", 0, _MAX_OFFSET)


def truth(text: str, name: str) -> bool:
    """Whether a parameter is true or false, in any case.

    Raises:
        InvalidQueryError: It is neither.
    """
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise InvalidQueryError(
                f"The query parameter '{name}' is invalid. It must be true or false."
            )
