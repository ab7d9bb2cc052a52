"""Why a pixel of a scene is not, or hardly, to be used: the bits of its quality band."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from carbonmap.types import Bool

QualityBits = NDArray[np.uint8]
"""Flags of every pixel, ``(row, col)``; 0 is a clear measurement."""


class Quality(IntFlag):
    """One reason a bit; several may hold at once.

    The first four mean that nothing was measured, and the bands are NaN there; the others keep
    their values, which whoever composes images may prefer not to use.
    """

    OUTSIDE = 1
    """The scene does not reach here."""
    MISSING_LINE = 2
    """The line was lost on its way down, in one band or more."""
    ZERO = 4
    """A count of 0 in one band or more, outside a missing line."""
    SATURATED = 8
    """The highest count that the sensor can give, in one band or more."""
    CLOUD = 16
    """A cloud hides the land."""
    CLOUD_SHADOW = 32
    """A cloud's shadow lies on the land."""
    TERRAIN_SHADOW = 64
    """Land that the sun does not reach: turned away from it, or behind a ridge."""
    THIN_CLOUD = 128
    """Haze or thin cloud through which the land still shows."""


NOT_MEASURED = Quality.OUTSIDE | Quality.MISSING_LINE | Quality.ZERO | Quality.SATURATED
"""Bits under which the bands are NaN."""


def has(quality: QualityBits, bits: Quality) -> Bool:
    """Where any of the bits is set."""
    return np.asarray((quality & np.uint8(bits)) != 0)
