"""What a simulated county is made from, and where it lies."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from carbonmap import crs as crs_
from carbonmap.dates import check_day
from carbonmap.errors import ConfigError, nearest
from carbonmap.grid import Grid
from carbonmap.settings import STRICT

CHINA_ALBERS = "+proj=aea +lat_0=0 +lon_0=105 +lat_1=25 +lat_2=47 +datum=WGS84 +units=m"
"""Equal-area CRS of the regional grids."""

HUIZE = (103.5, 26.4)
"""Longitude and latitude near the middle of Huize County."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, config=STRICT)
class Season:
    """One image: its day, the sun over Huize at 10:30 local solar time, and the weather.

    Args:
        date: day of the image, ``YYYY-MM-DD``.
        sun_zenith_deg: angle of the sun from the zenith.
        sun_azimuth_deg: direction of the sun, clockwise from grid north.
        greenness: share of open ground that herbs and crops cover.
        cloud_cover: share of the land under cloud, on average over many counties.
    """

    date: Annotated[str, AfterValidator(check_day)]
    sun_zenith_deg: Annotated[float, Field(ge=0, lt=90)]
    sun_azimuth_deg: Annotated[float, Field(ge=0, lt=360)]
    greenness: Share
    cloud_cover: Annotated[float, Field(ge=0, lt=1)] = 0.05

    @property
    def month(self) -> str:
        """``YYYY-MM``, by which images are asked for."""
        return self.date[:7]


YEAR_2020 = (
    Season("2020-02-15", 44.9, 148.1, 0.15, 0.03),
    Season("2020-05-15", 22.1, 105.5, 0.35, 0.06),
    Season("2020-08-15", 24.5, 116.5, 0.80, 0.12),
    Season("2020-11-15", 49.9, 151.7, 0.40, 0.05),
)
"""The paper's four months. Angles: declination of the 15th (−12.8, 18.8, 13.8, −18.5°), latitude
26.4°, hour angle −22.5°. Summer is the rainy, green and cloudy season of the Yunnan plateau."""


@dataclass(frozen=True, config=STRICT)
class County:
    """Settings of a simulated county; land and weather follow from them at every place on the map.

    Args:
        seed: which county; every field is keyed by it.
        stand_ha: mean area of a stand; sub-compartments of Chinese inventories have some 5–50 ha.
        merged_share: share of the cells that join a neighbour, so that stands differ in size.
        elevation_m: lowest and highest land, never reached; Huize's range (Yu et al., section 3).
        relief_m: half the width of the widest mountains.
        township_m: mean width of a township.
        hidden_sd: spread (of the logarithm) of volume between stands that no image shows, so that
            no model of the images is perfect.
        sensor_noise: standard deviation of an image's noise, reflectance.
        cloud_m: half the width of the widest clouds.
        cloud_height_m: how far the clouds are above the land, by which their shadows fall aside.
        seasons: the images, in order of time.
        years: that stands have grown since the inventory of the county as it is without.
        felled_share: of the stands, those that were felled within these years.
    """

    seed: int = 26
    stand_ha: Positive = 20.0
    merged_share: Annotated[float, Field(ge=0, le=0.5)] = 0.4
    elevation_m: tuple[float, float] = (695.0, 4017.0)
    relief_m: Positive = 4200.0
    township_m: Positive = 5000.0
    hidden_sd: Annotated[float, Field(ge=0, le=1)] = 0.3
    sensor_noise: Annotated[float, Field(ge=0, le=0.1)] = 0.004
    cloud_m: Positive = 1500.0
    cloud_height_m: Annotated[float, Field(ge=0)] = 1500.0
    seasons: tuple[Season, ...] = YEAR_2020
    years: Annotated[int, Field(ge=0, le=50)] = 0
    felled_share: Share = 0.0

    def __post_init__(self) -> None:
        """Check what no single field shows."""
        low, high = self.elevation_m
        if not low < high:
            raise ValueError(
                f"`elevation_m` is [{low:g}, {high:g}]; it should be lowest, then highest"
            )
        months = [season.month for season in self.seasons]
        if not months or len(set(months)) < len(months):
            raise ValueError(
                f"`seasons` are of the months {months}; it should be one or more, each another"
            )

    @property
    def cell_m(self) -> float:
        """Edge of the lattice square of one cell, m; cells that join a neighbour make no stand."""
        return float((self.stand_ha * 1e4 * (1 - self.merged_share)) ** 0.5)

    def later(self, years: int, felled_share: float = 0.0) -> County:
        """The same land so many years on, its images of those years.

        Args:
            years: whole ones.
            felled_share: of the stands, those that were felled meanwhile; lots of their places
                choose them, so that a larger share fells these and others.
        """
        seasons = tuple(
            dataclasses.replace(one, date=f"{int(one.date[:4]) + years}{one.date[4:]}")
            for one in self.seasons
        )
        return dataclasses.replace(
            self, seasons=seasons, years=self.years + years, felled_share=felled_share
        )

    def season(self, month: str) -> Season:
        """The season of a month, ``YYYY-MM``.

        Raises:
            ConfigError: the county has no image of that month.
        """
        for season in self.seasons:
            if season.month == month:
                return season
        months = [season.month for season in self.seasons]
        raise ConfigError(f"season {month!r} is not one of the county's; {nearest(month, months)}")


def county_grid(
    height: int = 1024,
    width: int = 1024,
    *,
    pixel_m: float = 16.0,
    crs: str = CHINA_ALBERS,
    centre: tuple[float, float] = HUIZE,
) -> Grid:
    """A grid of so many pixels around a place, on the lattice that has its anchor at the origin.

    Args:
        height: rows.
        width: columns.
        pixel_m: edge of a pixel, m.
        crs: a projected CRS in metres; simulated stands are exact in equal-area ones.
        centre: longitude and latitude, degrees.
    """
    crs_.require_metres(crs)
    lon, lat = (np.array([degrees]) for degrees in centre)
    x, y = crs_.transform_points("EPSG:4326", crs, lon, lat)
    row = round(-y.item() / pixel_m) - height // 2
    col = round(x.item() / pixel_m) - width // 2
    return Grid(crs_.canonical(crs), pixel_m, row, col, height, width)
