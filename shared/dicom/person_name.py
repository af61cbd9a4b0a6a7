"""Folding: how text is compared when case and accents do not count."""

import re
import unicodedata

_BETWEEN_WORDS = re.compile(r"[\s^=\\.,;-]+")


def fold(text: str) -> str:
    """Drop case, accents, width and outer padding, and nothing else.

    Scripts stay apart: a Cyrillic or Han name never folds onto a Latin one.
    """
    decomposed = unicodedata.normalize("NFKD", text.strip(" \0").casefold())
    return unicodedata.normalize(
        "NFC", "".join(char for char in decomposed if not unicodedata.combining(char))
    )


def fold_case(text: str) -> str:
    """Drop case and outer padding: how other text than person names is compared."""
    return text.strip(" \0").casefold()


def fold_person_name(text: str) -> str:
    """Fold a whole PN value, dropping the empty components and groups at its end."""
    groups = (fold(group).rstrip("^ ") for group in text.split("="))
    return "=".join(groups).rstrip("=")


def words(text: str) -> tuple[str, ...]:
    """The distinct folded words of a name, in order: what fuzzy matching looks at."""
    return tuple(dict.fromkeys(word for word in _BETWEEN_WORDS.split(fold(text)) if word))
