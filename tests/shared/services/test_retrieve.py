import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame
from pydicom.pixels.utils import get_expected_length, pack_bits, unpack_bits
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from shared.dicom.blob_names import dicom_blob
from shared.dicom.resource import ResourcePath
from shared.dicomweb.media_type import AS_STORED, Representation
from shared.dicomweb.store_report import Stored
from shared.errors import NotAcceptableError, NotFoundError
from shared.ports import Partition
from shared.services.images import Images
from shared.services.pixel_work import PixelWork
from shared.services.retrieve import Retrieve
from shared.services.transcoding import Transcoding
from shared.wiring import Services
from tests.builders import dataset, image, part10
from tests.shared.dicom.corpus import FILES
from tests.shared.services.requests import frames, path_of, retrieve, store

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def way(syntax: str, media_type: str = "application/dicom") -> Representation:
    return Representation(media_type, is_multipart=True, transfer_syntax_uid=syntax)


def encapsulated(
    pieces: list[bytes], syntax: str, *, tables: str = "basic", fragments: int = 1
) -> tuple[Dataset, bytes]:
    """An image whose frames are these pieces."""
    source = image(rows=4, columns=4)
    source.NumberOfFrames = len(pieces)
    if tables == "extended":
        value, offsets, lengths = encapsulate_extended(pieces)
        source.ExtendedOffsetTable = offsets
        source.ExtendedOffsetTableLengths = lengths
    else:
        value = encapsulate(pieces, fragments_per_frame=fragments, has_bot=tables == "basic")
    source.PixelData = value
    source["PixelData"].VR = "OB"
    source["PixelData"].is_undefined_length = True
    return source, part10(source, syntax)


PIECES = [bytes([n]) * (1000 + 2 * n) + b"\xff\xd9" for n in range(5)]


@pytest.mark.parametrize(
    ("tables", "fragments"), [("basic", 1), ("none", 1), ("basic", 3), ("none", 3), ("extended", 1)]
)
async def test_encapsulated_frames_are_found_by_every_table(
    services: Services, partition: Partition, tables: str, fragments: int
) -> None:
    source, content = encapsulated(PIECES, JPEGBaseline8Bit, tables=tables, fragments=fragments)
    await store(services, partition, [content])

    assert await frames(services, partition, path_of(source), [1, 2, 3, 4, 5]) == PIECES
    assert await frames(services, partition, path_of(source), [4, 2]) == [PIECES[3], PIECES[1]]


async def test_a_frame_map_too_big_for_its_row_is_read_from_its_blob(
    services: Services, partition: Partition
) -> None:
    pieces = [n.to_bytes(2, "little") for n in range(3000)]
    source, content = encapsulated(pieces, RLELossless)
    await store(services, partition, [content])
    found = await services.index.find_instance(partition, path_of(source))
    assert found is not None
    assert found.file.frames == "blob"

    numbers = [1, 3000, 1500]
    given = await frames(services, partition, path_of(source), numbers)
    assert given == [pieces[number - 1] for number in numbers]


async def test_frames_of_one_bit_a_pixel_each_begin_at_a_byte(
    services: Services, partition: Partition
) -> None:
    source = image(frames=3)
    source.Rows, source.Columns, source.BitsAllocated = 5, 5, 1
    source.BitsStored, source.HighBit = 1, 0
    pixels = np.arange(75) * 7 % 3 % 2
    source.PixelData = pack_bits(pixels.astype("u1"))
    source["PixelData"].VR = "OB"
    await store(services, partition, [part10(source)])

    given = await frames(services, partition, path_of(source), [1, 2, 3])

    for number, content in enumerate(given):
        assert len(content) == 4
        expected = pixels[number * 25 : number * 25 + 25]
        assert list(unpack_bits(content)[:25]) == list(expected)


async def test_a_large_frame_is_streamed_in_small_chunks(
    services: Services, partition: Partition
) -> None:
    source = image(rows=1600, columns=1600, frames=2)
    await store(services, partition, [part10(source)])

    octets = way(AS_STORED, "application/octet-stream")
    found = await services.retrieve.frames(partition, path_of(source), [2, 1], [octets], version=2)
    given = [[bytes(c) async for c in content.body] async for content in found.contents]

    half = len(source.PixelData) // 2
    assert [b"".join(chunks) for chunks in given] == [
        source.PixelData[half:],
        source.PixelData[:half],
    ]
    assert max(len(chunk) for chunks in given for chunk in chunks) <= 2 * 1_048_576


async def test_frames_that_are_not_there_are_not_found(
    services: Services, partition: Partition
) -> None:
    source = image(frames=2)
    without = dataset()
    await store(services, partition, [part10(source), part10(without)])

    with pytest.raises(NotFoundError):
        await frames(services, partition, path_of(source), [1, 3])
    with pytest.raises(NotFoundError):
        await frames(services, partition, path_of(without), [1])
    with pytest.raises(NotFoundError):
        await frames(services, partition, path_of(dataset()), [1])


async def test_frames_in_another_syntax_are_not_acceptable(
    services: Services, partition: Partition
) -> None:
    source, content = encapsulated(PIECES, JPEGBaseline8Bit)
    await store(services, partition, [content])

    for refused in (way(EXPLICIT, "application/octet-stream"), way(AS_STORED, "image/jp2")):
        with pytest.raises(NotAcceptableError):
            await frames(services, partition, path_of(source), [1], [refused])
    jpeg = [way("1.2.840.10008.1.2.4.90", "image/jp2"), way(AS_STORED, "image/jpeg")]
    assert await frames(services, partition, path_of(source), [1], jpeg) == PIECES[:1]


async def test_a_series_comes_in_the_order_of_storing(
    services: Services, partition: Partition
) -> None:
    first = dataset()
    uids = {
        "StudyInstanceUID": first.StudyInstanceUID,
        "SeriesInstanceUID": first.SeriesInstanceUID,
    }
    more = (image(rows=rows, columns=1024, **uids) for rows in (1024, 16, 1024, 16, 16))
    files = [part10(source) for source in (first, *more)]
    await store(services, partition, files)
    path = path_of(first)

    for above in (ResourcePath(path.study), ResourcePath(path.study, path.series)):
        assert await retrieve(services, partition, above) == files


@pytest.mark.parametrize("version", [1, 2])
async def test_nothing_below_a_path_is_not_found(
    services: Services, partition: Partition, version: int
) -> None:
    path = ResourcePath(path_of(dataset()).study)
    for ways in ([way(AS_STORED)], [way(EXPLICIT)]):
        with pytest.raises(NotFoundError):
            await services.retrieve.instances(partition, path, ways, version=version)


async def test_what_is_stored_in_no_accepted_syntax_is_not_acceptable(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    await store(services, partition, [part10(source)])
    with pytest.raises(NotAcceptableError):
        await services.retrieve.instances(
            partition, path_of(source), [way(IMPLICIT), way(JPEGBaseline8Bit)], version=2
        )


class _CountedReads:
    """A blob store that counts what is read by range; nothing else of it is used."""

    def __init__(self, services: Services) -> None:
        self._blobs = services.blobs
        self.bytes_read = 0
        self.names: list[str] = []

    async def get_ranges(self, name: str, ranges: list[tuple[int, int]]) -> object:
        self.bytes_read += sum(length for _, length in ranges)
        self.names.append(name)
        return await self._blobs.get_ranges(name, ranges)


async def test_a_frame_costs_a_read_of_its_own_bytes_alone(
    services: Services, partition: Partition
) -> None:
    source = image(rows=64, columns=64, frames=50)
    await store(services, partition, [part10(source)])
    counted = _CountedReads(services)
    store_: Any = counted  # all that is needed of one
    images = Images(store_)
    retrieving = Retrieve(store_, services.index, images, Transcoding(images, PixelWork()))

    octets = way(AS_STORED, "application/octet-stream")
    found = await retrieving.frames(partition, path_of(source), [7, 9], [octets], version=2)
    assert [content.length async for content in found.contents] == [64 * 64 * 2] * 2

    stored = await services.index.find_instance(partition, path_of(source))
    assert stored is not None
    assert counted.names == [dicom_blob(stored.file.blob_id)]
    assert counted.bytes_read == 2 * 64 * 64 * 2


def frames_by_pydicom(content: bytes) -> list[bytes] | None:
    """What pydicom makes of the frames of a file, None where it makes nothing of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = pydicom.dcmread(io.BytesIO(content), force=True)
        try:
            if source.file_meta.TransferSyntaxUID.is_deflated:
                return None
            count = int(source.get("NumberOfFrames") or 1)
            if source.file_meta.TransferSyntaxUID.is_encapsulated:
                return _encapsulated_by_pydicom(source, count)
            length = get_expected_length(source) // count
            pixels = source.PixelData
        except (ValueError, AttributeError, TypeError):
            return None
    if source.BitsAllocated == 1 or len(pixels) < length * count:
        return None
    return [pixels[n * length : (n + 1) * length] for n in range(count)]


def _encapsulated_by_pydicom(source: Dataset, count: int) -> list[bytes]:
    tables = None
    if "ExtendedOffsetTable" in source:
        tables = source.ExtendedOffsetTable, source.ExtendedOffsetTableLengths
    return [
        get_frame(source.PixelData, n, number_of_frames=count, extended_offsets=tables)
        for n in range(count)
    ]


@pytest.mark.skipif(not FILES, reason="the corpus is not installed")
async def test_every_real_file_comes_back_with_the_frames_that_pydicom_finds(
    services: Services, partition: Partition
) -> None:
    compared = 0
    uncertain = []
    for path in FILES:
        content = Path(path).read_bytes()
        (outcome,) = (await store(services, partition, [content], version=2)).outcomes
        if not isinstance(outcome, Stored):
            continue
        assert await retrieve(services, partition, outcome.path) == [content], path.name
        expected = frames_by_pydicom(content)
        if expected is None:
            continue
        numbers = sorted({1, (len(expected) + 1) // 2, len(expected)})
        try:
            given = await frames(services, partition, outcome.path, numbers, version=1)
        except NotAcceptableError:
            uncertain.append(path.name)
            continue
        assert given == [expected[number - 1] for number in numbers], path.name
        compared += 1
    assert uncertain == []
    assert compared > 60, compared
