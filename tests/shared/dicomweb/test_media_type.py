import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicomweb.media_type import (
    AS_STORED,
    MediaType,
    Representation,
    accept_dicom_json,
    acceptable_frames,
    acceptable_instances,
    parse_accept,
    parse_media_type,
)
from shared.errors import InvalidRequestError, NotAcceptableError, UnsupportedMediaTypeError

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
PARTS = "multipart/related"


def single(media_type: str, syntax: str = EXPLICIT) -> Representation:
    return Representation(media_type, is_multipart=False, transfer_syntax_uid=syntax)


def multipart(media_type: str, syntax: str = EXPLICIT) -> Representation:
    return Representation(media_type, is_multipart=True, transfer_syntax_uid=syntax)


def best_of_instances(
    accept: list[str] | None, *, version: int, is_instance: bool
) -> Representation:
    return acceptable_instances(accept, version=version, is_instance=is_instance)[0]


def best_of_frames(accept: list[str] | None, *, version: int) -> Representation:
    return acceptable_frames(accept, version=version)[0]


# --- media types --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("application/dicom", DICOM, {}),
        (" Application/DICOM ", DICOM, {}),
        ("application/dicom;transfer-syntax=1.2", DICOM, {"transfer-syntax": "1.2"}),
        ("application/dicom ; Transfer-Syntax = 1.2 ;", DICOM, {"transfer-syntax": "1.2"}),
        ('a/b; x="1,2;3"; y=z', "a/b", {"x": "1,2;3", "y": "z"}),
        (r'a/b; x="say \"hi\" \\"', "a/b", {"x": 'say "hi" \\'}),
        ('multipart/related; type="application/dicom"', PARTS, {"type": DICOM}),
        ("multipart/related; type=application/dicom; boundary=B", PARTS, None),
        ("multipart/related; boundary='a=b?c'; type=application/dicom", PARTS, None),
        ('a/b; x=""', "a/b", {"x": ""}),
        ("a/b;;; x=1", "a/b", {"x": "1"}),
    ],
)
def test_a_media_type_is_read(text: str, name: str, parameters: dict[str, str] | None) -> None:
    media_type = parse_media_type(text)
    assert media_type.name == name
    if parameters is None:
        assert media_type.parameters["type"] == DICOM
    else:
        assert media_type.parameters == parameters


def test_the_values_of_parameters_keep_their_case() -> None:
    assert parse_media_type("a/b; Boundary=AbC").parameters == {"boundary": "AbC"}


@pytest.mark.parametrize(
    "text", ["", "dicom", "a/", "/b", "a/b c", "a/b; x", "a/b; x=1 y", 'a/b; x="1', "a/b, c/d"]
)
def test_what_is_no_media_type_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        parse_media_type(text)


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        parse_media_type("multipart/related; boundary=a; Boundary=b")


# --- Accept headers -----------------------------------------------------------------------------


def names(*values: str) -> list[str]:
    return [entry.media_type.name for entry in parse_accept(values)]


def test_entries_are_ordered_by_quality_and_then_as_written() -> None:
    assert names("a/a;q=0.5, a/b, a/c;q=0.9", "a/d, a/e;q=0.5") == [
        "a/b",
        "a/d",
        "a/c",
        "a/a",
        "a/e",
    ]


def test_a_comma_within_quotes_divides_nothing() -> None:
    assert names('a/a; x="1, 2", a/b') == ["a/a", "a/b"]


def test_an_entry_for_parts_means_the_type_of_the_parts() -> None:
    (entry,) = parse_accept([f'multipart/related; type="{DICOM}"; transfer-syntax={RLE}; q=0.5'])
    assert (entry.media_type, entry.is_multipart) == (MediaType(DICOM), True)
    assert (entry.transfer_syntax_uid, entry.quality) == (RLE, 0.5)


def test_a_transfer_syntax_within_the_quoted_type_is_found() -> None:
    (entry,) = parse_accept([f'multipart/related; type="{DICOM}; transfer-syntax=*"'])
    assert entry.transfer_syntax_uid == AS_STORED


def test_parts_of_no_named_type_may_be_of_any() -> None:
    (entry,) = parse_accept(["multipart/related"])
    assert (entry.media_type.name, entry.is_multipart) == ("*/*", True)


@pytest.mark.parametrize(
    "malformed",
    ["", "garbage", "a/b; q=2", "a/b; q=-1", "a/b; q=x", "a/b; q=nan", 'a/b; x="1', "a/b;q=1;q=0"],
)
def test_malformed_entries_are_skipped(malformed: str) -> None:
    assert names(f"a/a, {malformed}") == ["a/a"]


def test_a_malformed_entry_can_be_refused() -> None:
    with pytest.raises(NotAcceptableError):
        parse_accept(["a/a, garbage"], skip_malformed=False)


@given(st.lists(st.text('ab/;=",*q0.\\ '), max_size=3))
def test_any_accept_header_can_be_read(values: list[str]) -> None:
    assert all(0 <= entry.quality <= 1 for entry in parse_accept(values))


@pytest.mark.parametrize("text", ['"' + '\\"' * 30_000, "a/b" + "; " * 30_000, '"a",' * 15_000])
def test_a_hostile_accept_header_is_read_in_no_time(text: str) -> None:
    start = time.thread_time()
    parse_accept([text])
    # A reader that tries every quotation mark anew takes many seconds.
    assert time.thread_time() - start < 1


# --- DICOM JSON ---------------------------------------------------------------------------------

JSON_ANYWHERE = [
    ["application/dicom+json"],
    ["Application/DICOM+JSON"],
    ["application/*"],
    ["*/*"],
    ["text/html, application/dicom+json;q=0.1"],
    ["text/html", "*/*;q=0.8"],
    [f'multipart/related; type="{DICOM}", application/dicom+json'],
]
JSON_NOWHERE = [
    ["application/dicom+xml"],
    [DICOM],
    ["text/html, image/*"],
    ['multipart/related; type="application/dicom+xml"'],
    ['multipart/related; type="application/dicom+json"'],
    ["application/dicom+json; q=0"],
    ["application/dicom+json; q=0, text/html"],
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("accept", JSON_ANYWHERE)
def test_dicom_json_is_given_to_whom_takes_it(accept: list[str], version: int) -> None:
    accept_dicom_json(accept, version=version)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("accept", JSON_NOWHERE)
def test_dicom_json_is_not_given_to_whom_does_not_take_it(accept: list[str], version: int) -> None:
    with pytest.raises(NotAcceptableError):
        accept_dicom_json(accept, version=version)


@pytest.mark.parametrize("accept", [None, [""], ["garbage"], ["application/dicom+json, garbage"]])
def test_v1_demands_a_readable_accept_header(accept: list[str] | None) -> None:
    with pytest.raises(NotAcceptableError):
        accept_dicom_json(accept, version=1)


@pytest.mark.parametrize("accept", [None, [""], ["garbage"], ["application/dicom+json, garbage"]])
def test_v2_gives_dicom_json_where_no_wish_is_readable(accept: list[str] | None) -> None:
    accept_dicom_json(accept, version=2)


def test_v2_takes_plain_json_for_dicom_json() -> None:
    accept_dicom_json(["application/json"], version=2)
    with pytest.raises(NotAcceptableError):
        accept_dicom_json(["application/json"], version=1)


def test_quality_0_of_dicom_json_weighs_more_than_a_range() -> None:
    with pytest.raises(NotAcceptableError):
        accept_dicom_json(["application/dicom+json;q=0, application/json;q=0, */*"], version=2)


def test_v2_takes_the_accept_query_parameter() -> None:
    accept_dicom_json(["text/html"], version=2, preferred=["application/dicom+json"])
    with pytest.raises(NotAcceptableError):
        accept_dicom_json(["text/html"], version=1, preferred=["application/dicom+json"])


# --- Retrieve, v1 -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_instance", [False, True])
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f'{PARTS}; type="{DICOM}"', multipart(DICOM)),
        (f"{PARTS}; type={DICOM}", multipart(DICOM)),
        (f'{PARTS}; type="{DICOM}"; transfer-syntax=*', multipart(DICOM, AS_STORED)),
        (f'{PARTS}; transfer-syntax="{JPEG_2000}"; type={DICOM}', multipart(DICOM, JPEG_2000)),
        (f'{PARTS}; type="*/*"', multipart(DICOM, AS_STORED)),
        (f'{PARTS}; type="*/*"; transfer-syntax={EXPLICIT}', multipart(DICOM)),
    ],
)
def test_v1_gives_instances_in_parts(
    accept: str, expected: Representation, *, is_instance: bool
) -> None:
    assert best_of_instances([accept], version=1, is_instance=is_instance) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (DICOM, single(DICOM)),
        (f"{DICOM}; transfer-syntax=*", single(DICOM, AS_STORED)),
        (f"{DICOM}; transfer-syntax={JPEG_2000}", single(DICOM, JPEG_2000)),
        ("*/*", multipart(DICOM, AS_STORED)),
        (f"*/*; transfer-syntax={EXPLICIT}", multipart(DICOM)),
    ],
)
def test_v1_gives_one_instance_alone(accept: str, expected: Representation) -> None:
    assert best_of_instances([accept], version=1, is_instance=True) == expected
    with pytest.raises(NotAcceptableError):
        best_of_instances([accept], version=1, is_instance=False)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        [f'{PARTS}; type="{DICOM}"; transfer-syntax={RLE}'],
        [f'{PARTS}; type="{OCTETS}"'],
        ["application/*"],
        ["application/zip"],
        ["garbage"],
        [f"{DICOM}; q=0"],
    ],
)
def test_v1_gives_instances_in_no_other_way(accept: list[str] | None) -> None:
    with pytest.raises(NotAcceptableError):
        best_of_instances(accept, version=1, is_instance=True)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (OCTETS, single(OCTETS)),
        (f"{OCTETS}; transfer-syntax=*", single(OCTETS, AS_STORED)),
        (f"{PARTS}; type={OCTETS}", multipart(OCTETS)),
        (f"{PARTS}; type={OCTETS}; transfer-syntax=*", multipart(OCTETS, AS_STORED)),
        (f"{PARTS}; type=image/jp2", multipart("image/jp2", JPEG_2000)),
        (
            f"{PARTS}; type=image/jp2; transfer-syntax={JPEG_2000}",
            multipart("image/jp2", JPEG_2000),
        ),
        ("*/*", multipart(OCTETS, AS_STORED)),
        (f'{PARTS}; type="*/*"', multipart(OCTETS, AS_STORED)),
    ],
)
def test_v1_gives_frames(accept: str, expected: Representation) -> None:
    assert best_of_frames([accept], version=1) == expected


@pytest.mark.parametrize(
    "accept",
    [
        "image/jp2",
        f"{PARTS}; type=image/jp2; transfer-syntax={EXPLICIT}",
        f"{PARTS}; type=image/jp2; transfer-syntax=*",
        f"{PARTS}; type={OCTETS}; transfer-syntax={JPEG_2000}",
        f"*/*; transfer-syntax={JPEG_2000}",
        f"{PARTS}; type=image/jpeg",
        DICOM,
    ],
)
def test_v1_gives_frames_in_no_other_way(accept: str) -> None:
    with pytest.raises(NotAcceptableError):
        best_of_frames([accept], version=1)


def test_v1_takes_a_header_that_begins_with_multipart_for_multipart_throughout() -> None:
    merged = f'{PARTS}; type="image/gif", {DICOM}; transfer-syntax=*'
    assert best_of_instances([merged], version=1, is_instance=False) == multipart(DICOM, AS_STORED)
    with pytest.raises(NotAcceptableError):
        best_of_instances(merged.split(","), version=1, is_instance=False)


def test_v1_takes_the_best_quality_of_all_header_lines() -> None:
    accept = [f"{DICOM}; q=0.5", f"{DICOM}; transfer-syntax={JPEG_2000}; q=0.6"]
    assert best_of_instances(accept, version=1, is_instance=True) == single(DICOM, JPEG_2000)


def test_v1_prefers_what_is_stored_among_equals() -> None:
    accept = [f"{DICOM}, {DICOM}; transfer-syntax={JPEG_2000}, {DICOM}; transfer-syntax=*"]
    assert best_of_instances(accept, version=1, is_instance=True) == single(DICOM, AS_STORED)


def test_v1_does_not_prefer_what_is_stored_at_lower_quality() -> None:
    accept = [f"{DICOM}, {DICOM}; transfer-syntax=*; q=0.9"]
    assert best_of_instances(accept, version=1, is_instance=True) == single(DICOM)


def test_v1_refuses_several_frames_without_parts() -> None:
    with pytest.raises(InvalidRequestError):
        acceptable_frames([OCTETS], version=1, count=2)
    assert acceptable_frames(["*/*"], version=1, count=2) == (multipart(OCTETS, AS_STORED),)


# --- Retrieve, v2 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept", [None, [""], ["*/*"], ["garbage"], ["multipart/related"], ["multipart/*"]]
)
def test_v2_gives_what_is_stored_in_parts_where_no_wish_is_made(accept: list[str] | None) -> None:
    for is_instance in (False, True):
        assert acceptable_instances(accept, version=2, is_instance=is_instance) == (
            multipart(DICOM, AS_STORED),
        )
    assert acceptable_frames(accept, version=2) == (multipart(OCTETS, AS_STORED),)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{PARTS}; type={DICOM}", multipart(DICOM)),
        (f'{PARTS}; transfer-syntax={RLE}; type="{DICOM}"', multipart(DICOM, RLE)),
        (f'{PARTS}; type="application/*"', multipart(DICOM, AS_STORED)),
        (f"application/dicom+json, {PARTS}; type={DICOM}; q=0.2", multipart(DICOM)),
    ],
)
def test_v2_gives_instances_in_parts(accept: str, expected: Representation) -> None:
    for is_instance in (False, True):
        assert best_of_instances([accept], version=2, is_instance=is_instance) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (DICOM, single(DICOM)),
        (f"{DICOM}; transfer-syntax={RLE}", single(DICOM, RLE)),
        ("application/*", single(DICOM, AS_STORED)),
    ],
)
def test_v2_gives_one_instance_alone(accept: str, expected: Representation) -> None:
    assert best_of_instances([accept], version=2, is_instance=True) == expected
    with pytest.raises(NotAcceptableError):
        best_of_instances([accept], version=2, is_instance=False)


@pytest.mark.parametrize(
    "accept",
    ["application/zip", "text/html", f"{PARTS}; type=image/jpeg", f"{DICOM}; q=0", "*/*; q=0"],
)
def test_v2_gives_instances_in_no_other_way(accept: str) -> None:
    with pytest.raises(NotAcceptableError):
        best_of_instances([accept], version=2, is_instance=True)


def test_v2_names_every_way_that_a_client_takes_best_first() -> None:
    accept = [
        f"{PARTS}; type={DICOM}; transfer-syntax={RLE}; q=0.5, {PARTS}; type={DICOM}",
        f"{DICOM}; q=0.1, {PARTS}; type={DICOM}",
    ]
    assert acceptable_instances(accept, version=2, is_instance=True) == (
        multipart(DICOM),
        multipart(DICOM, RLE),
        single(DICOM),
    )


def test_v2_leaves_out_what_has_quality_0() -> None:
    accept = [f"{DICOM}; q=0, application/*, */*; q=0.1"]
    assert acceptable_instances(accept, version=2, is_instance=True) == (
        multipart(DICOM, AS_STORED),
    )


def test_v2_puts_the_accept_query_parameter_before_the_header() -> None:
    ways = acceptable_instances(
        ["*/*"], version=2, is_instance=True, preferred=[f"{DICOM}; transfer-syntax={RLE}; q=0.2"]
    )
    assert ways == (single(DICOM, RLE), multipart(DICOM, AS_STORED))


def test_v2_gives_a_frame_as_the_first_kind_that_fits_how_it_is_stored() -> None:
    accept = [f"{PARTS}; type=image/jp2, {PARTS}; type={OCTETS}; transfer-syntax=*"]
    ways = acceptable_frames(accept, version=2)

    def given(stored: str) -> str:
        return next(way.media_type for way in ways if way.is_given_in(stored))

    assert given(JPEG_2000) == "image/jp2"
    assert given("1.2.840.10008.1.2.4.91") == "image/jp2"
    assert given(EXPLICIT) == OCTETS


@pytest.mark.parametrize("stored", [JPEG_BASELINE, JPEG_2000, RLE])
def test_v2_takes_any_image_for_the_kind_that_is_stored(stored: str) -> None:
    ways = acceptable_frames([f'{PARTS}; type="image/*"'], version=2)
    assert len([way for way in ways if way.is_given_in(stored)]) == 1
    assert not any(way.is_given_in(EXPLICIT) for way in ways)


def test_v2_gives_bulk_pixels_in_explicit_little_endian_unless_another_syntax_is_named() -> None:
    (way,) = acceptable_frames([OCTETS], version=2)
    assert way == single(OCTETS)
    assert not way.is_given_in(RLE)


def test_v2_gives_several_frames_only_in_parts() -> None:
    accept = [f"{OCTETS}, {PARTS}; type={OCTETS}; q=0.5"]
    assert acceptable_frames(accept, version=2, count=2) == (multipart(OCTETS),)
    with pytest.raises(NotAcceptableError):
        acceptable_frames([OCTETS], version=2, count=2)


def test_native_frames_of_implicit_vr_are_given_as_explicit() -> None:
    (way,) = acceptable_frames([OCTETS], version=1)
    assert way.is_given_in(IMPLICIT)
    assert not way.is_given_in(BIG_ENDIAN)


def test_what_is_stored_is_given_under_its_own_syntax_and_media_type() -> None:
    given = multipart(OCTETS, AS_STORED).given_from(JPEG_BASELINE)
    assert given == multipart(OCTETS, JPEG_BASELINE)
    assert given.with_type_of_syntax() == multipart("image/jpeg", JPEG_BASELINE)
