from collections.abc import AsyncIterator

import orjson
import pytest

from shared.dicom.header import Limits
from shared.dicom.part10 import scan
from shared.dicom.resource import parse_path
from shared.dicomweb.media_type import MediaType
from shared.dicomweb.metadata_request import UnfitInstanceError, composed_instances, part_type
from shared.dicomweb.multipart import Part
from shared.errors import PayloadTooLargeError
from tests.builders import image, part10


async def _body(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size := max(100, len(content) // 100)):
        yield content[start : start + size]


async def _parts(
    *parts: tuple[str, str, bytes],
) -> AsyncIterator[tuple[MediaType, Part]]:
    for media_type, location, content in parts:
        yield part_type(media_type), Part({"content-location": location}, _body(content))


async def test_what_may_not_be_held_is_refused_with_the_limit() -> None:
    parts = _parts(("application/dicom+json", "", b"[]" + b" " * 98), ("a/b", "x", b"y" * 901))
    with pytest.raises(PayloadTooLargeError, match="1000"):
        [body async for body in composed_instances(parts, 1000)]


async def test_what_may_just_be_held_is_taken() -> None:
    parts = _parts(("application/dicom+json", "", b"[]" + b" " * 98), ("a/b", "x", b"y" * 900))
    assert [body async for body in composed_instances(parts, 1000)] == []


async def test_the_instances_of_all_metadata_are_counted_together() -> None:
    parts = [("application/dicom+json", "", b"[{},{}]"), ("application/dicom+json", "", b"{}")]
    composed = composed_instances(_parts(*parts), max_instances=3)
    assert len([body async for body in composed]) == 3
    with pytest.raises(PayloadTooLargeError, match="more than 2 instances"):
        [body async for body in composed_instances(_parts(*parts), max_instances=2)]


async def test_metadata_longer_than_a_data_set_may_be_is_refused() -> None:
    parts = _parts(("application/dicom+json", "", b"[]" + b" " * Limits().max_held_length))
    with pytest.raises(PayloadTooLargeError, match="33554432 bytes"):
        [body async for body in composed_instances(parts)]


@pytest.mark.parametrize("opening", [b"{", b"["])
async def test_metadata_of_very_many_objects_is_refused_unparsed(opening: bytes) -> None:
    parts = _parts(("application/dicom+json", "", opening * (2 * Limits().max_elements + 1)))
    with pytest.raises(PayloadTooLargeError, match="more attributes"):
        [body async for body in composed_instances(parts)]


async def test_an_instance_that_cannot_be_made_tells_which_it_is() -> None:
    source = image()
    metadata = orjson.dumps(scan(part10(source)).document)
    parts = _parts(("application/dicom+json", "", metadata))
    (body,) = [body async for body in composed_instances(parts)]
    with pytest.raises(UnfitInstanceError) as error:
        await anext(body)
    assert error.value.path == parse_path(
        source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID
    )
    assert error.value.sop_class_uid == source.SOPClassUID


async def test_a_large_value_comes_in_pieces() -> None:
    source = image(rows=1024, columns=1024)
    document = scan(part10(source)).document
    parts = _parts(
        ("application/dicom+json", "", orjson.dumps(document)),
        ("application/octet-stream", document["7FE00010"]["BulkDataURI"], source.PixelData),
    )
    (body,) = [body async for body in composed_instances(parts)]
    chunks = [chunk async for chunk in body]
    assert max(map(len, chunks)) <= 1_048_576
    assert scan(b"".join(chunks)).document.keys() == document.keys()


def test_a_part_of_no_type_is_bulk_data() -> None:
    assert part_type(None).name == "application/octet-stream"
