"""The part of an image that is shown, and how large.

Standard: PS3.18 8.3.5.1.3 (2025b).
"""

import math
from dataclasses import dataclass
from typing import Self

from PIL import Image

from shared.errors import InvalidQueryError

MAX_SIDE = 8192
"""Pixels that the longer side of a viewport may have."""

_SIZE_PARTS, _PARTS = 2, 6
# Of a region, in pixels of the image; there is no scale for one next to nothing.
_LEAST_SIDE = 0.001
_GRAMMAR = "The parameter viewport is not vw,vh[,sx,sy,sw,sh]."


@dataclass(frozen=True, slots=True)
class Viewport:
    """A viewport, and the region of the image in it.

    Attributes:
        width: Of the viewport, in its pixels.
        height: Of the viewport, in its pixels.
        left: Of the region, in pixels of the image; likewise `top`.
        region_width: Negative when the region is flipped from left to right, None when it reaches
            to the edge of the image.
        region_height: Negative when the region is flipped from top to bottom.
    """

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    region_width: float | None = None
    region_height: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the query parameter `viewport`: vw,vh and optionally sx,sy,sw,sh.

        Raises:
            InvalidQueryError: It is no viewport, or a larger one than is served.
        """
        parts = [part.strip() for part in text.split(",")]
        if len(parts) not in {_SIZE_PARTS, _PARTS}:
            raise InvalidQueryError(_GRAMMAR)
        try:
            width, height = int(parts[0]), int(parts[1])
            left, top, region_width, region_height = (
                float(part) if part else None for part in [*parts[2:], "", "", "", ""][:4]
            )
        except ValueError as error:
            raise InvalidQueryError(_GRAMMAR) from error
        viewport = cls(width, height, left or 0.0, top or 0.0, region_width, region_height)
        viewport.check()
        return viewport

    def check(self) -> None:
        """See that the viewport can be.

        Raises:
            InvalidQueryError: It cannot.
        """
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE):
            raise InvalidQueryError(f"The sides of a viewport have from 1 to {MAX_SIDE} pixels.")
        region = (self.left, self.top, self.region_width or 1.0, self.region_height or 1.0)
        is_region = all(map(math.isfinite, region)) and min(self.left, self.top) >= 0
        sides = (self.region_width, self.region_height)
        if not is_region or any(side is not None and abs(side) < _LEAST_SIDE for side in sides):
            raise InvalidQueryError("The region of the viewport is none of an image.")

    def apply(self, image: Image.Image) -> Image.Image:
        """Show the region as large as the viewport allows, its proportions kept.

        Raises:
            InvalidQueryError: The region lies outside the image.
        """
        right = min(self.left + abs(self.region_width or math.inf), image.width)
        bottom = min(self.top + abs(self.region_height or math.inf), image.height)
        if right <= self.left or bottom <= self.top:
            raise InvalidQueryError("The region of the viewport lies outside the image.")
        width, height = right - self.left, bottom - self.top
        scale = min(self.width / width, self.height / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        box = (self.left, self.top, right, bottom)
        shown = image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
        if (self.region_width or 1) < 0:
            shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if (self.region_height or 1) < 0:
            shown = shown.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        return shown
