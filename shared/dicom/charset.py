"""Text of the character sets that a data set declares, decoded without ever failing.

Standard: PS3.5 6.1.2, PS3.3 C.12.1.1.2 (2025b).
"""

import codecs
import re
from collections.abc import Sequence
from functools import lru_cache

from pydicom.charset import (
    CODES_TO_ENCODINGS,
    STAND_ALONE_ENCODINGS,
    default_encoding,
    encode_string,
    handled_encodings,
    python_encoding,
)

from shared.dicom.quiet import quiet

type Encodings = tuple[str, ...]

DEFAULT_ENCODINGS: Encodings = (default_encoding,)

_ESCAPE = b"\x1b"
_ESCAPED_PARTS = re.compile(rb"[^\x1b]+|\x1b[^\x1b]*")
# A line break, tab or form feed returns to the first character set (PS3.5 6.1.2.5.3).
_RESET = re.compile(rb"[\r\n\t\f]")
_DELIMITERS = re.compile(r"([\\^=\r\n\t\f])")
# Python knows codecs that are no character sets, and some whose cost is quadratic: none but these.
_SAFE_CODECS = frozenset(
    {codecs.lookup(encoding).name for encoding in python_encoding.values()}
    | {"ascii", "utf-8", "cp1250", "cp1251", "cp1252", "cp932", "euc_jp", "big5", "iso8859-15"}
)


@lru_cache(maxsize=256)
def encodings_of(declared: tuple[str, ...]) -> Encodings:
    """The codecs of the values of Specific Character Set; what is unknown counts as the default.

    Spelling mistakes that real devices make (`ISO-IR 100`, `ISO_2022_IR_87`) are understood.
    """
    if not declared:
        return DEFAULT_ENCODINGS
    if len(declared) > 1 and declared[0] in STAND_ALONE_ENCODINGS:
        return (_encoding_of(declared[0]),)
    return tuple(
        _encoding_of(term)
        for index, term in enumerate(declared)
        if index == 0 or term not in STAND_ALONE_ENCODINGS
    )


def _encoding_of(term: str) -> str:
    known = python_encoding.get(term)
    if known is not None:
        return known
    if re.match("ISO[^_]IR", term):
        return python_encoding.get("ISO_IR" + term[6:], default_encoding)
    if re.match("ISO.2022.IR.", term):
        return python_encoding.get("ISO 2022 IR " + term[12:], default_encoding)
    try:
        is_safe = codecs.lookup(term).name in _SAFE_CODECS
    except (LookupError, ValueError):
        is_safe = False
    return term if is_safe else default_encoding


def decode(raw: bytes, encodings: Sequence[str]) -> str:
    """Decode text; bytes that mean nothing become replacement characters.

    Standard: PS3.5 6.1.2.4 and 6.1.2.5, code extension (2025b).
    """
    if _ESCAPE not in raw:
        # All that is ASCII means the same in every character set, and that is quickly decoded.
        if raw.isascii():
            return raw.decode("ascii")
        return raw.decode(encodings[0], "replace")
    return "".join(_decode_part(part, encodings) for part in _ESCAPED_PARTS.findall(raw))


def encode(text: str, encodings: Sequence[str]) -> bytes | None:
    """Encode text so that `decode` gives it again, None if these character sets cannot hold it.

    Standard: PS3.5 6.1.2.4 and 6.1.2.5, code extension (2025b).
    """
    if text.isascii():
        return text.encode("ascii")
    if tuple(encodings) == DEFAULT_ENCODINGS:
        return None
    # Delimiters return to the first character set, so what is between them is encoded by itself.
    with quiet():
        parts = [encode_string(part, list(encodings)) for part in _DELIMITERS.split(text)]
    if encodings[0] == default_encoding and not all(map(_is_within_default, parts)):
        return None
    encoded = b"".join(parts)
    return encoded if decode(encoded, encodings) == text else None


def _is_within_default(part: bytes) -> bool:
    """Whether what is in the default repertoire is ASCII; its codec takes more."""
    return all(
        piece.isascii()
        for piece in _ESCAPED_PARTS.findall(part)
        if not piece.startswith(_ESCAPE) or CODES_TO_ENCODINGS.get(piece[:3]) == default_encoding
    )


def _decode_part(part: bytes, encodings: Sequence[str]) -> str:
    if not part.startswith(_ESCAPE):
        return part.decode(encodings[0], "replace")
    escape = part[: 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3]
    encoding = CODES_TO_ENCODINGS.get(escape)
    if encoding is None or (encoding not in encodings and encoding != default_encoding):
        return part.decode(encodings[0], "replace")
    try:
        return _decode_designated(part, len(escape), (encoding, encodings[0]))
    except UnicodeError:
        return part.decode(encodings[0], "replace")


def _decode_designated(part: bytes, escape_length: int, codecs_used: tuple[str, str]) -> str:
    designated, first = codecs_used
    if designated in handled_encodings:
        return part.decode(designated)
    text = part[escape_length:]
    reset = _RESET.search(text)
    if reset is None:
        return text.decode(designated)
    return text[: reset.start()].decode(designated) + text[reset.start() :].decode(first)
