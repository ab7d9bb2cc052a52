"""What a map says of many draws, pixel by pixel; each in the order of the draws, so that bytes do
not depend on how a map was cut.

Draws are ``(draw, row, col)``, Mg C/ha; NaN where nothing is known.
"""

from __future__ import annotations

import numpy as np

from carbonmap.types import Floats, Raster


def mean(draws: Floats) -> Raster:
    """Mean of the draws, float32: summed one after the other, since NumPy's sum rounds by shape."""
    return (_total(draws) / len(draws)).astype(np.float32)


def deviation(draws: Floats) -> Raster:
    """Standard deviation of two draws or more about their mean, ``/ (K − 1)``, float32."""
    middle = _total(draws) / len(draws)
    total = np.zeros(middle.shape)
    for one in draws:
        total += (one - middle) ** 2
    return np.sqrt(total / (len(draws) - 1)).astype(np.float32)


def _total(draws: Floats) -> Floats:
    total = np.zeros(draws.shape[1:])
    for one in draws:
        total += one
    return total
