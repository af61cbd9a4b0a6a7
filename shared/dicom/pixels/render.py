"""Images as people look at them.

Standard: PS3.18 8.3.5, 8.7.4 and 10.4.1.1.3, PS3.4 N.2 (2025b).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import Dataset

from shared.dicom.pixels.color import to_rgb
from shared.dicom.pixels.decode import decode_frame
from shared.dicom.pixels.frame_attributes import decimal
from shared.dicom.pixels.grayscale import render_grayscale
from shared.dicom.pixels.icc_profile import IccProfile, with_profile
from shared.dicom.pixels.image import Frame, ImageDescription, Pixels, StoredFrame
from shared.dicom.pixels.palette import Palette
from shared.dicom.pixels.viewport import Viewport
from shared.dicom.pixels.window import Window
from shared.dicom.pydicom_reading import PYDICOM_ERRORS
from shared.dicom.quiet import quiet
from shared.errors import NotAcceptableError

JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
DEFAULT_QUALITY = 90
THUMBNAIL_SIDE = 128
MAX_ANIMATED_LENGTH = 1 << 28
"""Bytes that the frames of an animation may take together, as they are shown."""

_OCTET = 8
_GRAYSCALE = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLORED = frozenset({"COLOR", "MIXED", "TRUE_COLOR"})
_DEFAULT_DURATION = 100.0
_LEAST_DURATION, _MOST_DURATION = 20.0, 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """How an image shall look; `quality` is from 1 to 100, of JPEG."""

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = DEFAULT_QUALITY
    icc_profile: IccProfile = IccProfile.NO


def render(
    dataset: Dataset,
    image: ImageDescription,
    frames: Iterable[tuple[int, StoredFrame]],
    media_type: str,
    rendering: Rendering | None = None,
) -> bytes:
    """Render frames, each with its index from 0, as JPEG or PNG, or as GIF if they are several.

    Of JPEG and PNG, only the first frame is taken; the frames of GIF move.

    Raises:
        NotAcceptableError: A frame cannot be decoded or rendered.
        InvalidQueryError: The viewport lies outside the image.
    """
    asked = rendering or Rendering()
    pictures = (render_frame(dataset, image, one, asked) for one in frames)
    first = next(pictures, None)
    if first is None:
        raise NotAcceptableError("There is no frame to render.")
    written = BytesIO()
    profile = first.info.get("icc_profile")
    match media_type:
        case "image/jpeg":
            first.save(written, "JPEG", quality=asked.quality, icc_profile=profile)
        case "image/png":
            first.save(written, "PNG", compress_level=1, icc_profile=profile)
        case "image/gif":
            _write_gif(written, first, pictures, _duration(dataset))
        case _:
            raise NotAcceptableError(f"Images are rendered as {JPEG}, {PNG} and {GIF}.")
    return written.getvalue()


def render_thumbnail(
    dataset: Dataset, image: ImageDescription, frame: tuple[int, StoredFrame]
) -> bytes:
    """Render a frame as a JPEG of at most 128 pixels a side, never larger than it is.

    Raises:
        NotAcceptableError: The frame cannot be decoded or rendered.
    """
    viewport = Viewport(min(THUMBNAIL_SIDE, image.columns), min(THUMBNAIL_SIDE, image.rows))
    return render(dataset, image, [frame], JPEG, Rendering(viewport=viewport))


def render_frame(
    dataset: Dataset,
    image: ImageDescription,
    frame: tuple[int, StoredFrame],
    rendering: Rendering,
) -> Image.Image:
    """Render one frame, given with its index from 0, to 8 bits a sample.

    Raises:
        NotAcceptableError: The frame cannot be decoded or rendered.
        InvalidQueryError: The viewport lies outside the image.
    """
    index, stored = frame
    decoded = decode_frame(stored, image)
    try:
        with quiet():
            pixels = show(decoded, dataset, index, rendering.window)
            picture = with_profile(Image.fromarray(pixels), dataset, rendering.icc_profile)
    except PYDICOM_ERRORS as error:
        raise NotAcceptableError("What the image says of its display is damaged.") from error
    return picture if rendering.viewport is None else rendering.viewport.apply(picture)


def show(frame: Frame, dataset: Dataset, index: int, window: Window | None = None) -> Pixels:
    """The shades of grey, (rows, columns), or the colours, (rows, columns, 3), of a frame.

    Raises:
        NotAcceptableError: The photometric interpretation is none that can be shown.
    """
    image = frame.image
    if image.photometric == "PALETTE COLOR" and not image.is_color:
        return Palette.of(dataset).apply(frame.pixels)
    if image.photometric in _GRAYSCALE and not image.is_color:
        shades = render_grayscale(frame, dataset, index, window)
        return _add_colors(frame, shades, dataset) if _has_colors(dataset) else shades
    rgb = to_rgb(frame)
    if rgb.image.photometric != "RGB" or image.samples_per_pixel != 3:  # noqa: PLR2004
        raise NotAcceptableError("Images of this photometric interpretation are not rendered.")
    return _to_octets(rgb)


def _has_colors(dataset: Dataset) -> bool:
    """Whether there is a supplemental palette; images say so whose colours are left out, too."""
    is_presented = str(dataset.get("PixelPresentation") or "") in _COLORED
    return is_presented and "RedPaletteColorLookupTableDescriptor" in dataset


def _add_colors(frame: Frame, shades: Pixels, dataset: Dataset) -> Pixels:
    """Show values from the first of the supplemental palette on in its colours (C.7.6.19)."""
    palette = Palette.of(dataset)
    is_colored = (frame.pixels >= palette.first)[..., None]
    shown: Pixels = np.where(is_colored, palette.apply(frame.pixels), shades[..., None])
    return shown


def _to_octets(frame: Frame) -> Pixels:
    excess = frame.image.bits_stored - _OCTET
    pixels = frame.pixels
    if frame.image.is_signed:
        pixels = pixels.astype(np.int64) + (1 << frame.image.bits_stored - 1)
    if excess > 0:
        pixels = pixels >> excess
    elif excess < 0:
        pixels = pixels.astype(np.uint16) * 255 // ((1 << frame.image.bits_stored) - 1)
    return pixels.astype(np.uint8, copy=False)


def _write_gif(
    written: BytesIO, first: Image.Image, others: Iterator[Image.Image], duration: float
) -> None:
    _of_palette(first).save(
        written,
        "GIF",
        save_all=True,
        append_images=_bounded(first, others),
        duration=duration,
        loop=0,
    )


def _bounded(first: Image.Image, others: Iterator[Image.Image]) -> Iterator[Image.Image]:
    """The pictures after the first; all are held until the animation is written."""
    length = first.width * first.height
    for picture in others:
        length += picture.width * picture.height
        if length > MAX_ANIMATED_LENGTH:
            raise NotAcceptableError("The image has more frames than are rendered together.")
        yield _of_palette(picture)


def _of_palette(picture: Image.Image) -> Image.Image:
    """Colours by an octree: a sixteenth of the time of the median cut that would be taken."""
    is_gray = picture.mode == "L"
    return picture if is_gray else picture.quantize(256, method=Image.Quantize.FASTOCTREE)


def _duration(dataset: Dataset) -> float:
    """Milliseconds that a frame is shown for (PS3.3 C.7.6.5)."""
    duration = decimal(dataset, "FrameTime", 0.0)
    for keyword in ("RecommendedDisplayFrameRate", "CineRate"):
        rate = decimal(dataset, keyword, 0.0)
        if duration <= 0 < rate:
            duration = 1000.0 / rate
    if duration <= 0:
        duration = _DEFAULT_DURATION
    return min(max(duration, _LEAST_DURATION), _MOST_DURATION)
