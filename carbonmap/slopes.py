"""Terrain as layers beside the bands: how steep the land is, and which way it faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from carbonmap.terrain import horn_gradient
from carbonmap.types import Floats, Raster

LEAST_PX = 2
"""Rows and columns that the elevation must have: one pixel alone has no slope."""


@dataclass(frozen=True)
class Layer:
    """One layer that follows from the elevation.

    Args:
        of: elevation, m, ``(row, col)``, and the edge of a pixel, m, to float32 of the same shape;
            a tile needs `terrain.HALO_PX` around it.
        units: CF units.
        long_name: a phrase for people.
    """

    of: Callable[[Raster, float], Floats]
    units: str
    long_name: str


def slope_deg(elevation: Raster, pixel_m: float) -> Floats:
    """Steepest slope by Horn (1981), degrees from the horizontal, float32; NaN stays NaN."""
    east, north = horn_gradient(elevation, pixel_m)
    return np.degrees(np.arctan(np.sqrt(east * east + north * north))).astype(np.float32)


def aspect_sin(elevation: Raster, pixel_m: float) -> Floats:
    """Sine of the way that the land faces, 1 where it faces grid east; see `_facing`."""
    return _facing(elevation, pixel_m)[0]


def aspect_cos(elevation: Raster, pixel_m: float) -> Floats:
    """Cosine of the way that the land faces, 1 where it faces grid north; see `_facing`."""
    return _facing(elevation, pixel_m)[1]


def _facing(elevation: Raster, pixel_m: float) -> tuple[Floats, Floats]:
    """The unit vector downhill, ``−∇z / |∇z|``, east and north (Horn 1981); float32.

    An angle would jump by a full turn at north and could not be averaged. Level
    land faces nowhere: both are 0, the mean of all directions, where an angle of 0 would be north.
    """
    east, north = horn_gradient(elevation, pixel_m)
    steep = np.sqrt(east * east + north * north)
    steep[steep == 0] = 1
    return (0 - east / steep).astype(np.float32), (0 - north / steep).astype(np.float32)


LAYERS = {
    "slope": Layer(slope_deg, "degree", "slope from the horizontal"),
    "aspect_sin": Layer(aspect_sin, "1", "sine of the aspect clockwise from grid north"),
    "aspect_cos": Layer(aspect_cos, "1", "cosine of the aspect clockwise from grid north"),
}
