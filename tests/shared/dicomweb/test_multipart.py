import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicomweb.media_type import parse_media_type
from shared.dicomweb.multipart import Chunk, MultipartLimits, MultipartReader, MultipartWriter
from shared.errors import (
    MalformedMultipartError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)

type ReadPart = tuple[dict[str, str], bytes]

TWO_PARTS = (
    b"--b\r\nContent-Type: application/dicom\r\n\r\nfirst\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\n\r\nsecond\r\n\r\n--b--\r\n"
)


async def stream[T](items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


def reader(
    *chunks: Chunk, boundary: str = "b", limits: MultipartLimits | None = None
) -> MultipartReader:
    return MultipartReader(stream(chunks), boundary, limits or MultipartLimits())


async def joined(chunks: AsyncIterator[Chunk]) -> bytes:
    return b"".join([bytes(chunk) async for chunk in chunks])


async def parts_of(parts: MultipartReader) -> list[ReadPart]:
    return [(dict(part.headers), await joined(part.body)) async for part in parts]


async def written(parts: Sequence[tuple[Mapping[str, str], Sequence[Chunk]]]) -> bytes:
    writer = MultipartWriter("b")
    return await joined(writer.write(stream((headers, stream(body)) for headers, body in parts)))


# --- reading ------------------------------------------------------------------------------------


async def test_each_part_has_its_headers_and_its_body() -> None:
    assert await parts_of(reader(TWO_PARTS)) == [
        ({"content-type": "application/dicom"}, b"first"),
        ({"content-type": "text/plain"}, b"\r\nsecond\r\n"),
    ]


async def test_a_body_cut_anywhere_in_two_gives_the_same_parts() -> None:
    whole = await parts_of(reader(TWO_PARTS))
    for cut in range(len(TWO_PARTS) + 1):
        assert await parts_of(reader(TWO_PARTS[:cut], TWO_PARTS[cut:])) == whole


async def test_a_body_in_chunks_of_one_byte_gives_the_same_parts() -> None:
    bytewise = [TWO_PARTS[i : i + 1] for i in range(len(TWO_PARTS))]
    assert await parts_of(reader(*bytewise)) == await parts_of(reader(TWO_PARTS))


async def test_memoryviews_and_empty_chunks_are_taken() -> None:
    view = memoryview(TWO_PARTS)
    chunks = (view[:30], b"", view[30:])
    assert await parts_of(reader(*chunks)) == await parts_of(reader(TWO_PARTS))


async def test_a_chunk_wholly_within_a_body_is_handed_on_without_a_copy() -> None:
    content = bytes(range(256)) * 256
    part = await anext(reader(b"--b\r\n\r\nfirst line", content, b"\r\n--b--"))
    assert any([chunk is content async for chunk in part.body])


async def test_the_unread_rest_of_a_part_is_skipped() -> None:
    parts = reader(b"--b\r\n\r\n0123", b"456789\r\n--b\r\n\r\nnext\r\n--b--")
    first = await anext(parts)
    assert bytes(await anext(first.body)) == b"0123"
    second = await anext(parts)
    assert await joined(second.body) == b"next"


async def test_a_part_may_be_skipped_unread() -> None:
    assert len([part async for part in reader(TWO_PARTS)]) == 2


async def test_reading_a_body_after_its_part_was_skipped_is_an_error() -> None:
    parts = reader(TWO_PARTS)
    first = await anext(parts)
    await anext(parts)
    with pytest.raises(RuntimeError, match="skipped"):
        await anext(first.body)


async def test_reading_the_last_body_after_the_end_is_an_error() -> None:
    parts = reader(b"--b\r\n\r\nx\r\n--b--")
    only = await anext(parts)
    assert await anext(parts, None) is None
    with pytest.raises(RuntimeError, match="skipped"):
        await anext(only.body)


async def test_an_ended_reader_stays_ended() -> None:
    parts = reader(TWO_PARTS)
    assert len(await parts_of(parts)) == 2
    assert await parts_of(parts) == []


async def test_preamble_and_epilogue_are_dropped() -> None:
    body = b"preamble\r\nmore\r\n" + TWO_PARTS + b"epilogue\r\n--b\r\n"
    assert await parts_of(reader(body)) == await parts_of(reader(TWO_PARTS))


async def test_blanks_after_a_boundary_are_dropped() -> None:
    assert await parts_of(reader(b"--b \t\r\n\r\nx\r\n--b--  ")) == [({}, b"x")]


async def test_lines_that_end_in_lf_alone_are_understood() -> None:
    body = b"--b\nContent-Type: text/plain\n\nfirst\r\n--b\n\nsecond\n--b--"
    assert await parts_of(reader(body)) == [
        ({"content-type": "text/plain"}, b"first\r"),
        ({}, b"second"),
    ]


async def test_where_lines_end_in_crlf_a_boundary_after_lf_is_content() -> None:
    assert await parts_of(reader(b"--b\r\n\r\nx\n--b\r\n--b--")) == [({}, b"x\n--b")]


async def test_a_boundary_within_a_line_is_content() -> None:
    assert await parts_of(reader(b"--b\r\n\r\nx--b--\r\n--b--")) == [({}, b"x--b--")]


async def test_an_empty_body_is_empty() -> None:
    assert await parts_of(reader(b"--b\r\nA: 1\r\n\r\n\r\n--b--")) == [({"a": "1"}, b"")]


async def test_a_part_without_a_body_ends_with_its_headers() -> None:
    assert await parts_of(reader(b"--b\r\nA: 1\r\n\r\n--b--")) == [({"a": "1"}, b"")]


async def test_a_body_without_parts_has_none() -> None:
    assert await parts_of(reader(b"--b--\r\n")) == []


async def test_a_folded_header_is_one_header() -> None:
    folded = b"--b\r\nContent-Type: application/dicom;\r\n\ttransfer-syntax=1.2\r\n\r\n\r\n--b--"
    part = await anext(reader(folded))
    assert part.content_type == parse_media_type("application/dicom; transfer-syntax=1.2")


async def test_a_part_that_does_not_say_its_type_has_none() -> None:
    assert (await anext(reader(b"--b\r\n\r\n\r\n--b--"))).content_type is None


async def test_a_malformed_type_of_a_part_is_refused_when_asked_for() -> None:
    part = await anext(reader(b"--b\r\nContent-Type: dicom\r\n\r\n\r\n--b--"))
    with pytest.raises(UnsupportedMediaTypeError):
        _ = part.content_type


@pytest.mark.parametrize("boundary", ["", "a" * 71, "b ", "a;b", 'a"b', "a\r\nb", "ä", "b\n"])
def test_what_is_no_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(MalformedMultipartError, match="boundary"):
        reader(boundary=boundary)


@pytest.mark.parametrize("boundary", ["b", "a" * 70, "gc0p4Jq0M:2Yt'()+_,-./=?", "a b"])
async def test_every_boundary_of_the_grammar_is_taken(boundary: str) -> None:
    body = f"--{boundary}\r\n\r\nx\r\n--{boundary}--".encode()
    assert await parts_of(reader(body, boundary=boundary)) == [({}, b"x")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b\r\n",
        b"--b\r\nA: 1\r\n",
        b"--b\r\n\r\n",
        b"--b\r\n\r\ncontent",
        b"--b\r\n\r\ncontent\r\n",
        b"--b\r\n\r\ncontent\r\n--b",
        b"--b\r\n\r\ncontent\r\n--b-",
        b"no boundary at all",
    ],
)
async def test_a_body_that_ends_before_its_final_boundary_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMultipartError, match="ends before"):
        await parts_of(reader(body))


async def test_a_body_that_ends_early_fails_while_its_part_is_read() -> None:
    part = await anext(reader(b"--b\r\n\r\ncontent"))
    with pytest.raises(MalformedMultipartError):
        await joined(part.body)


@pytest.mark.parametrize("header", [b"no colon", b": no name", b"a b: 1", b"A: \0", b" A: 1"])
async def test_a_malformed_header_is_refused(header: bytes) -> None:
    with pytest.raises(MalformedMultipartError, match="header"):
        await anext(reader(b"--b\r\n" + header + b"\r\n\r\n\r\n--b--"))


async def test_a_repeated_header_is_refused() -> None:
    with pytest.raises(MalformedMultipartError, match="repeats"):
        await anext(reader(b"--b\r\nA: 1\r\na: 2\r\n\r\n\r\n--b--"))


async def test_other_text_after_a_boundary_is_refused() -> None:
    with pytest.raises(MalformedMultipartError, match="other text"):
        await anext(reader(b"--boundary\r\n\r\n\r\n--b--"))


# --- limits -------------------------------------------------------------------------------------


async def test_more_parts_than_the_limit_are_too_many() -> None:
    assert len(await parts_of(reader(TWO_PARTS, limits=MultipartLimits(max_parts=2)))) == 2
    with pytest.raises(PayloadTooLargeError, match="more than 1 parts"):
        await parts_of(reader(TWO_PARTS, limits=MultipartLimits(max_parts=1)))


async def test_a_part_over_the_limit_is_too_large() -> None:
    body = b"--b\r\n\r\n12345\r\n--b--"
    assert await parts_of(reader(body, limits=MultipartLimits(max_part_bytes=5)))
    with pytest.raises(PayloadTooLargeError, match="over 4 bytes"):
        await parts_of(reader(body, limits=MultipartLimits(max_part_bytes=4)))


async def test_a_body_over_the_limit_is_too_large_with_its_epilogue() -> None:
    body = b"--b--" + b"x" * 100
    assert await parts_of(reader(body, limits=MultipartLimits(max_total_bytes=105))) == []
    with pytest.raises(PayloadTooLargeError, match="over 104 bytes"):
        await parts_of(reader(body[:50], body[50:], limits=MultipartLimits(max_total_bytes=104)))


async def test_a_long_preamble_is_refused() -> None:
    limits = MultipartLimits(max_preamble_bytes=10)
    with pytest.raises(MalformedMultipartError, match="begin with a boundary"):
        await parts_of(reader(b"x" * 20, TWO_PARTS, limits=limits))


async def test_too_many_headers_are_refused() -> None:
    headers = b"".join(b"H%d: 1\r\n" % number for number in range(33))
    with pytest.raises(MalformedMultipartError, match="too many headers"):
        await anext(reader(b"--b\r\n" + headers + b"\r\n\r\n--b--"))


@pytest.mark.parametrize("ending", [b"", b"\r\n\r\n\r\n--b--"])
async def test_headers_that_are_too_long_are_refused_before_they_end(ending: bytes) -> None:
    with pytest.raises(MalformedMultipartError, match="too long"):
        await anext(reader(b"--b\r\nA: ", b"x" * 9000 + ending))


async def test_header_lines_count_together() -> None:
    lines = b"".join(b"H%d: %s\r\n" % (number, b"x" * 1000) for number in range(9))
    with pytest.raises(MalformedMultipartError, match="too long"):
        await anext(reader(b"--b\r\n" + lines + b"\r\n\r\n--b--"))


# --- any content, any chunking, bounded time ----------------------------------------------------

names = st.text("ABCxyz-019", min_size=1, max_size=8)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))
near_boundaries = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", b"b", b"--b ", b"x", b"\0"]), max_size=30
).map(b"".join)


def may_be_content(content: bytes) -> bool:
    return b"\r\n--b" not in b"\r\n" + content


@given(
    parts=st.lists(
        st.tuples(
            st.dictionaries(names, values.map(lambda value: value.strip(" \t")), max_size=3),
            (near_boundaries | st.binary(max_size=40)).filter(may_be_content),
        ),
        max_size=4,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=20),
)
async def test_what_is_written_is_read_again_however_it_is_cut(
    parts: list[ReadPart], cuts: list[int]
) -> None:
    unique = [({name.lower(): value for name, value in h.items()}, body) for h, body in parts]
    body = await written([(headers, [content]) for headers, content in unique])
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in pairwise(places)]
    assert await parts_of(reader(*chunks)) == unique


@given(st.lists(st.binary(max_size=30) | near_boundaries, max_size=10))
async def test_any_bytes_are_read_or_refused(chunks: list[bytes]) -> None:
    try:
        await parts_of(reader(b"--b\r\n", *chunks))
    except MalformedMultipartError:
        return


@pytest.mark.parametrize(
    "filling",
    [b"\r", b"\n", b"\r\n--", b"a", b"\r\n--" + b"a" * 69, b"\n--" + b"a" * 70],
    ids=["cr", "lf", "delimiter heads", "boundary letters", "near boundaries", "lf boundaries"],
)
async def test_a_body_of_near_boundaries_takes_time_in_proportion_to_its_length(
    filling: bytes,
) -> None:
    head, end = b"--" + b"a" * 70 + b"\r\n\r\n", b"\r\n--" + b"a" * 70 + b"--"

    async def seconds(size: int) -> float:
        body = head + filling * (size // len(filling)) + end
        chunks = [body[i : i + 4096] for i in range(0, len(body), 4096)]
        start = time.thread_time()
        assert len(await parts_of(reader(*chunks, boundary="a" * 70))) == 1
        return time.thread_time() - start

    # A quadratic reader needs 64 times as long for 8 times as much.
    short = min([await seconds(500_000) for _ in range(3)])
    assert min([await seconds(4_000_000) for _ in range(3)]) < 30 * short


# --- writing ------------------------------------------------------------------------------------


async def test_parts_are_framed_by_boundaries_and_line_breaks() -> None:
    parts = [({"Content-Type": "application/dicom"}, [b"1", b"2"]), ({}, [b""])]
    assert await written(parts) == (
        b"--b\r\nContent-Type: application/dicom\r\n\r\n12\r\n--b\r\n\r\n\r\n--b--\r\n"
    )


async def test_a_body_without_parts_is_its_final_boundary() -> None:
    assert await written([]) == b"--b--\r\n"


async def test_the_content_of_a_part_passes_through_without_a_copy() -> None:
    content = memoryview(bytes(1000))
    body = MultipartWriter().write(stream([({}, stream([content]))]))
    assert any([chunk is content async for chunk in body])


def test_the_content_type_names_boundary_and_type_of_the_parts() -> None:
    written_type = MultipartWriter("b").content_type("application/dicom")
    assert written_type == 'multipart/related; type="application/dicom"; boundary=b'


def test_the_content_type_may_leave_the_type_of_the_parts_open() -> None:
    assert MultipartWriter("b").content_type() == "multipart/related; boundary=b"


def test_a_boundary_that_is_no_token_is_quoted() -> None:
    media_type = parse_media_type(MultipartWriter("a:b c").content_type())
    assert media_type.parameters["boundary"] == "a:b c"


def test_boundaries_are_drawn_anew_for_each_body() -> None:
    assert MultipartWriter().content_type() != MultipartWriter().content_type()


def test_a_writer_refuses_what_is_no_boundary() -> None:
    with pytest.raises(ValueError, match="boundary"):
        MultipartWriter("a\r\nb")


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b"])
def test_a_header_value_that_would_split_is_refused(value: str) -> None:
    writer = MultipartWriter()
    with pytest.raises(ValueError, match="line breaks"):
        writer.part_header({"Content-Type": value})
    with pytest.raises(ValueError, match="line breaks"):
        writer.content_type(value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb"])
def test_a_header_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        MultipartWriter().part_header({name: "1"})
