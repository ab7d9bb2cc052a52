"""Shadows that ridges throw on the land behind them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from carbonmap.errors import GridError
from carbonmap.types import Bool, Raster


def shadow_reach_px(relief_m: float, sun_zenith: float, pixel_m: float) -> int:
    """Halo in pixels that a tile needs for its shadows to equal the whole's.

    Args:
        relief_m: highest minus lowest land of the scene, or more.
        sun_zenith: radians, below π/2.
        pixel_m: edge of a pixel, m.

    Returns:
        ``relief · tan θ_z / pixel``, and 2 for the pixels beside a ray.

    Raises:
        GridError: the sun is below the horizon.
    """
    return math.ceil(relief_m * _tan(sun_zenith) / pixel_m) + 2


def cast_shadow(
    elevation: Raster,
    sun_zenith: float,
    sun_azimuth: float,
    pixel_m: float,
    origin: tuple[int, int] = (0, 0),
) -> Bool:
    """Land from which other land hides the sun's centre; a slope turned away is told by cos i.

    The raster is sheared so that rays towards the sun become columns. Along one, a place lies in
    shadow where some height ahead, less ``distance / tan θ_z``, exceeds its own: a running maximum,
    whatever the reach. Heights are linear between the pixels that a ray passes; a pixel takes the
    ray nearest to its centre, half a pixel aside at most. The earth is flat: a ridge
    16 km away counts as 20 m too high.

    Args:
        elevation: m, north up, ``(row, col)``. NaN throws no shadow and receives none, nor does a
            ray between it and a neighbour. Beyond the edge all is NaN: read a tile with the halo of
            `shadow_reach_px`.
        sun_zenith: radians; one number a scene, so that no shadow breaks between tiles.
        sun_azimuth: radians clockwise from grid north, the same.
        pixel_m: edge of a pixel, m.
        origin: lattice row and column of the first pixel (`Grid.row`, `Grid.col`): all tiles share
            the rays, so that one read with its halo equals the whole exactly.

    Returns:
        Same shape. Works on 8 bytes for each pixel besides.

    Raises:
        GridError: the sun is below the horizon, or the elevation is no raster.
    """
    if elevation.ndim != 2:
        raise GridError(f"elevation has shape {elevation.shape}; shadows need (row, col)")
    tan = _tan(sun_zenith)
    shadow = np.zeros(elevation.shape, dtype=bool)
    row, col = origin
    down, right = -math.cos(sun_azimuth), math.sin(sun_azimuth)
    land, dark = elevation, shadow
    if abs(right) > abs(down):
        land, dark = land.T, dark.T
        row, col, down, right = col, row, right, down
    if down > 0:
        land, dark, row = land[::-1], dark[::-1], 1 - row - len(land)
    if right < 0:
        land, dark, col = land[:, ::-1], dark[:, ::-1], 1 - col - land.shape[1]
    if tan > 0:  # else the sun stands overhead
        lean = round(abs(right / down), 12)  # cos 90° is not quite 0
        drop = pixel_m * math.hypot(1, lean) / tan
        _march(np.ascontiguousarray(land, dtype=np.float64), dark, row, col, lean, drop)
    return shadow


def _march(
    land: NDArray[np.float64], dark: Bool, row: int, col: int, lean: float, drop: float
) -> None:
    """Fill in the shadows of a sun that stands in the direction of row 0, leaning to the right.

    Args:
        land: heights, m.
        dark: where to write, same shape.
        row: lattice row of the first.
        col: lattice column of the first.
        lean: columns by which a ray moves right for each row up, 0 to 1.
        drop: m by which it rises for each row up.
    """
    rows, cols = land.shape
    first = math.floor(col + row * lean) - 1
    ahead = np.full(math.ceil((rows - 1) * lean) + cols + 4, -np.inf)
    line = np.full(cols + 2, np.nan)
    for k in range(rows):
        # Ray j passes row r at column j − r·lean, between two pixels; ray `start` is the leftmost.
        across = -(row + k) * lean
        base = math.floor(across)
        share = across - base
        line[1:-1] = land[k]
        rise = share * (line[1:] - line[:-1]) if share else 0.0  # 0 × NaN would be NaN
        heights = line[:-1] + rise + (row + k) * drop
        start = col - 1 - base - first
        passed = ahead[start : start + cols + 1]
        nearest = base + math.floor(0.5 - across) + 1
        dark[k] = (passed > heights)[nearest : nearest + cols]
        np.fmax(passed, heights, out=passed)


def _tan(sun_zenith: float) -> float:
    if not 0 <= sun_zenith < math.pi / 2:
        raise GridError(
            f"sun zenith is {math.degrees(sun_zenith):.1f}°; shadows need a sun above the horizon, "
            f"0 to below 90°: check the scene's time and its zone"
        )
    return math.tan(sun_zenith)
