import pytest

from shared.dicom.minimum_rules import MINIMUM_RULES


def _too_long(most: int) -> str:
    return f"Value exceeds maximum length of {most} characters."


CHARACTER = "Value contains invalid character."
NO_DATE = "Value cannot be parsed as a valid date."
NO_TIME = "Value cannot be parsed as a valid time."
NO_INTEGER = "Value cannot be parsed as a valid integer."
NO_DECIMAL = "Value cannot be parsed as a valid decimal number."
NO_DATE_TIME = "Value cannot be parsed as a valid date and time."
NO_UID = "Value is not a valid unique identifier."


@pytest.mark.parametrize(
    ("vr", "values"),
    [
        ("AE", ["", "x" * 16]),
        ("AS", ["045Y", "abcd"]),
        ("CS", ["lower case", "x" * 16]),
        ("DA", ["20240229", "19000101"]),
        ("DS", [1.5, -2, "+1.5e-3", " .5 ", "7."]),
        ("DT", ["2024", "20240229", "20240229235960.123456+1400", "202402291200-0330", "2024 "]),
        ("FD", [0.5, -1, "NaN", "-Infinity"]),
        ("FL", [0.5, "Infinity"]),
        ("IS", [5, "-12", " +3 "]),
        ("SL", [-5]),
        ("SS", [-5]),
        ("UL", [5]),
        ("US", [0, 65535]),
        ("LO", ["x" * 64, "a\x1bb", "東京"]),
        ("PN", ["a^b^c^d^e=x=y", "x" * 64, "a\x1bb"]),
        ("SH", ["x" * 16]),
        ("TM", ["23", "2359", "23:59:59.123456", "235960 "]),
        ("UI", ["1.2.3", "1.02", "9" * 64]),
    ],
)
def test_what_is_good_enough_has_no_reason_against_it(vr: str, values: list[object]) -> None:
    assert [MINIMUM_RULES[vr](value) for value in values] == [None] * len(values)


@pytest.mark.parametrize(
    ("vr", "value", "reason"),
    [
        ("AE", "x" * 17, _too_long(16)),
        ("AS", "45Y", "Value length is not expected length of 4 characters."),
        ("CS", "x" * 17, _too_long(16)),
        ("DA", "2024.02.29", NO_DATE),
        ("DA", "20230229", NO_DATE),
        ("DA", "2024022", NO_DATE),
        ("DA", "2024 2 9", NO_DATE),
        ("DA", "٢٠٢٤٠٢٢٩", NO_DATE),
        ("DS", "1,5", NO_DECIMAL),
        ("DS", "1e", NO_DECIMAL),
        ("DS", "٣", NO_DECIMAL),
        ("DS", "", NO_DECIMAL),
        ("DT", "20230229", NO_DATE_TIME),
        ("DT", "2024022", NO_DATE_TIME),
        ("DT", "2024022924", NO_DATE_TIME),
        ("DT", "20240229+1500", NO_DATE_TIME),
        ("DT", "2024-02-29", NO_DATE_TIME),
        ("FD", "AAA=", "Value length is not expected length of 8 bytes."),
        ("FL", "AAA=", "Value length is not expected length of 4 bytes."),
        ("IS", "1.5", NO_INTEGER),
        ("US", "AA==", "Value length is not expected length of 2 bytes."),
        ("IS", "1" * 13, NO_INTEGER),
        ("LO", "x" * 65, _too_long(64)),
        ("LO", "a\\b", CHARACTER),
        ("LO", "a\0", CHARACTER),
        ("PN", "a=b=c=d", "Value contains too many groups."),
        ("PN", "a=" + "x" * 65, _too_long(64)),
        ("PN", "a^b^c^d^e^f", "Value contains too many components."),
        ("PN", "a=b\n", CHARACTER),
        ("SH", "x" * 17, _too_long(16)),
        ("TM", "24", NO_TIME),
        ("TM", "2360", NO_TIME),
        ("TM", "1011\0", NO_TIME),
        ("UI", "1.2.", NO_UID),
        ("UI", "1" * 65, NO_UID),
    ],
)
def test_what_is_not_is_told_in_the_words_of_the_reference(
    vr: str, value: str, reason: str
) -> None:
    assert MINIMUM_RULES[vr](value) == reason
