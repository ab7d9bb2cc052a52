"""Slope, aspect and sunlight on a slope, from an elevation raster.

Angles are in radians throughout. Aspect is the way a slope faces (downhill), clockwise from grid
north: 0 north, π/2 east.
"""

from __future__ import annotations

import numpy as np

from carbonmap.errors import GridError
from carbonmap.types import Floats, Raster

HALO_PX = 1
"""Rows and columns that a tile must read beyond its edges for its terrain to equal the whole's."""


def horn_gradient(elevation: Raster, pixel_m: float) -> tuple[Raster, Raster]:
    """Rise of the land towards east and towards north over the 3×3 neighbourhood.

        p = ((NE + 2E + SE) − (NW + 2W + SW)) / 8d,  q = ((NW + 2N + NE) − (SW + 2S + SE)) / 8d

    (Horn 1981, the weighted gradient). A neighbour that is NaN or off the array is taken from the
    one opposite, mirrored through the centre (``2c − opposite``): a plane keeps its gradient up
    to the last row; where that one is missing too, the centre stands in.

    Args:
        elevation: m, north up, shape ``(row, col)``; NaN where unknown.
        pixel_m: edge of a pixel, m.

    Returns:
        ``p`` (east) and ``q`` (north), m m⁻¹, same shape; NaN where the centre is NaN.

    Raises:
        GridError: the elevation is no raster of at least 2×2 pixels.
    """
    if elevation.ndim != 2 or min(elevation.shape) < 2:
        raise GridError(
            f"elevation has shape {elevation.shape}; slope needs at least 2 rows and 2 columns, so "
            f"read the tile with a halo of {HALO_PX} pixel"
        )
    heights = np.pad(elevation.astype(np.float64), HALO_PX, mode="reflect", reflect_type="odd")
    centre = heights[1:-1, 1:-1]
    rise_ew = _rise(heights[1:-1, 2:], heights[1:-1, :-2], centre)
    rise_ns = _rise(heights[:-2, 1:-1], heights[2:, 1:-1], centre)
    rise_ne = _rise(heights[:-2, 2:], heights[2:, :-2], centre)
    rise_nw = _rise(heights[:-2, :-2], heights[2:, 2:], centre)
    east = 2 * rise_ew + rise_ne - rise_nw
    north = 2 * rise_ns + rise_ne + rise_nw
    return east / (8 * pixel_m), north / (8 * pixel_m)


def slope_aspect(elevation: Raster, pixel_m: float) -> tuple[Raster, Raster]:
    """Slope and aspect by Horn (1981); see `horn_gradient` for edges and NaN.

    A tile equals the whole only where it was read with a halo of `HALO_PX` and cropped afterwards.

    Returns:
        Slope, radians from the horizontal in [0, π/2), and aspect, radians in [0, 2π), 0 where the
        land is flat; both of the elevation's shape.
    """
    east, north = horn_gradient(elevation, pixel_m)
    slope = np.arctan(np.sqrt(east * east + north * north))
    aspect = np.arctan2(-east, -north)
    aspect[aspect < 0] += 2 * np.pi
    aspect[aspect >= 2 * np.pi] = 0  # a hair below zero rounds to a full turn
    aspect[slope == 0] = 0
    return slope, aspect


def illumination(
    slope: Raster, aspect: Raster, sun_zenith: Floats | float, sun_azimuth: Floats | float
) -> Raster:
    """Cosine of the angle between the sun and the slope's normal.

        cos i = cos θ_z cos s + sin θ_z sin s cos(φ_sun − φ_slope)      Teillet et al. 1982

    Args:
        slope: radians.
        aspect: radians, same shape.
        sun_zenith: ``θ_z``, radians, one number or broadcastable.
        sun_azimuth: ``φ_sun``, radians clockwise from grid north.

    Returns:
        In [−1, 1], same shape; below 0 the slope lies in its own shadow.
    """
    level = np.cos(sun_zenith) * np.cos(slope)
    tilted = np.sin(sun_zenith) * np.sin(slope) * np.cos(sun_azimuth - aspect)
    return np.asarray(level + tilted)


def _rise(ahead: Raster, behind: Raster, centre: Raster) -> Raster:
    """Difference of two opposite neighbours, a missing one mirrored through the centre."""
    rise = ahead - behind
    no_ahead, no_behind = np.isnan(ahead), np.isnan(behind)
    if no_ahead.any() or no_behind.any():
        rise = np.where(no_ahead, 2 * (centre - behind), rise)
        rise = np.where(no_behind, 2 * (ahead - centre), rise)
        rise = np.where(no_ahead & no_behind, 0 * centre, rise)
    return rise + 0 * centre
