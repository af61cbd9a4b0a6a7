import asyncio
import gc
import tempfile
import time
import warnings
import zlib
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from shared.dicom.pixels import transcoded_file
from shared.dicom.resource import ResourcePath
from shared.dicomweb.media_type import AS_STORED, Representation
from shared.dicomweb.store_report import Stored
from shared.errors import NotAcceptableError
from shared.ports import Partition
from shared.services import transcoding
from shared.services.retrieve import Content
from shared.wiring import Services
from tests.builders import dataset, image, part10
from tests.shared.dicom.corpus import FOLDER
from tests.shared.services.requests import frames, path_of, store

LOSSLESS = [
    ExplicitVRLittleEndian,
    RLELossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLosslessRPCL,
]
NATIVE = [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
PRIVATE = "1.2.826.0.1.3680043.9.9"
CORPUS = [
    "pydicom__MR_small_RLE.dcm",
    "pydicom__MR_small_bigendian.dcm",
    "pydicom__MR_small_jpeg_ls_lossless.dcm",
    "pydicom__image_dfl.dcm",
    "pydicomdata__emri_small_RLE.dcm",
    "pydicomdata__liver_nonbyte_aligned.dcm",
    "pydicomdata__liver_nonbyte_aligned_j2k.dcm",
    "pydicomdata__SC_rgb_16bit_2frame.dcm",
    "pydicomdata__HTJ2KLossless_08_RGB.dcm",
]


def way(syntax: str, media_type: str = "application/dicom") -> Representation:
    return Representation(media_type, is_multipart=True, transfer_syntax_uid=syntax)


async def bytes_of(content: Content) -> bytes:
    return b"".join([bytes(chunk) async for chunk in content.body])


async def given(
    services: Services, partition: Partition, path: ResourcePath, syntax: str, *, version: int = 2
) -> list[tuple[str, bytes]]:
    found = await services.retrieve.instances(partition, path, [way(syntax)], version=version)
    return [(one.transfer_syntax_uid, await bytes_of(one)) async for one in found.contents]


def pixels(content: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(BytesIO(content)).pixel_array


def big_endian(source: Dataset) -> bytes:
    turned = np.frombuffer(source.PixelData, "<u2").astype(">u2").tobytes()
    source.PixelData = turned
    source["PixelData"].VR = "OW"
    return part10(source, ExplicitVRBigEndian)


def compress(source: Dataset) -> None:
    part10(source)
    source.compress(RLELossless, generate_instance_uid=False)


@pytest.mark.parametrize("target", LOSSLESS)
@pytest.mark.parametrize("syntax", [*NATIVE, ExplicitVRLittleEndian])
async def test_native_images_are_given_in_every_lossless_syntax(
    services: Services, partition: Partition, syntax: str, target: str
) -> None:
    source = image(rows=24, columns=40, frames=3)
    expected = np.frombuffer(source.PixelData, "<u2").reshape(3, 24, 40)
    is_big_endian = syntax == ExplicitVRBigEndian
    content = big_endian(source) if is_big_endian else part10(source, syntax)
    await store(services, partition, [content])

    ((syntax_uid, file),) = await given(services, partition, path_of(source), target)

    assert syntax_uid == target
    read = pydicom.dcmread(BytesIO(file))
    assert read.file_meta.TransferSyntaxUID == target
    assert np.array_equal(pixels(file), expected)
    del read.PixelData, source.PixelData
    assert read == source


@pytest.mark.parametrize("name", CORPUS)
async def test_real_images_keep_every_pixel(
    services: Services, partition: Partition, name: str
) -> None:
    if not (FOLDER / name).exists():
        pytest.skip("the corpus is not installed")
    content = Path(FOLDER / name).read_bytes()
    (outcome,) = (await store(services, partition, [content])).outcomes
    assert isinstance(outcome, Stored)

    ((_, native),) = await given(services, partition, outcome.path, ExplicitVRLittleEndian)
    assert np.array_equal(pixels(native), pixels(content))
    if pydicom.dcmread(BytesIO(native)).BitsAllocated > 1:
        ((_, packed),) = await given(services, partition, outcome.path, JPEG2000Lossless)
        assert np.array_equal(pixels(packed), pixels(content))


async def test_attributes_behind_the_pixels_are_kept(
    services: Services, partition: Partition
) -> None:
    source = image()
    source.add_new(0x7FE10010, "LO", "MAKER")
    source.add_new(0x7FE11001, "LO", "behind")
    for syntax in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        source.SOPInstanceUID = pydicom.uid.generate_uid()
        await store(services, partition, [part10(source, syntax)])
        for target in (RLELossless, JPEG2000Lossless):
            ((_, file),) = await given(services, partition, path_of(source), target)
            assert pydicom.dcmread(BytesIO(file))[0x7FE11001].value == "behind"


@pytest.mark.parametrize("target", LOSSLESS)
async def test_frames_are_given_in_the_syntax_and_the_order_asked_for(
    services: Services, partition: Partition, target: str
) -> None:
    source = image(rows=24, columns=40, frames=5)
    stored = np.frombuffer(source.PixelData, "<u2").reshape(5, 24, 40)
    for syntax in (DeflatedExplicitVRLittleEndian, RLELossless, ExplicitVRBigEndian):
        source = image(rows=24, columns=40, frames=5)
        if syntax == RLELossless:
            compress(source)
        is_big_endian = syntax == ExplicitVRBigEndian
        await store(
            services,
            partition,
            [big_endian(source) if is_big_endian else part10(source, syntax)],
        )
        octets = [way(target, "application/octet-stream")]
        four, two = await frames(services, partition, path_of(source), [4, 2], octets)
        for number, content in ((4, four), (2, two)):
            single = image(rows=24, columns=40)
            is_native = target == ExplicitVRLittleEndian
            single.PixelData = content if is_native else encapsulate([content])
            single["PixelData"].VR = "OW" if is_native else "OB"
            single["PixelData"].is_undefined_length = not is_native
            assert np.array_equal(pixels(part10(single, target)), stored[number - 1])


async def test_frames_as_stored_are_little_endian_in_v2(
    services: Services, partition: Partition
) -> None:
    source = image(frames=2)
    little = source.PixelData
    await store(services, partition, [big_endian(source)])
    half = len(little) // 2
    octets = [way(AS_STORED, "application/octet-stream")]
    for version, expected in ((1, source.PixelData), (2, little)):
        (second,) = await frames(services, partition, path_of(source), [2], octets, version=version)
        assert second == expected[half:]


async def test_a_frame_stored_in_none_of_the_ways_has_the_default_syntax_of_its_type(
    services: Services, partition: Partition
) -> None:
    source = image()
    await store(services, partition, [part10(source)])
    for media_type, syntax in (
        ("image/jpeg", JPEGLosslessSV1),
        ("image/jls", JPEGLSLossless),
        ("image/jp2", JPEG2000Lossless),
        ("image/dicom-rle", RLELossless),
        ("application/octet-stream", ExplicitVRLittleEndian),
    ):
        found = await services.retrieve.frames(
            partition, path_of(source), [1], [way(AS_STORED, media_type)], version=2
        )
        assert found.representation.transfer_syntax_uid == syntax


async def test_what_is_stored_as_asked_for_is_not_transcoded(
    services: Services, partition: Partition
) -> None:
    source = image()
    compress(source)
    content = part10(source, RLELossless)
    await store(services, partition, [content])
    ways = [way(JPEG2000Lossless), way(AS_STORED)]
    found = await services.retrieve.instances(partition, path_of(source), ways, version=2)
    assert [await bytes_of(one) async for one in found.contents] == [content]


async def test_an_instance_without_pixels_is_given_in_explicit_vr_alone(
    services: Services, partition: Partition
) -> None:
    for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        source = dataset()
        await store(services, partition, [part10(source, syntax)])
        ((_, file),) = await given(services, partition, path_of(source), ExplicitVRLittleEndian)
        assert pydicom.dcmread(BytesIO(file)) == source
        with pytest.raises(NotAcceptableError):
            await given(services, partition, path_of(source), JPEG2000Lossless)


async def test_an_instance_without_pixels_is_not_given_anew_with_a_vr_that_is_none(
    services: Services, partition: Partition
) -> None:
    source = dataset()
    odd = with_vr(part10(source, ImplicitVRLittleEndian), b"\x02\0\x13\0SH", b"UZ")
    await store(services, partition, [odd])
    with pytest.raises(NotAcceptableError):
        await given(services, partition, path_of(source), ExplicitVRLittleEndian)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("syntax", [MPEG2MPML, PRIVATE])
async def test_a_video_or_a_private_syntax_is_not_transcoded(
    services: Services, partition: Partition, version: int, syntax: str
) -> None:
    source = image()
    source.PixelData = encapsulate([b"\0\0\1\xb3stream"])
    source["PixelData"].is_undefined_length = True
    content = part10(source, MPEG2MPML).replace(MPEG2MPML.encode(), syntax.encode())
    await store(services, partition, [content])
    with pytest.raises(NotAcceptableError):
        await given(services, partition, path_of(source), ExplicitVRLittleEndian, version=version)
    octets = [way(ExplicitVRLittleEndian, "application/octet-stream")]
    with pytest.raises(NotAcceptableError):
        await frames(services, partition, path_of(source), [1], octets, version=version)


def damaged(**uids: Any) -> tuple[Dataset, bytes]:
    """An image whose one frame is no JPEG."""
    source = image(**uids)
    source.PixelData = encapsulate([b"\xff\xd8no JPEG at all\xff\xd9"])
    source["PixelData"].VR = "OB"
    source["PixelData"].is_undefined_length = True
    return source, part10(source, JPEGBaseline8Bit)


async def test_an_instance_that_cannot_be_decoded_is_refused_before_the_answer_begins(
    services: Services, partition: Partition
) -> None:
    source, content = damaged()
    await store(services, partition, [content])
    with pytest.raises(NotAcceptableError):
        await given(services, partition, path_of(source), ExplicitVRLittleEndian)


async def test_among_others_an_instance_that_cannot_be_decoded_comes_as_it_is(
    services: Services, partition: Partition
) -> None:
    first = image()
    uids = {"StudyInstanceUID": first.StudyInstanceUID}
    _, content = damaged(**uids)
    await store(services, partition, [part10(first, ImplicitVRLittleEndian), content])

    study = ResourcePath(path_of(first).study)
    one, other = await given(services, partition, study, ExplicitVRLittleEndian)

    assert one[0] == ExplicitVRLittleEndian
    assert other == (JPEGBaseline8Bit, content)


def with_fragments(*fragments: bytes, **uids: Any) -> tuple[Dataset, bytes]:
    """An image of as many frames in RLE, whatever they hold."""
    source = image(rows=24, columns=40, frames=len(fragments), **uids)
    items = [b"\xfe\xff\x00\xe0" + pack("<I", len(piece)) + piece for piece in (b"", *fragments)]
    source.PixelData = b"".join(items)
    source["PixelData"].VR = "OB"
    source["PixelData"].is_undefined_length = True
    return source, part10(source, RLELossless)


def rle_frames(count: int) -> list[bytes]:
    source = image(rows=24, columns=40, frames=count)
    compress(source)
    return list(generate_frames(source.PixelData, number_of_frames=count))


async def test_an_empty_frame_is_given_as_it_is_and_cannot_be_decoded(
    services: Services, partition: Partition
) -> None:
    first, last = rle_frames(2)
    source, content = with_fragments(first, b"", last)
    await store(services, partition, [content])
    path = path_of(source)

    assert await frames(services, partition, path, [2, 1, 2]) == [b"", first, b""]
    assert await frames(services, partition, path, [2]) == [b""]
    octets = [way(ExplicitVRLittleEndian, "application/octet-stream")]
    with pytest.raises(NotAcceptableError):
        await frames(services, partition, path, [2], octets)
    _, empty = with_fragments(b"", StudyInstanceUID=source.StudyInstanceUID)
    await store(services, partition, [empty])
    study = ResourcePath(path.study)
    given_files = [file for _, file in await given(services, partition, study, JPEG2000Lossless)]
    assert empty in given_files


@pytest.mark.parametrize("target", [ExplicitVRLittleEndian, JPEGLSLossless])
async def test_among_others_an_instance_whose_last_frame_is_damaged_comes_as_it_is(
    services: Services, partition: Partition, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(transcoded_file, "MAX_HELD_LENGTH", 1)
    source, content = with_fragments(*rle_frames(3), b"\1" * 100)
    others = [image(frames=5, StudyInstanceUID=source.StudyInstanceUID) for _ in range(2)]
    files = [part10(other, ImplicitVRLittleEndian) for other in others]
    await store(services, partition, [files[0], content, files[1]])

    first, second, third = await given(
        services, partition, ResourcePath(path_of(source).study), target
    )

    assert second == (RLELossless, content)
    for other, (syntax_uid, file) in zip(others, (first, third), strict=True):
        assert syntax_uid == target
        assert pixels(file).tobytes() == other.PixelData


async def several(services: Services, partition: Partition) -> tuple[ResourcePath, list[bytes]]:
    """A study of images, and the files that it has."""
    first = image(frames=5)
    sources = [first, *(image(frames=5, StudyInstanceUID=first.StudyInstanceUID) for _ in "ab")]
    files = [part10(source, ImplicitVRLittleEndian) for source in sources]
    await store(services, partition, files)
    return ResourcePath(path_of(first).study), files


async def test_what_is_too_large_to_be_kept_until_it_is_whole_is_given_all_the_same(
    services: Services, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = await several(services, partition)
    expected = await given(services, partition, study, ExplicitVRLittleEndian)
    monkeypatch.setattr(transcoding, "HELD_LENGTH", 100)
    assert await given(services, partition, study, ExplicitVRLittleEndian) == expected
    monkeypatch.setattr(transcoding, "MAX_SPOOLED_LENGTH", 1500)
    assert await given(services, partition, study, ExplicitVRLittleEndian) == expected


async def test_what_there_is_no_room_to_transcode_comes_as_it_is(
    services: Services, partition: Partition, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study, files = await several(services, partition)
    monkeypatch.setattr(transcoding, "HELD_LENGTH", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert await given(services, partition, study, ExplicitVRLittleEndian) == [
        (ImplicitVRLittleEndian, file) for file in files
    ]


async def test_files_that_are_whole_are_left_nowhere_by_a_client_that_goes(
    services: Services, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = await several(services, partition)
    monkeypatch.setattr(transcoding, "HELD_LENGTH", 100)
    found = await services.retrieve.instances(
        partition, study, [way(ExplicitVRLittleEndian)], version=2
    )
    content = await anext(found.contents)
    assert await anext(content.body)
    await found.contents.aclose()  # type: ignore[attr-defined]  # it is an async generator
    del found, content
    # Whatever had been left open would be told of, and fail this test.
    gc.collect()
    await asyncio.sleep(0)
    gc.collect()


async def test_an_instance_with_fewer_frames_than_it_declares_is_refused(
    services: Services, partition: Partition
) -> None:
    source = image(frames=3)
    source.PixelData = source.PixelData[: len(source.PixelData) * 2 // 3]
    await store(services, partition, [part10(source)])
    with pytest.raises(NotAcceptableError):
        await given(services, partition, path_of(source), RLELossless)


def with_vr(source: bytes, header: bytes, vr: bytes) -> bytes:
    """A file whose one element of this header has another VR, which the Standard may not have."""
    assert source.count(header) == 1
    return source.replace(header, header[:4] + vr)


@pytest.mark.parametrize(
    ("syntax", "header"),
    [
        (ExplicitVRLittleEndian, b"\x28\0\x02\0US"),
        (ExplicitVRLittleEndian, b"\x28\0\x04\0CS"),
        (ExplicitVRLittleEndian, b"\0\x60\x02\1US"),
        (ExplicitVRLittleEndian, b"\x02\0\x13\0SH"),
        (ExplicitVRBigEndian, b"\0\x10\x40\0LT"),
        (ExplicitVRBigEndian, b"\x7f\xe1\x10\1LO"),
    ],
)
async def test_an_instance_with_a_vr_that_is_none_is_refused_and_comes_as_it_is_among_others(
    services: Services, partition: Partition, syntax: str, header: bytes
) -> None:
    source = image(PatientComments="comment")
    source.add_new(0x60000102, "US", 0)
    source.add_new(0x7FE10010, "LO", "MAKER")
    source.add_new(0x7FE11001, "LO", "behind")
    content = big_endian(source) if syntax == ExplicitVRBigEndian else part10(source)
    odd = with_vr(content, header, b"UZ")
    other = part10(image(StudyInstanceUID=source.StudyInstanceUID))
    await store(services, partition, [odd, other])
    path = path_of(source)
    with pytest.raises(NotAcceptableError):
        await given(services, partition, path, JPEGLSLossless)
    both = await given(services, partition, ResourcePath(path.study), JPEGLSLossless)
    assert (syntax, odd) in both
    assert {uid for uid, _ in both} == {syntax, JPEGLSLossless}


async def test_the_loop_goes_on_while_pixels_are_worked_on(
    services: Services, partition: Partition
) -> None:
    source = image(rows=1024, columns=1024, frames=4)
    await store(services, partition, [part10(source)])
    path = path_of(source)
    working = [
        asyncio.ensure_future(given(services, partition, path, JPEG2000Lossless)) for _ in range(3)
    ]
    ticks = [time.perf_counter()]
    while not all(task.done() for task in working):
        await asyncio.sleep(0.001)
        ticks.append(time.perf_counter())
    for task in working:
        await task
    gaps = sorted(after - before for before, after in pairwise(ticks))
    assert gaps[len(gaps) // 2] < 0.1


async def test_the_bulk_of_a_deflated_file_is_read_as_if_it_were_not(
    services: Services, partition: Partition
) -> None:
    source = image(rows=64, columns=64, frames=3)
    content = part10(source, DeflatedExplicitVRLittleEndian)
    assert len(zlib.compress(source.PixelData)) < len(content)
    await store(services, partition, [content])
    given_frames = await frames(services, partition, path_of(source), [3, 1, 2])
    size = 64 * 64 * 2
    assert given_frames == [source.PixelData[n * size : (n + 1) * size] for n in (2, 0, 1)]
