"""Data sets of every kind, written by an encoder of their own, beside what they must read as.

The encoder knows nothing of the code under test: bytes are as PS3.5 6.2, 7.1 and 7.5 have them, the
expected document as PS3.18 Annex F.
"""

import math
from base64 import b64encode
from collections import defaultdict
from dataclasses import dataclass
from struct import pack, unpack
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary

UNDEFINED = 0xFFFFFFFF
LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT", "SV", "UV"}
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\0\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
CHARSETS = {
    None: ("ascii", "Abc xyz09"),
    "ISO_IR 100": ("latin-1", "AbcÄöüé"),
    "ISO_IR 192": ("utf-8", "Abc日本Ω€"),
    "ISO_IR 144": ("iso8859-5", "AbcЖя"),
    "GB18030": ("gb18030", "Abc王小"),
}
SPECIAL = {0x00080005, 0x00280103, 0x00281101, 0x00281102, 0x00281103, 0x00283002}
NUMBERS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
WORDS = {"OB": 2, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
PLAIN = {
    "AS": ["012Y", "003M"],
    "CS": ["ORIGINAL", "A B", "X_1"],
    "DA": ["20240229", "19700101"],
    "DT": ["20240229120000.5+0100", "1999"],
    "TM": ["1200", "235959.123456"],
    "UI": ["1.2.3", "1.2.840.10008.5.1.4.1.1.2"],
    "AE": ["STORE_SCP", "A B"],
}
DECIMALS = [("1.50", 1.5), ("-1e3", -1000.0), ("+01", 1.0), (".5", 0.5), ("abc", "abc")]
INTEGERS = [("7", 7), ("-012", -12), ("+3", 3), ("12.5", "12.5"), ("1_0", "1_0")]
NAMES: list[tuple[str, dict[str, str] | None]] = [
    ("Doe^Jane", {"Alphabetic": "Doe^Jane"}),
    ("Doe=Roe", {"Alphabetic": "Doe", "Ideographic": "Roe"}),
    ("==Pho", {"Phonetic": "Pho"}),
    ("", None),
]


PAIRS: dict[str, list[tuple[str, Any]]] = {
    "DS": [*DECIMALS],
    "IS": [*INTEGERS],
    "PN": [*NAMES],
}


def _tags() -> dict[str, list[int]]:
    found = defaultdict(list)
    for tag, (vr, *_) in sorted(DicomDictionary.items()):
        if 0x00080005 < tag < 0x7FE00000 and tag & 0xFFFF and tag not in SPECIAL:
            found[vr].append(tag)
    return {vr: tags[:: max(1, len(tags) // 5)] for vr, tags in found.items() if " or " not in vr}


TAGS = _tags()


@dataclass(frozen=True)
class Encoded:
    """An element: its tag, VR, encoded value, and the element expected in the document."""

    tag: int
    vr: str
    raw: bytes
    expected: dict[str, Any]
    is_undefined: bool = False


def write(element: Encoded, *, explicit: bool) -> bytes:
    length = UNDEFINED if element.is_undefined else len(element.raw)
    head = pack("<HH", element.tag >> 16, element.tag & 0xFFFF)
    if explicit:
        head += element.vr.encode()
        if element.vr not in LONG:
            return head + pack("<H", length) + element.raw
        head += b"\0\0"
    return head + pack("<I", length) + element.raw


def valued(vr: str, values: list[Any]) -> dict[str, Any]:
    return {"vr": vr} if not values or values == [None] else {"vr": vr, "Value": values}


def padded(raw: bytes, pad: bytes = b" ") -> bytes:
    return raw + pad if len(raw) % 2 else raw


def _from_pairs(draw: st.DrawFn, pairs: list[tuple[str, Any]]) -> tuple[str, list[Any]]:
    drawn = draw(st.lists(st.sampled_from([*pairs, ("", None)]), max_size=3))
    return "\\".join(text for text, _ in drawn), [value for _, value in drawn]


def _number(draw: st.DrawFn, vr: str) -> tuple[bytes, dict[str, Any]]:
    code = NUMBERS[vr]
    size = len(pack("<" + code, 0))
    raw = draw(st.binary(max_size=3 * size).map(lambda raw: raw[: len(raw) // size * size]))
    values: list[Any] = list(unpack(f"<{len(raw) // size}{code}", raw))
    names = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return raw, valued(vr, ["NaN" if math.isnan(v) else names.get(v, v) for v in values])


def _text(draw: st.DrawFn, vr: str, charset: str | None) -> tuple[bytes, dict[str, Any]]:
    encoding, letters = CHARSETS[charset]
    words = st.text(letters, max_size=6).map(str.strip)
    if vr in {"LT", "ST", "UT", "UR"}:
        text = draw(words if vr != "UR" else st.sampled_from(["", "http://a/b?c"]))
        text += "\\x" if vr in {"LT", "ST", "UT"} and text else ""
        return padded(text.encode(encoding)), valued(vr, [text or None])
    values = draw(st.lists(words, max_size=3))
    return padded("\\".join(values).encode(encoding)), valued(vr, [v or None for v in values])


@st.composite
def elements(draw: st.DrawFn, charset: str | None) -> Encoded:
    """An element of any VR but SQ."""
    vr = draw(st.sampled_from(sorted(set(TAGS) - {"SQ"})))
    tag = draw(st.sampled_from(TAGS[vr]))
    if vr in NUMBERS:
        return Encoded(tag, vr, *_number(draw, vr))
    if vr in {"LO", "SH", "UC", "LT", "ST", "UT", "UR"}:
        return Encoded(tag, vr, *_text(draw, vr, charset))
    if vr in WORDS or vr == "UN":
        unit = WORDS.get(vr, 2)
        raw = draw(st.binary(max_size=24).map(lambda raw: raw[: len(raw) // unit * unit]))
        inline = {"InlineBinary": b64encode(raw).decode()} if raw else {}
        return Encoded(tag, vr, raw, {"vr": vr} | inline)
    if vr == "AT":
        tags = draw(st.lists(st.integers(0, 2**32 - 1), max_size=3))
        raw = b"".join(pack("<HH", t >> 16, t & 0xFFFF) for t in tags)
        return Encoded(tag, vr, raw, valued(vr, [f"{t:08X}" for t in tags]))
    pairs = PAIRS.get(vr)
    text, values = _from_pairs(draw, pairs or [(text, text) for text in PLAIN[vr]])
    return Encoded(
        tag, vr, padded(text.encode(), b"\0" if vr == "UI" else b" "), valued(vr, values)
    )


@st.composite
def private_blocks(draw: st.DrawFn, *, explicit: bool) -> list[Encoded]:
    """A private creator, and an attribute that only explicit VR tells the VR of."""
    raw = padded(draw(st.binary(max_size=9)))
    inline = {"InlineBinary": b64encode(raw).decode()} if raw else {}
    creator = Encoded(0x00290010, "LO", b"ACME 1", {"vr": "LO", "Value": ["ACME 1"]})
    if explicit and draw(st.booleans()):
        return [creator, Encoded(0x00291001, "SH", b"ab", {"vr": "SH", "Value": ["ab"]})]
    return [creator, Encoded(0x00291001, "UN", raw, {"vr": "UN"} | inline)]


@st.composite
def sequences(draw: st.DrawFn, charset: str | None, depth: int, *, explicit: bool) -> Encoded:
    """A sequence, and its items, of defined or undefined length."""
    tag = draw(st.sampled_from(TAGS["SQ"]))
    raw, documents = b"", []
    for _ in range(draw(st.integers(0, 2))):
        content, document = draw(contents(charset, depth - 1, explicit=explicit))
        documents.append(document)
        is_undefined = draw(st.booleans())
        length = UNDEFINED if is_undefined else len(content)
        raw += ITEM + pack("<I", length) + content
        raw += ITEM_END + bytes(4) if is_undefined else b""
    is_undefined = draw(st.booleans())
    raw += SEQUENCE_END + bytes(4) if is_undefined else b""
    return Encoded(tag, "SQ", raw, valued("SQ", documents), is_undefined)


@st.composite
def contents(
    draw: st.DrawFn, charset: str | None, depth: int, *, explicit: bool
) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a data set or item, and its document."""
    drawn = draw(st.lists(elements(charset), max_size=5))
    if depth:
        nested = sequences(charset, depth, explicit=explicit)
        drawn += draw(st.lists(nested, max_size=2))
    if draw(st.booleans()):
        drawn += draw(private_blocks(explicit=explicit))
    by_tag = {element.tag: element for element in drawn}
    ordered = [by_tag[tag] for tag in sorted(by_tag)]
    return (
        b"".join(write(element, explicit=explicit) for element in ordered),
        {f"{element.tag:08X}": element.expected for element in ordered},
    )


def part10(content: bytes, *, explicit: bool = True, syntax: str | None = None) -> bytes:
    """A Part 10 file with this data set."""
    uid = syntax or ("1.2.840.10008.1.2.1" if explicit else "1.2.840.10008.1.2")
    meta = write(Encoded(0x00020010, "UI", padded(uid.encode(), b"\0"), {}), explicit=True)
    length = write(Encoded(0x00020000, "UL", pack("<I", len(meta)), {}), explicit=True)
    return bytes(128) + b"DICM" + length + meta + content


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A Part 10 file, and the document expected of it."""
    explicit, charset = draw(st.booleans()), draw(st.sampled_from(list(CHARSETS)))
    content, document = draw(contents(charset, 2, explicit=explicit))
    if charset is not None:
        declared = Encoded(0x00080005, "CS", padded(charset.encode()), {})
        content = write(declared, explicit=explicit) + content
        document = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}} | document
    assume(document)
    return part10(content, explicit=explicit), document
