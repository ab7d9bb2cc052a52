"""Mountains: ridges between winding gorges."""

from __future__ import annotations

from functools import partial

import numpy as np

from carbonmap.fields import Sample, field_key, fractal, smooth, smooth_at
from carbonmap.grid import Grid
from carbonmap.landscape.county import County
from carbonmap.types import Floats, Raster

OCTAVES = 7
"""From mountains of 8 km down to gullies of 130 m, eight pixels of 16 m."""

GAIN = 0.45
"""Strength of an octave ÷ the one before. This and the strengths in `_land` were chosen by eye, so
that slopes are 22° on average and seldom above 45°, as in the mountains of north-east Yunnan."""


def elevation(grid: Grid, county: County) -> Raster:
    """Height of the land, m, float32, shape ``(row, col)``, strictly inside `county.elevation_m`.

    Ridged octaves (Musgrave, in Ebert et al. 2003, ch. 16: ``1 − |noise|``, each octave stronger on
    the ridges of the one before) over a smooth base, cut by gorges along the zero lines of a wide
    field, and pressed into the range by ``z / √(1 + z²)``.
    """
    return _land(partial(smooth, grid.y, grid.x), county).astype(np.float32)


def elevation_at(x: Floats, y: Floats, county: County) -> Floats:
    """The same land at scattered points of the CRS, m."""
    return _land(partial(smooth_at, y, x), county)


def _land(sample: Sample, county: County) -> Floats:
    seed, wide = county.seed, county.relief_m
    z = 0.2 + 0.45 * fractal(sample, 2 * wide, field_key(seed, "base"), 2)
    weight: Floats | float = 1.0
    for k in range(OCTAVES):
        ridge = 1 - np.abs(sample(wide / 2**k, field_key(seed, "ridge", k)))
        z += 0.5 * GAIN**k * weight * ridge
        weight = np.clip(0.35 + 0.9 * ridge, 0.15, 1.25)
    gorge = fractal(sample, 1.7 * wide, field_key(seed, "gorge"), 3, 0.4)
    z -= 0.5 / (1 + (gorge / 0.5) ** 2)
    low, high = county.elevation_m
    return np.asarray((low + high) / 2 + (high - low) / 2 * z / np.sqrt(1 + z * z))
