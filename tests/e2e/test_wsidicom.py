"""A reader of whole slide images, over the web as a pathologist's viewer reads them."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)
from wsidicom import WsiDicom, WsiDicomWebClient

from tests.builders import dataset, multipart, part10
from tests.e2e.server import Server

pytestmark = [
    pytest.mark.host,
    # The reader asks for metadata alone, and pydicom says that it has no pixels then.
    pytest.mark.filterwarnings("ignore:No bulk data URI handler:UserWarning"),
]

type Pixels = NDArray[np.uint8]

_TILE = 32
_SIZES = ((160, 96), (80, 48))
"""Columns and rows of each level; the tiles at the edges of the second one are not filled."""


def _slide(size: tuple[int, int]) -> Pixels:
    """A picture without two equal tiles, whose colours change slowly."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    scale = 160 // size[0]
    planes = (columns * scale, rows * scale * 2, (columns + rows) * scale // 2)
    return np.stack(planes, axis=-1).astype(np.uint8)


def _tiles(slide: Pixels) -> list[Pixels]:
    """Row by row, those at the edges filled up."""
    rows, columns = (-(-length // _TILE) for length in slide.shape[:2])
    full = np.full((rows * _TILE, columns * _TILE, 3), 255, np.uint8)
    full[: slide.shape[0], : slide.shape[1]] = slide
    return [
        np.ascontiguousarray(full[row : row + _TILE, column : column + _TILE])
        for row in range(0, full.shape[0], _TILE)
        for column in range(0, full.shape[1], _TILE)
    ]


def _jpeg(tile: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _level(size: tuple[int, int], syntax: str, **identity: Any) -> Dataset:
    """One level of a slide as an instance (PS3.3 A.32.8, 2025b), tiled in full."""
    tiles = _tiles(_slide(size))
    level = dataset(
        SOPClassUID=VLWholeSlideMicroscopyImageStorage,
        Modality="SM",
        ImageType=["ORIGINAL" if size == _SIZES[0] else "DERIVED", "PRIMARY", "VOLUME", "NONE"],
        **identity,
    )
    level.Rows = level.Columns = _TILE
    level.NumberOfFrames = len(tiles)
    level.TotalPixelMatrixColumns, level.TotalPixelMatrixRows = size
    level.DimensionOrganizationType = "TILED_FULL"
    level.ImagedVolumeWidth, level.ImagedVolumeHeight, level.ImagedVolumeDepth = 1.6, 0.96, 0.001
    level.ImageOrientationSlide = [0, 1, 0, 1, 0, 0]
    level.FocusMethod, level.ExtendedDepthOfField = "AUTO", "NO"
    level.SpecimenLabelInImage = "NO"
    level.SamplesPerPixel, level.PlanarConfiguration = 3, 0
    level.BitsAllocated, level.BitsStored, level.HighBit = 8, 8, 7
    level.PixelRepresentation = 0
    level.AcquisitionDateTime = "20260102101112"
    level.ContainerIdentifier = "slide"
    level.BurnedInAnnotation, level.LossyImageCompression = "NO", "00"
    spacing = Dataset()
    spacing.PixelSpacing = [1.6 / size[0], 0.96 / size[1]]
    spacing.SliceThickness = 0.001
    shared = Dataset()
    shared.PixelMeasuresSequence = [spacing]
    level.SharedFunctionalGroupsSequence = [shared]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    level.TotalPixelMatrixOriginSequence = [origin]
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    level.OpticalPathSequence = [path]
    level.NumberOfOpticalPaths = level.TotalPixelMatrixFocalPlanes = 1
    if syntax == JPEGBaseline8Bit:
        level.PhotometricInterpretation = "YBR_FULL_422"
        level.PixelData = encapsulate([_jpeg(tile) for tile in tiles])
        level["PixelData"].is_undefined_length = True
    else:
        level.PhotometricInterpretation = "RGB"
        level.PixelData = b"".join(tile.tobytes() for tile in tiles)
    return level


@pytest.fixture(
    scope="module", params=[JPEGBaseline8Bit, ExplicitVRLittleEndian], ids=["JPEG", "native"]
)
def syntax(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def slide(server: Server, syntax: str) -> Iterator[WsiDicom]:
    """A slide of two levels, stored and opened."""
    identity = {
        name: generate_uid()
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    }
    files = [part10(_level(size, syntax, **identity), syntax) for size in _SIZES]
    body, headers = multipart(files)
    answer = httpx.post(f"{server.v2}/studies", content=body, headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    client = WsiDicomWebClient(DICOMwebClient(server.v2))
    uids = identity["StudyInstanceUID"], identity["SeriesInstanceUID"]
    # By itself the reader asks for JPEG first; of native tiles that would not be exact.
    asked = None if syntax == JPEGBaseline8Bit else JPEG2000Lossless
    with WsiDicom.open_web(client, *uids, requested_transfer_syntax=asked) as opened:
        yield opened


def _expected(size: tuple[int, int], syntax: str) -> Pixels:
    """The whole of a level as a decoder of one's own gives it."""
    tiles = _tiles(_slide(size))
    if syntax == JPEGBaseline8Bit:
        tiles = [np.asarray(Image.open(io.BytesIO(_jpeg(tile)))) for tile in tiles]
    across = -(-size[0] // _TILE)
    rows = [np.hstack(tiles[start : start + across]) for start in range(0, len(tiles), across)]
    return np.vstack(rows)[: size[1], : size[0]]


def test_it_finds_the_levels(slide: WsiDicom) -> None:
    found = [(level.size.width, level.size.height) for level in slide.levels]
    assert found == list(_SIZES)


@pytest.mark.parametrize("level", [0, 1], ids=["whole", "half"])
def test_it_reads_a_level(slide: WsiDicom, syntax: str, level: int) -> None:
    region = slide.read_region((0, 0), level, _SIZES[level])
    assert np.array_equal(np.asarray(region.convert("RGB")), _expected(_SIZES[level], syntax))


def test_it_reads_a_region_across_tiles(slide: WsiDicom, syntax: str) -> None:
    region = slide.read_region((20, 10), 0, (70, 60))
    expected = _expected(_SIZES[0], syntax)[10:70, 20:90]
    assert np.array_equal(np.asarray(region.convert("RGB")), expected)


def test_it_reads_a_tile(slide: WsiDicom, syntax: str) -> None:
    tile = slide.read_tile(0, (3, 2))
    expected = _expected(_SIZES[0], syntax)[64:96, 96:128]
    assert np.array_equal(np.asarray(tile.convert("RGB")), expected)


def test_it_gets_a_tile_as_it_was_stored_or_coded(slide: WsiDicom, syntax: str) -> None:
    tile = _tiles(_slide(_SIZES[0]))[8]
    received = slide.read_encoded_tile(0, (3, 1))
    if syntax == JPEGBaseline8Bit:
        # The last byte may fill the fragment up to an even length.
        assert received.removesuffix(b"\0") == _jpeg(tile)
    else:
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(received))), tile)


def test_it_makes_a_thumbnail(slide: WsiDicom, syntax: str) -> None:
    thumbnail = np.asarray(slide.read_thumbnail(_SIZES[1]).convert("RGB")).astype(int)
    assert thumbnail.shape == (*reversed(_SIZES[1]), 3)
    assert np.abs(thumbnail - _expected(_SIZES[1], syntax)).max() <= 3
