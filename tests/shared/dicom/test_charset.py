import pytest
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

from shared.dicom.charset import decode, encode, encodings_of

NAMES = [
    ("ISO_IR 100", b"Buc^J\xe9r\xf4me"),
    ("ISO_IR 192", "Wang=王^小东".encode()),
    ("GB18030", "王^小东".encode("gb18030")),
    ("\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
    ),
    ("\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", b"a\xe9\x1b-L\xbf\n\xe9"),
    ("ISO 2022 IR 6\\ISO 2022 IR 58", b"Zhang=\x1b$)A\xd5\xc5\r\n\x1b$)A\xd0\xa1"),
]


@pytest.mark.parametrize(("declared", "raw"), NAMES)
def test_text_is_decoded_as_pydicom_does(declared: str, raw: bytes) -> None:
    terms = declared.split("\\")
    expected = decode_bytes(raw, convert_encodings(terms), TEXT_VR_DELIMS)
    assert decode(raw, encodings_of(tuple(terms))) == expected


@pytest.mark.parametrize(
    ("declared", "encodings"),
    [
        ((), ("iso8859",)),
        (("",), ("iso8859",)),
        (("ISO-IR 100",), ("latin_1",)),
        (("ISO 2022-IR 87",), ("iso2022_jp",)),
        (("UTF-8",), ("UTF-8",)),
        (("GBK", "ISO 2022 IR 87"), ("GBK",)),
        (("ISO 2022 IR 100", "GB18030"), ("latin_1",)),
        (("zlib",), ("iso8859",)),
        (("punycode",), ("iso8859",)),
        (("nonsense\0",), ("iso8859",)),
    ],
)
def test_what_is_declared_names_codecs_that_are_safe(
    declared: tuple[str, ...], encodings: tuple[str, ...]
) -> None:
    assert encodings_of(declared) == encodings


@pytest.mark.parametrize("raw", [b"\x1b$B\xff\xff", b"\x1b", b"\x1b$)Z\xff", b"\xff\xfe\x1b(B\xff"])
def test_bytes_that_mean_nothing_are_replaced(raw: bytes) -> None:
    for declared in ("ISO_IR 192", "ISO 2022 IR 87", "ISO 2022 IR 149"):
        assert isinstance(decode(raw, encodings_of((declared,))), str)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (("", "ISO 2022 IR 87"), "Müller^Jörg"),
        (("ISO 2022 IR 6", "ISO 2022 IR 87"), "Müller"),
        (("", "ISO 2022 IR 87"), "山田^é"),
        (("", "ISO 2022 IR 87"), "山田é"),
        (("", "ISO 2022 IR 149"), "é\n김"),
        (("nonsense", "ISO 2022 IR 149"), "é"),
        (("ISO_IR 6",), "é"),
        ((), "é"),
        (("ISO 2022 IR 13", "ISO 2022 IR 87"), "é"),
        (("ISO_IR 100",), "山田"),
    ],
)
def test_text_that_the_declared_repertoires_lack_is_not_encoded(
    declared: tuple[str, ...], text: str
) -> None:
    assert encode(text, encodings_of(declared)) is None


@pytest.mark.parametrize(
    ("declared", "text", "raw"),
    [
        (("", "ISO 2022 IR 87"), "Yamada=山田^太郎", b"Yamada=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        (("", "ISO 2022 IR 149"), "Hong=김", b"Hong=\x1b$)C\xb1\xe8"),
        (("ISO 2022 IR 100", "ISO 2022 IR 144"), "é^Ж", b"\xe9^\x1b-L\xb6"),
        (("ISO_IR 100",), "Jérôme", b"J\xe9r\xf4me"),
        (("ISO_IR 192",), "Ω", "Ω".encode()),
    ],
)
def test_text_is_encoded_by_the_character_sets_that_have_it(
    declared: tuple[str, ...], text: str, raw: bytes
) -> None:
    assert encode(text, encodings_of(declared)) == raw
