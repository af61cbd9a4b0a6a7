"""Which data sets v1 and v2 take, and what v2 leaves out of them."""

from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.dicom.part10 import scan
from shared.dicom.validation import Problem, Verdict, validate
from tests.builders import dataset, part10, with_values

REQUIRED = [
    "SOPClassUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "PatientID",
]

_HEAD = dataset(BodyPartExamined="HEAD")


def _verdict(source: Dataset, version: int, **values: bytes) -> Verdict:
    header = scan(with_values(part10(source), **values))
    return validate(header.document, version, header.null_padded)


def _comments(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.comment for problem in problems]


@pytest.mark.parametrize("version", [1, 2])
def test_a_good_data_set_is_taken_as_it_is(version: int) -> None:
    header = scan(part10(dataset()))
    verdict = validate(header.document, version, header.null_padded)
    assert (verdict.failures, verdict.warnings) == ((), ())
    assert verdict.document is header.document
    assert not verdict.has_unindexed_values


@pytest.mark.parametrize(
    ("version", "keyword"), [(1, keyword) for keyword in REQUIRED] + [(2, k) for k in REQUIRED[:4]]
)
def test_a_required_attribute_that_is_absent_is_the_only_failure_told(
    keyword: str, version: int
) -> None:
    source = dataset(**{keyword: None})
    (problem,) = _verdict(source, version, StudyDate=b"never").failures
    assert problem.sentence == f"The required tag '{problem.comment[10:21]}' is missing."


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("keyword", REQUIRED[:4])
def test_a_required_uid_has_one_value(keyword: str, version: int) -> None:
    for value in (b"", b"1.2.3\\1.2.4"):
        (problem,) = _verdict(dataset(), version, **{keyword: value}).failures
        assert problem.sentence.endswith("is missing.")


@pytest.mark.parametrize("patient", [None, ""])
def test_without_a_patient_id_v1_refuses_and_v2_warns(patient: str | None) -> None:
    source = dataset(PatientID=patient)
    comment = "DICOM100: (0010,0020) - The required tag '(0010,0020)' is missing."
    assert _comments(_verdict(source, 1).failures) == [comment]
    verdict = _verdict(source, 2)
    assert verdict.failures == ()
    assert _comments(verdict.warnings) == [comment]
    assert verdict.document == scan(part10(source)).document


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("value", [b"abc.123", b"11|", b"1.2.", b"1" * 65])
def test_a_malformed_required_uid_is_refused(value: bytes, version: int) -> None:
    verdict = _verdict(dataset(), version, StudyInstanceUID=value)
    assert _comments(verdict.failures) == [
        "DICOM100: (0020,000D) - Dicom element 'StudyInstanceUID' failed validation for VR 'UI': "
        "Value is not a valid unique identifier."
    ]
    assert verdict.path is None


@pytest.mark.parametrize("version", [1, 2])
def test_leading_zeros_and_outer_padding_of_uids_are_let_through(version: int) -> None:
    verdict = _verdict(dataset(), version, StudyInstanceUID=b"1.02.3 \0")
    assert verdict.failures == ()
    assert verdict.path is not None
    assert verdict.path.study == "1.02.3"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"Modality": b"M" * 20}, "Value exceeds maximum length of 16 characters."),
        ({"AccessionNumber": b"A" * 17}, "Value exceeds maximum length of 16 characters."),
        ({"StudyDescription": b"D" * 65}, "Value exceeds maximum length of 64 characters."),
        ({"StudyDescription": b"a\tb"}, "Value contains invalid character."),
        ({"StudyDate": b"20260230"}, "Value cannot be parsed as a valid date."),
        ({"StudyDate": b"2026.01.02"}, "Value cannot be parsed as a valid date."),
        ({"PatientBirthDate": b"19700101\0\0"}, "Value cannot be parsed as a valid date."),
        ({"PatientName": b"a^b^c^d^e^f"}, "Value contains too many components."),
        ({"PatientName": b"x" * 65}, "Value exceeds maximum length of 64 characters."),
        ({"PatientName": b"a\nb"}, "Value contains invalid character."),
        ({"PatientID": b"Before Null Character, \0"}, "Value contains invalid character."),
    ],
)
def test_v1_refuses_a_malformed_indexed_attribute(values: dict[str, bytes], reason: str) -> None:
    (problem,) = _verdict(dataset(), 1, **values).failures
    (keyword,) = values
    assert problem.sentence.startswith(f"Dicom element '{keyword}' failed validation for VR '")
    assert problem.sentence.endswith(f"': {reason}")


@pytest.mark.parametrize(
    "values",
    [
        {"BodyPartExamined": b"lower case and far too long"},
        {"StudyTime": b"never"},
        {"SeriesNumber": b"one"},
        {"Modality": b"X\0"},
        {"Modality": b"lower"},
        {"PatientName": b"a=b=c"},
    ],
)
def test_v1_lets_pass_what_it_does_not_index_or_hardly_checks(values: dict[str, bytes]) -> None:
    verdict = _verdict(_HEAD, 1, **values)
    assert (verdict.failures, verdict.warnings) == ((), ())


@pytest.mark.parametrize(
    ("version", "values", "expected"),
    [
        (1, {"StudyDescription": b"a\\b"}, True),
        (1, {"Modality": b"CT\\MR"}, True),
        (1, {"BodyPartExamined": b"HEAD\\NECK"}, False),
        (2, {"PatientID": b"1\\2"}, True),
        (2, {"StudyDescription": b"a\\b"}, False),
    ],
)
def test_further_values_of_what_is_indexed_are_noticed(
    version: int, values: dict[str, bytes], expected: Any
) -> None:
    verdict = _verdict(_HEAD, version, **values)
    assert verdict.failures == ()
    assert verdict.has_unindexed_values is expected


def test_v1_wants_one_value_of_patient_id() -> None:
    (problem,) = _verdict(dataset(), 1, PatientID=b"1\\2").failures
    assert problem.sentence.endswith("is missing.")


def test_v2_drops_what_is_malformed_and_keeps_the_rest() -> None:
    verdict = _verdict(_HEAD, 2, StudyDate=b"NotAValidStudyDate", BodyPartExamined=b"head")
    assert verdict.failures == ()
    assert _comments(verdict.warnings) == [
        'DICOM100: (0008,0020) - Content "NotAValidStudyDate" does not validate VR DA: '
        "one of the date values does not match the pattern YYYYMMDD",
        'DICOM100: (0018,0015) - Content "head" does not validate VR CS: '
        "value contains invalid character",
    ]
    assert verdict.document.keys().isdisjoint({"00080020", "00180015"})
    assert verdict.document["00100030"]["Value"] == ["19700102"]


def test_v2_drops_a_malformed_element_of_an_item_where_it_stands() -> None:
    source = dataset()
    source.ReferencedStudySequence = [Dataset() for _ in range(3)]
    for item, date in zip(
        source.ReferencedStudySequence, ("20260102", "20000101", "20000101"), strict=True
    ):
        item.StudyDate = date
        item.CodeValue = "1"
    content = part10(source).replace(b"20000101", b"yesterda")

    verdict = validate(scan(content).document, 2)

    (problem,) = verdict.warnings
    assert problem.tag == "00080020"
    assert [item.keys() for item in verdict.document["00081110"]["Value"]] == [
        {"00080020", "00080100"},
        {"00080100"},
        {"00080100"},
    ]
    assert verdict.document["00080020"]["Value"] == ["20260102"]


def test_v2_takes_padding_with_nul_for_padding() -> None:
    verdict = _verdict(dataset(), 2, Modality=b"X\0", PatientID=b"123\0", PatientName=b"Doe\0")
    assert (verdict.failures, verdict.warnings) == ((), ())
    assert verdict.document["00100020"]["Value"] == ["123"]


def test_v2_refuses_a_malformed_patient_id_and_tells_all_else_too() -> None:
    verdict = _verdict(dataset(), 2, PatientID=b"\0123\0", StudyDate=b"never")
    assert [problem.tag for problem in verdict.failures] == ["00100020", "00080020"]
    assert "never" not in "".join(_comments(verdict.failures))


def test_an_indexed_attribute_of_another_vr_is_refused_by_v1_and_dropped_by_v2() -> None:
    source = dataset()
    source["StudyDate"].VR = "SH"
    sentence = "Dicom element 'StudyDate' failed validation for VR 'DA': The VR is 'SH'."
    assert [p.sentence for p in _verdict(source, 1).failures] == [sentence]
    verdict = _verdict(source, 2)
    assert [p.sentence for p in verdict.warnings] == [sentence]
    assert "00080020" not in verdict.document


def test_private_elements_are_checked_by_their_vr_alone() -> None:
    source = dataset()
    block = source.private_block(0x000B, "US", create=True)
    block.add_new(1, "LO", ["a", "b", "c"])
    assert _verdict(source, 2).warnings == ()
    block.add_new(2, "LO", "a\tb")
    assert [p.tag for p in _verdict(source, 2).warnings] == ["000B1002"]
