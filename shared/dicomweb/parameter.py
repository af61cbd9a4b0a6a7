"""Values of query parameters that are plain numbers or truth values (texts: reference)."""

from shared.errors import InvalidQueryError


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
