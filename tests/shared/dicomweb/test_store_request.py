from collections.abc import AsyncIterator, Mapping

import pytest

from shared.dicomweb.multipart import MultipartLimits
from shared.dicomweb.store_request import instance_bodies
from shared.errors import InvalidRequestError, PayloadTooLargeError, UnsupportedMediaTypeError

LIMITS = MultipartLimits(max_part_bytes=100, max_total_bytes=1000)
PARTS = {"content-type": 'multipart/related; type="application/dicom"; boundary=b'}
SINGLE = {"content-type": "application/dicom"}


class _Unread:
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise AssertionError("the body is read")


async def _body(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _read(
    headers: Mapping[str, str], *chunks: bytes, limits: MultipartLimits = LIMITS, version: int = 2
) -> list[bytes]:
    bodies = instance_bodies(headers, _body(*chunks), limits, version=version)
    return [b"".join([bytes(chunk) async for chunk in body]) async for body in bodies]


def _part(content: bytes, content_type: str | None = "application/dicom") -> bytes:
    head = f"Content-Type: {content_type}\r\n" if content_type else ""
    return b"--b\r\n" + head.encode() + b"\r\n" + content + b"\r\n"


async def test_each_part_is_an_instance() -> None:
    assert await _read(PARTS, _part(b"one"), _part(b"two"), b"--b--") == [b"one", b"two"]


async def test_a_body_without_parts_is_one_instance() -> None:
    assert await _read(SINGLE, b"o", b"ne") == [b"one"]


async def test_only_the_first_part_may_leave_its_type_to_the_whole() -> None:
    assert await _read(PARTS, _part(b"one", None), b"--b--") == [b"one"]
    with pytest.raises(UnsupportedMediaTypeError):
        await _read(PARTS, _part(b"one"), _part(b"two", None), b"--b--")


@pytest.mark.parametrize(
    ("headers", "length", "limit"), [(SINGLE, "101", "100 bytes"), (PARTS, "1001", "1000 bytes")]
)
def test_a_declared_length_over_the_limit_is_refused_unread(
    headers: dict[str, str], length: str, limit: str
) -> None:
    with pytest.raises(PayloadTooLargeError, match=limit):
        instance_bodies({**headers, "content-length": length}, _Unread(), LIMITS, version=2)


@pytest.mark.parametrize("length", ["3", "100", "", "-1", "x", "9" * 30])
async def test_any_other_declared_length_is_nothing_to_go_by(length: str) -> None:
    assert await _read({**SINGLE, "content-length": length}, b"one") == [b"one"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "Content-Type"),
        ({"content-type": "multipart/form-data; boundary=b"}, "application/dicom"),
        ({"content-type": "application/dicom+json"}, "application/dicom"),
        ({"content-type": "multipart/related"}, "boundary"),
        ({"content-type": "multipart/related; boundary=a@b"}, "boundary"),
    ],
)
def test_a_type_that_is_not_taken_is_refused_unread(headers: dict[str, str], message: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=message):
        instance_bodies(headers, _Unread(), LIMITS, version=2)


def test_a_start_parameter_is_refused() -> None:
    headers = {"content-type": "multipart/related; boundary=b; start=x"}
    with pytest.raises(InvalidRequestError, match="start"):
        instance_bodies(headers, _Unread(), LIMITS, version=2)


async def test_an_instance_that_grows_over_the_limit_is_refused() -> None:
    assert await _read(SINGLE, b"x" * 60, b"x" * 40) == [b"x" * 100]
    with pytest.raises(PayloadTooLargeError, match="100 bytes"):
        await _read(SINGLE, b"x" * 60, b"x" * 41)


async def test_each_limit_of_a_multipart_body_says_which_it_is() -> None:
    with pytest.raises(PayloadTooLargeError, match="part of the request is over 100 bytes"):
        await _read(PARTS, _part(b"x" * 101), b"--b--")
    with pytest.raises(PayloadTooLargeError, match="request is over 1000 bytes"):
        await _read(PARTS, *[_part(b"x" * 90)] * 11, b"--b--")
    limits = MultipartLimits(max_parts=2)
    with pytest.raises(PayloadTooLargeError, match="more than 2 parts"):
        await _read(PARTS, *[_part(b"x")] * 3, b"--b--", limits=limits)


async def test_v1_takes_a_single_instance_only_without_parameters() -> None:
    headers = {"content-type": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
    assert await _read(headers, b"one") == [b"one"]
    with pytest.raises(UnsupportedMediaTypeError):
        instance_bodies(headers, _Unread(), LIMITS, version=1)


@pytest.mark.parametrize("media_type", ["application/dicom+json", "application/dicom+xml"])
async def test_v1_takes_no_metadata(media_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=r"Every part must be application/dicom\."):
        await _read(PARTS, _part(b"[]", media_type), b"--b--", version=1)


async def test_the_instances_in_metadata_are_limited_as_parts_are() -> None:
    limits = MultipartLimits(max_parts=2)
    with pytest.raises(PayloadTooLargeError, match="more than 2 instances"):
        await _read(PARTS, _part(b"[{},{},{}]", "application/dicom+json"), b"--b--", limits=limits)
