"""Clouds and the shadows they throw."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
from scipy.special import ndtri

from carbonmap.fields import Sample, field_key, fractal, smooth, smooth_at
from carbonmap.grid import Grid
from carbonmap.landscape.county import County, Season
from carbonmap.types import Bool, Floats

OCTAVES = 5
"""From the widest clouds down to tufts a sixteenth as wide."""


Lean = tuple[float, float]
"""Metres east and north on the grid that a line of sight runs for each metre that it rises."""

OVERHEAD: Lean = (0.0, 0.0)
"""Of a camera that looks straight down."""


def clouds(grid: Grid, county: County, season: str, lean: Lean = OVERHEAD) -> Bool:
    """Which pixels a cloud hides in the image of a month; shape ``(row, col)``.

    A fractal field is cut at the quantile of the season's cloud cover: the share is exact for each
    pixel over all counties, and near it in one county that is much wider than its clouds. What is
    hidden lies ``z · lean`` away from below the cloud, to whole pixels.

    Args:
        grid: where.
        county: whose clouds; they are `County.cloud_height_m` above the land.
        season: the month.
        lean: of the lines of sight, towards the camera.

    Raises:
        ConfigError: the county has no image of that month.
    """
    above = _moved(grid, county, lean)
    field = partial(smooth, above.y, above.x)
    return np.asarray(_thickness(field, county, county.season(season)) > 0)


def cloud_share(x: Floats, y: Floats, county: County, season: str) -> float:
    """Share of scattered points of the CRS that lie under cloud.

    Raises:
        ConfigError: the county has no image of that month.
    """
    field = partial(smooth_at, y, x)
    return float(np.mean(_thickness(field, county, county.season(season)) > 0))


def shadows(grid: Grid, county: County, season: str) -> Bool:
    """Which pixels lie in a cloud's shadow, on level land; shape ``(row, col)``.

    The shadow of a cloud at height z lies ``z tan θ_z`` away from the sun, to whole pixels. A pixel
    under a cloud may lie in the shadow of another.

    Raises:
        ConfigError: the county has no image of that month.
    """
    sun = county.season(season)
    away = float(np.tan(np.deg2rad(sun.sun_zenith_deg)))
    azimuth = np.deg2rad(sun.sun_azimuth_deg)
    ray = (away * float(np.sin(azimuth)), away * float(np.cos(azimuth)))
    return clouds(grid, county, season, ray)


def _moved(grid: Grid, county: County, lean: Lean) -> Grid:
    """Where lines from a grid's pixels meet the clouds."""
    east, north = (county.cloud_height_m * part / grid.pixel_m for part in lean)
    return dataclasses.replace(grid, row=grid.row - round(north), col=grid.col + round(east))


def _thickness(sample: Sample, county: County, season: Season) -> Floats:
    """Standard normal field less the quantile of clear sky: above 0 there is cloud."""
    key = field_key(county.seed, "cloud", season.date)
    field = fractal(sample, county.cloud_m, key, OCTAVES)
    return field - (ndtri(1 - season.cloud_cover) if season.cloud_cover else np.inf)
