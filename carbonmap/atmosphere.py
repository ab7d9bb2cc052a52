"""Surface reflectance by 6S: what the air adds and takes, for the land of a whole scene.

Coefficients from the table of `carbonmap.sixs`, over a scene's elevations and from side to side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from carbonmap.darkobject import DARK_REFLECTANCE
from carbonmap.errors import InputError
from carbonmap.sixs import ATMOSPHERE, Geometry, Table, coefficients_at
from carbonmap.types import Floats, Raster

AEROSOL_SCALE_M = 2000.0
"""Over which aerosols thin by e, the value of 6S's own profiles (Vermote et al. 1997)."""

LEVEL_M = 150.0
"""Between levels of elevation, between which coefficients are taken as linear: to 7e-5."""

VISIBLE = slice(0, 3)
"""Blue, green, red: the bands in which aerosols show over dark land."""


@dataclass(frozen=True)
class Coefficients:
    """``x_a``, ``x_b``, ``x_c`` of a scene over its elevations and from side to side.

    Args:
        values: float32, shape ``(3, band, place, level)``.
        low_m: elevation of the first level.
        step_m: between levels.
    """

    values: NDArray[np.float32]
    low_m: float
    step_m: float


def coefficients(
    table: Table,
    geometries: Sequence[Geometry],
    aod: float,
    aod_at_m: float,
    land_m: tuple[float, float],
    atmosphere: str = ATMOSPHERE,
) -> Coefficients:
    """The coefficients of a whole scene, for `surface`.

    Aerosols lie low: over ground at ``h`` there are ``aod · exp(−(h − aod_at_m) / 2 km)``, and no
    more than the table holds: over the lowest valleys of high mountains the air of its end.

    Args:
        table: from `parse_table`.
        geometries: sun and view at evenly spaced places from one side of the scene to the other;
            one for all does for a small part. A WFV sees 16° of view zenith from side to side.
        aod: aerosol optical depth at 550 nm.
        aod_at_m: elevation of the ground above which it was found.
        land_m: lowest and highest land of the scene.
        atmosphere: whose gases.

    Raises:
        InputError: the geometry or the AOD itself is out of the table's range.
        ConfigError: there is no such atmosphere.
    """
    low, high = land_m
    steps = max(1, math.ceil((high - low) / LEVEL_M))
    levels = np.linspace(low, high, steps + 1)
    most = max(aod, float(table.axes["aod_550"][-1]))
    aods = np.minimum(aod * np.exp((aod_at_m - levels) / AEROSOL_SCALE_M), most)
    values = [
        [coefficients_at(table, g, a, h, atmosphere) for a, h in zip(aods, levels, strict=True)]
        for g in geometries
    ]
    folded = np.array(values, dtype=np.float32).transpose(2, 3, 0, 1)
    return Coefficients(folded, low, (high - low) / steps or LEVEL_M)


def surface(
    toa: Floats, air: Coefficients, elevation: Raster | float, across: Raster | float = 0.0
) -> Floats:
    """Surface reflectance of land as level and alike all round.

        ρ_s = y / (1 + x_c y),   y = x_a ρ − x_b        Vermote et al. 1997

    Below 0 it stays: dark land in noise is as often too low as too high, and cutting off one half
    would brighten it.

    Args:
        toa: reflectance at the top of the atmosphere, ``(band, row, col)``.
        air: the scene's coefficients.
        elevation: m, ``(row, col)`` or one number; past the scene's land its end holds. NaN gives
            NaN.
        across: place between the scene's sides, 0 at the first geometry, 1 at the second and so on,
            ``(row, col)`` or one number; beyond the sides, theirs.

    Returns:
        Same shape and dtype.
    """
    corners = _corners(air, elevation, across)
    land = np.empty_like(toa)
    for band, out, factors in zip(toa, land, air.values.swapaxes(0, 1), strict=True):
        x_a, x_b, x_c = (_blend(f.ravel(), corners) for f in factors)
        y = x_a * band - x_b
        out[...] = y / (1 + x_c * y)
    return land


def estimate_aod(
    table: Table,
    geometry: Geometry,
    dark_toa: Floats,
    elevation_m: float,
    atmosphere: str = ATMOSPHERE,
) -> float:
    """Aerosol optical depth with which a scene's darkest land comes out at 1 %.

    The least of what blue, green and red say: a scene without dark land in some band makes that one
    too high, and with the least no visible band's dark object falls below 1 %.

    Args:
        table: from `parse_table`.
        geometry: at the scene's centre.
        dark_toa: reflectance of the dark object (`darkobject.DarkObject.toa`), ``(band,)``.
        elevation_m: of the ground where it lies; the mean elevation where nobody knows.
        atmosphere: whose gases.

    Returns:
        At 550 nm over that elevation; 0 where the dark object is darker than clean air allows.

    Raises:
        InputError: even the table's thickest aerosol leaves every visible band too bright, or the
            geometry is out of range.
        ConfigError: there is no such atmosphere.
    """

    def excess(aod: float, band: int) -> float:
        x_a, x_b, x_c = coefficients_at(table, geometry, aod, elevation_m, atmosphere)[:, band]
        y = x_a * dark_toa[band] - x_b
        return float(y / (1 + x_c * y) - DARK_REFLECTANCE)

    most = float(table.axes["aod_550"][-1])
    found = []
    for band in range(VISIBLE.stop):
        if excess(0.0, band) <= 0:
            return 0.0
        if excess(most, band) <= 0:
            found.append(float(brentq(excess, 0.0, most, args=(band,))))
    if not found:
        raise InputError(
            f"the scene's darkest land has {np.round(dark_toa[VISIBLE], 3).tolist()} in blue, "
            f"green and red, more than aerosols of optical depth {most:g} explain: all is haze, "
            f"cloud or snow; give the AOD, or mask those first"
        )
    return min(found)


def _corners(
    air: Coefficients, elevation: Raster | float, across: Raster | float
) -> list[tuple[Any, Any]]:
    """Flat index and weight of the nodes around each pixel, of place and level."""
    places, levels = air.values.shape[2:]
    below = _neighbours((np.asarray(elevation) - air.low_m) / air.step_m, levels)
    beside = _neighbours(np.asarray(across), places)
    return [(p * levels + h, v * w) for p, v in beside for h, w in below]


def _neighbours(at: Floats, count: int) -> list[tuple[Any, Any]]:
    """The two nodes between which a coordinate lies, with their linear weights; NaN stays NaN."""
    if count == 1:
        return [(0, np.float32(1))]
    kept = np.clip(at, 0, count - 1).astype(np.float32)
    low = np.minimum(np.nan_to_num(kept), count - 2).astype(np.intp)
    share = kept - low.astype(np.float32)
    return [(low, 1 - share), (low + 1, share)]


def _blend(nodes: NDArray[np.float32], corners: list[tuple[Any, Any]]) -> Any:
    """A coefficient at every pixel."""
    total = 0
    for index, weight in corners:
        total = total + nodes[index] * weight
    return total
