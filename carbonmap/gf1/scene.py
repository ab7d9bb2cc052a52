"""One GF-1 WFV scene as its metadata describes it, and what its name says."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass

EARTH_M = 6_371_000.0
"""Mean radius; a distance of some kilometres is right to half a per cent."""

SENSORS = ("WFV1", "WFV2", "WFV3", "WFV4")
"""GF-1's four wide-field cameras; its two PMS cameras have other bands and pixels."""

PRODUCT_NAME = re.compile(
    r"GF1_(?P<sensor>WFV[1-4])_[EW]\d{1,3}\.\d_[NS]\d{1,2}\.\d_(?P<day>\d{8})_L1A(?P<number>\d{5,12})",
    re.ASCII,
)
"""``GF1_WFV3_E103.7_N25.6_20200827_L1A0005020371``: sensor, centre, day and product number."""

Corners = tuple[tuple[float, float], ...]
"""Longitude and latitude, degrees: top left, top right, bottom right, bottom left of the image."""


@dataclass(frozen=True)
class Scene:
    """One scene's metadata, checked.

    Args:
        id: the product's name without an ending.
        satellite: ``GF1``.
        sensor: ``WFV1`` to ``WFV4``.
        acquired: when its middle was taken, UTC.
        height: lines, px.
        width: samples, px.
        sun_zenith_deg: of the sun at the scene's centre.
        sun_azimuth_deg: likewise, clockwise from north.
        view_zenith_deg: of the satellite as the scene's centre sees it; 0 is overhead.
        view_azimuth_deg: likewise, from the ground towards the satellite, clockwise from north.
        corners: longitude and latitude, degrees, of the image's top left, top right, bottom right
            and bottom left.
        gain_mode: of each band, such as ``G0``; empty where the product does not say.
        cloud_percent: as the ground station judged it; None where it did not.
        product_id: the ground station's number.
        level: ``LEVEL1A``.
        notes: what in the metadata was odd, a sentence each.
    """

    id: str
    satellite: str
    sensor: str
    acquired: datetime.datetime
    height: int
    width: int
    sun_zenith_deg: float
    sun_azimuth_deg: float
    view_zenith_deg: float
    view_azimuth_deg: float
    corners: Corners
    gain_mode: tuple[str, ...]
    cloud_percent: float | None
    product_id: str
    level: str
    notes: tuple[str, ...] = ()

    @property
    def centre(self) -> tuple[float, float]:
        """Mean of the corners, degrees; of two sides of the date line, on the first corner's."""
        first = self.corners[0][0]
        lon = first + sum(turn(x - first) for x, _ in self.corners) / len(self.corners)
        return lon, sum(y for _, y in self.corners) / len(self.corners)


def turn(degrees: float) -> float:
    """A difference of longitudes within ±180°."""
    return (degrees + 180) % 360 - 180


def ground_m(origin: tuple[float, float], point: tuple[float, float]) -> tuple[float, float]:
    """Metres east and north from one place to another near it, longitude and latitude each."""
    middle = math.radians((origin[1] + point[1]) / 2)
    east = math.radians(turn(point[0] - origin[0])) * math.cos(middle) * EARTH_M
    return east, math.radians(point[1] - origin[1]) * EARTH_M
