"""A pushbroom camera like GF-1 WFV's, known exactly: from the ground to a pixel, and back.

The camera flies on a circle whose plane holds the track and the local vertical of the image's
centre, turns with it, and looks across the track at all times. Both ways are closed forms, but for
the height over the ellipsoid, which `Camera.ground` meets along the line of sight by Newton's
iteration to below a micrometre. A real orbit, seen from the turning Earth, bends a little more; for
what carbonmap tests, the camera need be known and of the right shape, not GF-1's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from carbonmap.errors import ConfigError, nearest
from carbonmap.types import Floats

ORBIT_M = 645e3
"""Height of GF-1 over the ellipsoid, m (CRESDA: 645 km, sun-synchronous)."""

INCLINATION_DEG = 98.0506
"""Of GF-1's orbit to the equator (CRESDA)."""

TURN_RATIO = 86164.1 / 5850.0
"""Revolutions of the satellite while the Earth turns once: sidereal day ÷ period at 645 km, s."""

LOOK_DEG = {"WFV1": -24.0, "WFV2": -8.0, "WFV3": 8.0, "WFV4": 24.0}
"""Angle of each camera's middle from the nadir, positive to the left of the track (east, going
down). Four fields of some 16° side by side; a WFV3 product states a view zenith of 8.77°."""

SEMI_MAJOR_M = 6378137.0
"""Of WGS 84."""

ECCENTRICITY_2 = 6.69437999014e-3
"""Square of WGS 84's first eccentricity."""

DESCENTS = 5
"""Newton steps along the line of sight; each squares an error that starts below a kilometre."""

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """Where a scene's camera flew and how it looked; see the module for the geometry.

    Args:
        lon: longitude of the ground that the middle of the image shows at height 0, degrees.
        lat: its latitude, degrees.
        sensor: WFV1, WFV2, WFV3 or WFV4, by which it looks aside.
        lines: rows of the image, flown one after the other.
        samples: columns, seen at one time; they grow to the left of the track, eastwards.
        pixel_m: edge of the middle pixel on the ground, m.
    """

    lon: float
    lat: float
    sensor: str
    lines: int
    samples: int
    pixel_m: float = 16.0

    def __post_init__(self) -> None:
        """Check what can be known before any use.

        Raises:
            ConfigError: no such sensor, no image, or a place that the satellite never sees.
        """
        if self.sensor not in LOOK_DEG:
            raise ConfigError(
                f"sensor {self.sensor!r} is none of GF-1's; {nearest(self.sensor, LOOK_DEG)}"
            )
        if min(self.lines, self.samples) < 2 or not self.pixel_m > 0:
            raise ConfigError(
                f"an image of {self.lines} lines, {self.samples} samples and pixels of "
                f"{self.pixel_m} m cannot be taken; give 2 or more of each and a positive edge"
            )
        if not abs(self.lat) < 180 - INCLINATION_DEG:
            raise ConfigError(
                f"latitude {self.lat}° is beyond the satellite's track; stay within "
                f"±{180 - INCLINATION_DEG:.1f}°"
            )

    @property
    def heading(self) -> float:
        """Direction of flight over the ground, radians clockwise from true north.

        Sun-synchronous and descending: ``sin α = cos i / cos φ`` in space; the Earth turning below
        takes the track further west.
        """
        cos_lat = math.cos(math.radians(self.lat))
        east = math.cos(math.radians(INCLINATION_DEG)) / cos_lat
        return math.atan2(east - cos_lat / TURN_RATIO, -math.sqrt(1 - east * east)) % math.tau

    @property
    def view_zenith(self) -> float:
        """Angle of the satellite from the zenith of the image's middle, radians."""
        return math.asin((self._radius + ORBIT_M) / self._radius * math.sin(abs(self._look)))

    @property
    def view_azimuth(self) -> float:
        """Direction of the satellite from there, radians clockwise from true north."""
        return (self.heading + math.copysign(math.pi / 2, self._look)) % math.tau

    def project(self, lon: Floats, lat: Floats, height: Floats) -> tuple[Floats, Floats]:
        """Line and sample, px, that show points on the ground; whole numbers are pixel centres.

            line = l₀ + R φ / d,  sample = s₀ + f (δ·e) / (δ·b)

        with φ the angle along the track, R its radius, d the pixel, δ the way from the satellite
        to the point, b the direction of the middle of the field and e the one across it.

        Args:
            lon: degrees.
            lat: degrees.
            height: m over the ellipsoid; the three broadcast.
        """
        x, y, z = _to_ecef(lon, lat, height)
        ahead, across, up = (
            (x - self._centre[0]) * axis[0]
            + (y - self._centre[1]) * axis[1]
            + (z - self._centre[2]) * axis[2]
            for axis in self._axes
        )
        (q_sat, r_sat), (b_q, b_r), f = self._focal
        r = np.hypot(ahead, up) - r_sat
        q = across - q_sat
        line = (self.lines - 1) / 2 + self._radius * np.arctan2(ahead, up) / self.pixel_m
        sample = (self.samples - 1) / 2 + f * (r * b_q - q * b_r) / (q * b_q + r * b_r)
        return line, sample

    def ground(self, line: Floats, sample: Floats, height: Floats) -> tuple[Floats, Floats]:
        """Longitude and latitude, degrees, of what pixels show at known heights.

        Args:
            line: px.
            sample: px.
            height: m over the ellipsoid; the three broadcast.
        """
        line, sample, height = (
            np.asarray(part, dtype=np.float64) for part in np.broadcast_arrays(line, sample, height)
        )
        (q_sat, r_sat), (b_q, b_r), f = self._focal
        angle = (line - (self.lines - 1) / 2) * self.pixel_m / self._radius
        aside = (sample - (self.samples - 1) / 2) / f
        norm = np.sqrt(1 + aside * aside)
        d_q, d_r = (b_q - aside * b_r) / norm, (b_r + aside * b_q) / norm
        ahead, across, up = self._axes
        out = [np.sin(angle) * a + np.cos(angle) * u for a, u in zip(ahead, up, strict=True)]
        start = [
            c + q_sat * a + r_sat * o for c, a, o in zip(self._centre, across, out, strict=True)
        ]
        way = [d_q * a + d_r * o for a, o in zip(across, out, strict=True)]
        distance = np.full(line.shape, math.hypot(q_sat, r_sat - self._radius))
        for _ in range(DESCENTS):
            at = [s + distance * w for s, w in zip(start, way, strict=True)]
            lon, lat, above = _from_ecef(*at)
            rising = sum(n * w for n, w in zip(_up(lon, lat), way, strict=True))
            distance = distance + (height - above) / rising
        lon, lat, _ = _from_ecef(*(s + distance * w for s, w in zip(start, way, strict=True)))
        return np.degrees(lon), np.degrees(lat)

    @property
    def _look(self) -> float:
        return math.radians(LOOK_DEG[self.sensor])

    @cached_property
    def _radius(self) -> float:
        """Radius of curvature of the ellipsoid along the track (Euler's theorem), m."""
        down = 1 - ECCENTRICITY_2 * math.sin(math.radians(self.lat)) ** 2
        meridian = SEMI_MAJOR_M * (1 - ECCENTRICITY_2) / (down * math.sqrt(down))
        prime = SEMI_MAJOR_M / math.sqrt(down)
        along = math.cos(self.heading) ** 2 / meridian + math.sin(self.heading) ** 2 / prime
        return 1 / along

    @cached_property
    def _axes(self) -> tuple[Vector, Vector, Vector]:
        """Ahead along the track, left of it, and up, at the image's middle."""
        lon, lat = math.radians(self.lon), math.radians(self.lat)
        east = (-math.sin(lon), math.cos(lon), 0.0)
        up = (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
        north = _cross(up, east)
        s, c = math.sin(self.heading), math.cos(self.heading)
        x, y, z = (s * e + c * n for e, n in zip(east, north, strict=True))
        ahead = (x, y, z)
        return ahead, _cross(up, ahead), up

    @cached_property
    def _centre(self) -> Vector:
        """Centre of the circle on which the camera flies, m."""
        place = (np.array(part) for part in (self.lon, self.lat, 0.0))
        x, y, z = (float(at) for at in _to_ecef(*place))
        u, v, w = self._axes[2]
        return x - self._radius * u, y - self._radius * v, z - self._radius * w

    @cached_property
    def _focal(self) -> tuple[tuple[float, float], tuple[float, float], float]:
        """In the plane seen at one time, across and up: the satellite, the field's middle, and f.

        The satellite's place follows from the triangle of Earth's centre, satellite and ground.
        """
        side, zenith = math.copysign(1.0, self._look), self.view_zenith
        slant = self._radius * math.sin(zenith - abs(self._look)) / math.sin(abs(self._look))
        b_q, b_r = side * math.sin(zenith), -math.cos(zenith)
        satellite = (-slant * b_q, self._radius - slant * b_r)
        return satellite, (b_q, b_r), slant / (self.pixel_m * math.cos(zenith))


def camera_over(
    lon: float, lat: float, sensor: str, lines: int, samples: int, pixel_m: float = 16.0
) -> Camera:
    """The camera whose image has this place in its middle; arguments as of `Camera`."""
    return Camera(lon, lat, sensor, lines, samples, pixel_m)


def _to_ecef(lon: Floats, lat: Floats, height: Floats) -> tuple[Floats, Floats, Floats]:
    """Earth-centred coordinates, m, of degrees and metres over WGS 84's ellipsoid."""
    lon, lat = np.radians(lon), np.radians(lat)
    sin, cos = np.sin(lat), np.cos(lat)
    prime = SEMI_MAJOR_M / np.sqrt(1 - ECCENTRICITY_2 * sin * sin)
    out = (prime + height) * cos
    return out * np.cos(lon), out * np.sin(lon), (prime * (1 - ECCENTRICITY_2) + height) * sin


def _from_ecef(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Longitude and latitude, radians, and height, m (Bowring 1976, two rounds: below 1e-9 m)."""
    polar = math.sqrt(1 - ECCENTRICITY_2)
    out = np.hypot(x, y)
    tan = z / (out * polar)  # of the parametric latitude
    for _ in range(2):
        cos = 1 / np.sqrt(1 + tan * tan)
        sin = tan * cos
        lifted = z + ECCENTRICITY_2 / polar * SEMI_MAJOR_M * sin * sin * sin
        tan_lat = lifted / (out - ECCENTRICITY_2 * SEMI_MAJOR_M * cos * cos * cos)
        tan = polar * tan_lat
    lat = np.arctan(tan_lat)
    sin, cos = np.sin(lat), np.cos(lat)
    height = out * cos + z * sin - SEMI_MAJOR_M * np.sqrt(1 - ECCENTRICITY_2 * sin * sin)
    return np.arctan2(y, x), lat, height


def _up(lon: Floats, lat: Floats) -> tuple[Floats, Floats, Floats]:
    """Outward normal of the ellipsoid at radians."""
    return np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)


def _cross(a: Vector, b: Vector) -> Vector:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )
