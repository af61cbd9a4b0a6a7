"""Windows: which values of interest are shown, and how.

Standard: PS3.3 C.11.2.1.2 and C.11.2.1.3, PS3.18 8.3.5.1.4 (2025b).
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidQueryError

_MAX_EXPONENT = 700.0
_MIN_PARTS, _PARTS = 2, 3
_GRAMMAR = "The parameter window is not center, width and one of linear, linear-exact and sigmoid."


class VoiFunction(StrEnum):
    """VOI LUT Function."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, slots=True)
class Window:
    """A range of values, and the function that spreads it over what can be shown."""

    center: float
    width: float
    function: VoiFunction = VoiFunction.LINEAR

    @property
    def is_possible(self) -> bool:
        """Whether the function has a result for such a range."""
        is_linear = self.function is VoiFunction.LINEAR
        is_wide = self.width >= 1 if is_linear else self.width > 0
        return is_wide and math.isfinite(self.center) and math.isfinite(self.width)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the query parameter `window`: center, width and, here optional, function.

        Raises:
            InvalidQueryError: It is no window.
        """
        parts = [part.strip() for part in text.split(",")]
        if not _MIN_PARTS <= len(parts) <= _PARTS:
            raise InvalidQueryError(_GRAMMAR)
        try:
            name = parts[2].upper().replace("-", "_") if parts[2:] else VoiFunction.LINEAR
            window = cls(float(parts[0]), float(parts[1]), VoiFunction(name))
        except ValueError as error:
            raise InvalidQueryError(_GRAMMAR) from error
        if not window.is_possible:
            raise InvalidQueryError("The parameter window has an impossible width.")
        return window

    def apply(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Give values from 0 to 1."""
        if self.function is VoiFunction.SIGMOID:
            exponent = np.clip(
                -4 * (values - self.center) / self.width, -_MAX_EXPONENT, _MAX_EXPONENT
            )
            shown: NDArray[np.float64] = 1 / (1 + np.exp(exponent))
            return shown
        center, width = self.center, self.width
        if self.function is VoiFunction.LINEAR:
            center, width = center - 0.5, width - 1
        if not width:
            return np.where(values <= center, 0.0, 1.0)
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
