from typing import Any

import pytest

from shared.dicom.searchable import tag_of
from shared.dicom.value_representation import Document
from shared.dicom.value_rules import malformed_elements

CHARACTER = "value contains invalid character"


def _length(most: int) -> str:
    return f"value exceeds maximum length of {most} characters"


def _sentences(document: Document) -> list[str]:
    return [found.sentence for found in malformed_elements(document)]


def _of(vr: str, *values: Any, tag: str = "00091001") -> list[str]:
    """What is said of a private attribute, which may have any number of values."""
    return _sentences({tag: {"vr": vr, "Value": list(values)}})


@pytest.mark.parametrize(
    ("vr", "values"),
    [
        ("AE", ["STORE_1", "a b"]),
        ("AS", ["045Y", "003D", "001W", "012M"]),
        ("CS", ["MR", "A_B 9", ""]),
        ("DA", ["20240229", "19991231", "00010101"]),
        ("DS", [1.5, -3, "1e30", "9007199254740993", None]),
        ("DT", ["2024", "202402", "20240229", "2024022911", "20240229111213.123456+0100"]),
        ("DT", ["202402291112-0500"]),
        ("IS", [1, -(2**31), 2**31 - 1, None]),
        ("LO", ["x" * 64, "東京", "a\x1bb"]),
        ("LT", ["two\r\nlines\ttab\f", "x" * 10240]),
        ("PN", [{"Alphabetic": "a^b^c^d^e", "Ideographic": "x" * 64}, None]),
        ("SH", ["x" * 16]),
        ("ST", ["x" * 1024]),
        ("TM", ["23", "2359", "235960", "235959.123456", "00"]),
        ("UC", ["x" * 100_000]),
        ("UI", ["1.2.840.10008", "1.02.3", "9" * 64]),
        ("UT", ["\0"]),
        ("US", [65535]),
    ],
)
def test_a_well_formed_value_is_let_through(vr: str, values: list[Any]) -> None:
    assert _of(vr, *values) == []


@pytest.mark.parametrize(
    ("vr", "value", "reason"),
    [
        ("AE", "x" * 17, _length(16)),
        ("AE", "a\nb", CHARACTER),
        ("AS", "45Y", "value does not have pattern 000[DWMY]"),
        ("CS", "x" * 17, _length(16)),
        ("CS", "X\0X", CHARACTER),
        ("CS", "mr", CHARACTER),
        ("DA", "NotADate", "one of the date values does not match the pattern YYYYMMDD"),
        ("DA", "20231301", "one of the date values does not match the pattern YYYYMMDD"),
        ("DA", "2023.01.02", "one of the date values does not match the pattern YYYYMMDD"),
        ("DA", "20240132", "one of the date values does not match the pattern YYYYMMDD"),
        ("DS", "1,5", "value is no decimal string"),
        ("DS", "inf", "value is no decimal string"),
        ("DT", "20240229-0000", "value does not match the pattern YYYYMMDDHHMMSS.FFFFFF&ZZXX"),
        ("DT", "24", "value does not match the pattern YYYYMMDDHHMMSS.FFFFFF&ZZXX"),
        ("IS", "1.5", "value is no integer string"),
        ("IS", 2**31, "value does not fit into 32 bits"),
        ("LO", "x" * 65, _length(64)),
        ("LO", "a\tb", CHARACTER),
        ("LT", "x" * 10241, _length(10240)),
        ("SH", "x" * 17, _length(16)),
        ("SH", "\0x", CHARACTER),
        ("ST", "x" * 1025, _length(1024)),
        ("TM", "24", "value does not match the pattern HHMMSS.FFFFFF"),
        ("TM", "10:11:12", "value does not match the pattern HHMMSS.FFFFFF"),
        ("TM", "101112.1234567", "value does not match the pattern HHMMSS.FFFFFF"),
        ("UI", "1.2.", CHARACTER),
        ("UI", "abc.123", CHARACTER),
        ("UI", "1" * 65, _length(64)),
    ],
)
def test_a_malformed_value_is_quoted_with_the_rule_it_breaks(
    vr: str, value: object, reason: str
) -> None:
    assert _of(vr, value) == [f'Content "{value}" does not validate VR {vr}: {reason}']


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ({"Alphabetic": "x" * 65}, _length(64)),
        ({"Alphabetic": "a", "Phonetic": "a^b^c^d^e^f"}, "value contains too many components"),
        ({"Ideographic": "a\nb"}, CHARACTER),
    ],
)
def test_every_group_of_a_name_is_checked(name: dict[str, str], reason: str) -> None:
    assert [s.rpartition(": ")[2] for s in _of("PN", {"Alphabetic": "Good"}, name)] == [reason]


def test_of_several_malformed_values_the_first_is_quoted() -> None:
    (sentence,) = _of("CS", "OK", "bad", "worse")
    assert sentence.startswith('Content "bad" ')


def test_digits_of_other_scripts_are_none() -> None:
    assert len(_of("DA", "٢٠٢٤٠١٠١")) == 1


@pytest.mark.parametrize(
    ("keyword", "vr", "values", "reason"),
    [
        ("StudyDescription", "LO", ["a", "b"], "the attribute has 2 values instead of 1"),
        ("PixelSpacing", "DS", [0.5], "the attribute has 1 values instead of 2"),
        ("ImageType", "CS", ["X"], "the attribute has 1 values instead of 2 or more"),
        ("LossyImageCompression", "CS", ["00", "01"], "the attribute has 2 values instead of 1"),
        ("OtherPatientNames", "PN", [{}] * 9, None),
    ],
)
def test_the_number_of_values_is_that_of_the_standard(
    keyword: str, vr: str, values: list[Any], reason: str | None
) -> None:
    found = _of(vr, *values, tag=tag_of(keyword))
    assert [sentence.partition(": ")[2] for sentence in found] == ([reason] if reason else [])


def test_what_has_no_values_breaks_no_rule() -> None:
    document: Document = {
        "00080020": {"vr": "DA"},
        "00080060": {"vr": "UN", "InlineBinary": "AAE="},
        "7FE00010": {"vr": "OW", "BulkDataURI": "7FE00010"},
    }
    assert _sentences(document) == []


def test_items_are_checked_however_deep_they_lie() -> None:
    innermost: Document = {"00080020": {"vr": "DA", "Value": ["never"]}}
    document = innermost
    for _ in range(60):
        document = {"00081140": {"vr": "SQ", "Value": [{}, document]}}

    (found,) = malformed_elements(document)

    assert found.tag == "00080020"
    assert found.element is innermost["00080020"]
