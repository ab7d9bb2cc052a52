"""The sun on mountains: slopes that face it or turn away, and shadows thrown across valleys."""

from __future__ import annotations

import math

import numpy as np

from carbonmap.grid import Grid
from carbonmap.landscape.county import County
from carbonmap.landscape.relief import elevation
from carbonmap.terrain import HALO_PX, illumination, slope_aspect
from carbonmap.types import Bool, Floats, Raster

SHADOW_REACH_M = 10e3
"""Longest shadow that is followed. With the sun 40° above the horizon the county's highest mountain
throws one of 4 km into its lowest valley; only a sun below 18° would reach further."""


def sunlight(grid: Grid, county: County, season: str) -> Floats:
    """Direct light on the slope ÷ that on level land; 0 in the slope's own shadow.

    Raises:
        ConfigError: the county has no image of that month.
    """
    when = county.season(season)
    zenith, azimuth = np.deg2rad(when.sun_zenith_deg), np.deg2rad(when.sun_azimuth_deg)
    slope, aspect = slope_aspect(elevation(grid.padded(HALO_PX), county), grid.pixel_m)
    cosine = illumination(slope, aspect, zenith, azimuth)[HALO_PX:-HALO_PX, HALO_PX:-HALO_PX]
    return np.asarray(np.maximum(cosine, 0) / np.cos(zenith))


def cast_shadows(grid: Grid, county: County, season: str) -> Bool:
    """Which pixels' centres a mountain keeps the sun from; shape ``(row, col)``.

    Slopes turned away from the sun are in shadow as well, by `sunlight`, and only partly here.

    Raises:
        ConfigError: the county has no image of that month.
    """
    when = county.season(season)
    zenith, azimuth = math.radians(when.sun_zenith_deg), math.radians(when.sun_azimuth_deg)
    low, high = county.elevation_m
    longest = min((high - low) * math.tan(zenith), SHADOW_REACH_M)
    halo = math.ceil(longest / grid.pixel_m) + 1
    return thrown(elevation(grid.padded(halo), county), grid.pixel_m, zenith, azimuth, halo)


def thrown(height: Raster, pixel_m: float, zenith: float, azimuth: float, halo: int) -> Bool:
    """Which pixels lie below the line from some other land to the sun.

    The way to the sun is followed over every column (or row, where it leads more north than east)
    that it crosses, heights between two centres being linear.

    Args:
        height: m, north up, with `halo` more pixels on every side.
        pixel_m: edge of a pixel, m.
        zenith: of the sun, radians, below π/2.
        azimuth: of the sun, radians clockwise from grid north.
        halo: how far shadows are followed, px along the longer axis.

    Returns:
        Shape ``(row, col)`` without the halo.
    """
    down, right = -math.cos(azimuth), math.sin(azimuth)
    longer = max(abs(down), abs(right))
    down, right = down / longer, right / longer
    rise = pixel_m * math.hypot(down, right) / math.tan(zenith) if zenith > 0 else math.inf
    rows, cols = height.shape[0] - 2 * halo, height.shape[1] - 2 * halo
    here = height[halo : halo + rows, halo : halo + cols]
    horizon = np.full_like(here, -np.inf)
    relief = float(height.max() - height.min())
    for k in range(1, min(halo - 1, math.floor(relief / rise) + 1) + 1):
        ahead = _shifted(height, halo, (rows, cols), k * down, k * right)
        np.maximum(horizon, ahead - np.float32(k * rise), out=horizon)
    return np.asarray(horizon > here)


def _shifted(
    height: Raster, halo: int, shape: tuple[int, int], down: float, right: float
) -> Raster:
    """The part without the halo, so many pixels on; one of the two ways is a whole number."""
    top, left = math.floor(down), math.floor(right)
    part = down - top, right - left
    first = height[halo + top :, halo + left :][: shape[0], : shape[1]]
    if max(part) == 0:
        return first
    more = (1, 0) if part[0] else (0, 1)
    second = height[halo + top + more[0] :, halo + left + more[1] :][: shape[0], : shape[1]]
    return np.asarray(first + np.float32(max(part)) * (second - first))
