"""Where the sun stands, from the time and the place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carbonmap.errors import InputError

Angles = NDArray[np.float64]
"""Radians, of whatever shape longitude and latitude broadcast to."""

J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
"""Epoch of the series. Terrestrial time runs 69 s ahead of UTC in 2020, 0.0008° of the sun's way,
and is taken as the same."""

SUSPECT_DEG = 0.5
"""Past this, a product's sun is not that of its time and place: CenterTime read in the wrong zone
is an hour out, 13° or so; a real product agrees to 0.02°."""


def sun_position(when: datetime, lon: ArrayLike, lat: ArrayLike) -> tuple[Angles, Angles]:
    """Zenith and azimuth of the sun's centre, without refraction.

    Meeus 1998, *Astronomical Algorithms*, ch. 25 (low accuracy: 0.01° in longitude, years 1900 to
    2100) with ch. 12 for sidereal time and 13 for the horizon. Within 0.02° of the full theory, the
    azimuth ÷ sin θ_z. Parallax, at most 0.0024°, is left out.

    Args:
        when: with its time zone.
        lon: degrees east.
        lat: degrees north, broadcastable.

    Returns:
        Zenith ``θ_z``, radians in [0, π], past π/2 at night; and azimuth, radians clockwise from
        true north in [0, 2π).

    Raises:
        InputError: the time has no zone.
    """
    ascension, declination = _apparent_place(when)
    hour = _sidereal(when) + np.radians(lon) - ascension
    phi = np.radians(lat)
    up = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(phi) * np.sin(declination) - np.sin(phi) * np.cos(declination) * np.cos(hour)
    return np.arctan2(np.hypot(east, north), up), _turned(np.arctan2(east, north))


def sun_degrees(when: datetime, lon: float, lat: float) -> tuple[float, float]:
    """Zenith and azimuth of the sun over one place as `sun_position` has them, in degrees."""
    zenith, azimuth = sun_position(when, lon, lat)
    return float(np.degrees(zenith)), float(np.degrees(azimuth))


@dataclass(frozen=True)
class SunField:
    """The sun over a scene.

    Args:
        zenith: radians, of the places' shape.
        azimuth: radians clockwise from true north, same shape.
        disagreement_deg: angle at the scene's centre between the sun that the product states and
            the computed one, degrees; `SUSPECT_DEG` is where to warn.
    """

    zenith: Angles
    azimuth: Angles
    disagreement_deg: float


def sun_field(
    stated: tuple[float, float],
    when: datetime,
    centre: tuple[float, float],
    lon: ArrayLike,
    lat: ArrayLike,
) -> SunField:
    """The sun as a product states it at its centre, with the computed change over the scene.

        θ(x) = θ_stated + θ_computed(x) − θ_computed(centre),   and so for the azimuth

    Over the 200 km of a scene the zenith changes by about 2°, which one number cannot tell.

    Args:
        stated: zenith and azimuth of the product, radians.
        when: the time of the scene's centre, with its zone.
        centre: longitude and latitude of the centre, degrees.
        lon: of the places wanted, degrees east.
        lat: degrees north, broadcastable.

    Raises:
        InputError: the time has no zone.
    """
    zenith, azimuth = stated
    zenith_0, azimuth_0 = sun_position(when, *centre)
    zeniths, azimuths = sun_position(when, lon, lat)
    return SunField(
        np.maximum(zeniths + (zenith - zenith_0), 0),
        _turned(azimuths + (azimuth - azimuth_0)),
        float(np.degrees(angle_between(zenith, azimuth, zenith_0, azimuth_0))),
    )


def angle_between(
    zenith: ArrayLike, azimuth: ArrayLike, zenith_0: ArrayLike, azimuth_0: ArrayLike
) -> Angles:
    """Angle between two directions, by the haversine, which keeps small ones; all in radians.

    sin²(γ/2) = sin²((θ − θ₀)/2) + sin θ sin θ₀ sin²((φ − φ₀)/2)
    """
    rise = np.sin(np.subtract(zenith, zenith_0) / 2) ** 2
    turn = np.sin(zenith) * np.sin(zenith_0) * np.sin(np.subtract(azimuth, azimuth_0) / 2) ** 2
    return np.asarray(2 * np.arcsin(np.sqrt(np.minimum(rise + turn, 1))))


def mean_anomaly(days: float) -> float:
    """The sun's mean anomaly so many days after `J2000`, radians (Meeus, eq. 25.3)."""
    t = days / 36525
    return float(np.radians(357.52911 + 35999.05029 * t - 0.0001537 * t * t))


def _apparent_place(when: datetime) -> tuple[float, float]:
    """Right ascension and declination, radians (Meeus, eq. 25.2 to 25.8)."""
    t = _days(when) / 36525
    mean_longitude = 280.46646 + 36000.76983 * t + 0.0003032 * t * t
    m = mean_anomaly(_days(when))
    centre = (
        (1.914602 - 0.004817 * t - 0.000014 * t * t) * np.sin(m)
        + (0.019993 - 0.000101 * t) * np.sin(2 * m)
        + 0.000289 * np.sin(3 * m)
    )
    node = np.radians(125.04 - 1934.136 * t)  # of the moon's orbit: nutation's main term
    longitude = np.radians(mean_longitude + centre - 0.00569 - 0.00478 * np.sin(node))
    obliquity = np.radians(23.439291 - 0.0130042 * t + 0.00256 * np.cos(node))
    ascension = np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude))
    return float(ascension), float(np.arcsin(np.sin(obliquity) * np.sin(longitude)))


def _sidereal(when: datetime) -> float:
    """Mean sidereal time at Greenwich, radians (Meeus, eq. 12.4); nutation adds at most 0.005°."""
    return float(np.radians(280.46061837 + 360.98564736629 * _days(when)))


def _days(when: datetime) -> float:
    """Days since J2000."""
    if when.tzinfo is None:
        raise InputError(
            f"time {when.isoformat(sep=' ')} has no time zone; GF-1's CenterTime is UTC+8, its "
            f"ReceiveTime UTC: say which"
        )
    return (when - J2000).total_seconds() / 86400


def _turned(angle: ArrayLike) -> Angles:
    """An angle within one turn; a hair below zero rounds to a full turn, which is none."""
    turned = np.mod(angle, 2 * np.pi)
    return np.where(turned >= 2 * np.pi, 0.0, turned)
