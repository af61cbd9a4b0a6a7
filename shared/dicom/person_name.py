"""Folding: how text is compared when case and accents do not count."""

import re
import unicodedata

# Marks that make another letter: nukta, the voice of kana, virama. All other marks are accents.
_CLASSES_OF_LETTERS = frozenset({7, 8, 9})

_BETWEEN_WORDS = re.compile(r"[\s^=\\.,;-]+")


def fold(text: str) -> str:
    """Drop case, accents, width and outer padding, and nothing else.

    Scripts stay apart: a Cyrillic or Han name never folds onto a Latin one.
    """
    decomposed = unicodedata.normalize("NFKD", text.strip(" \0").casefold())
    return unicodedata.normalize("NFC", "".join(filter(_is_no_accent, decomposed)))


def _is_no_accent(char: str) -> bool:
    combining = unicodedata.combining(char)
    return not combining or combining in _CLASSES_OF_LETTERS


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
