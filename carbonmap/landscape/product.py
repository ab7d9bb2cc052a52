"""A scene as GF-1 WFV would deliver it: counts in the camera's own lines, and when it was taken.

From the land to the counts, per band:

    ρ_toa = ρ_path + T ρ,  L = ρ_toa ESUN cos θ_z / (π d²),  DN = round((L − bias) / gain + noise)
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from carbonmap import crs as crs_
from carbonmap.calibration import Calibration
from carbonmap.errors import ConfigError
from carbonmap.fields import field_key, normal
from carbonmap.grid import Grid
from carbonmap.landscape.camera import Camera
from carbonmap.landscape.county import County
from carbonmap.landscape.drawing import Land, Roi, draw
from carbonmap.landscape.relief import elevation
from carbonmap.landscape.scene import view
from carbonmap.landscape.sky import OVERHEAD, Lean, cloud_share
from carbonmap.landscape.species import BANDS, Spectrum
from carbonmap.radiometry import SATURATION, earth_sun_distance
from carbonmap.sun import sun_degrees
from carbonmap.types import Floats

CLOUD_STEP_PX = 64
"""Spacing of the points at which a scene's cloud cover is judged: a kilometre."""

PRODUCT_SERIES = 1000
"""Products of one county are numbered seed × this + number of the season."""

Counts = NDArray[np.uint16]
"""Shape ``(band, line, sample)``."""


@dataclass(frozen=True)
class Atmosphere:
    """A haze that is the same everywhere.

    Args:
        path: reflectance of the air itself, by band.
        transmittance: share of the light that comes down and up again, by band.
    """

    path: Spectrum = (0.075, 0.045, 0.025, 0.012)
    transmittance: Spectrum = (0.80, 0.86, 0.90, 0.94)


HAZE = Atmosphere()
"""Of the order that 6S gives for a continental aerosol of optical depth 0.2 at 550 nm; chosen, not
computed. Light between ground and air, and what neighbours shed into a pixel, are left out."""


@dataclass(frozen=True)
class Shot:
    """One scene about to be taken.

    Args:
        camera: which also says the image's size.
        land: reflectance above the atmosphere by place, in the order of `BANDS`.
        calibration: by which radiance becomes counts.
        time: of the image's middle, with its time zone.
        sun_zenith_deg: angle of the sun from the zenith, one for the whole scene.
        sun_azimuth_deg: direction of the sun, clockwise from true north.
        number: of the product, at most ten digits; the noise is keyed by it.
        cloud_percent: as the ground station says.
        noise_counts: standard deviation of the sensor's noise.
        missing: runs of lines, first and one past the last, that were lost on their way down: 0.
    """

    camera: Camera
    land: Land
    calibration: Calibration
    time: datetime.datetime
    sun_zenith_deg: float
    sun_azimuth_deg: float
    number: int
    cloud_percent: float = 0.0
    noise_counts: float = 2.0
    missing: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Check what a product can hold.

        Raises:
            ConfigError: the time has no zone, the sun is not up, or a number is out of range.
        """
        if self.time.tzinfo is None:
            raise ConfigError(f"time {self.time} has no zone; give one, such as datetime.UTC")
        if not 0 <= self.sun_zenith_deg < 90:
            raise ConfigError(f"sun zenith is {self.sun_zenith_deg}°; it must be in [0, 90)")
        if not 0 <= self.number < 10**10 or self.noise_counts < 0:
            raise ConfigError(
                f"product number {self.number} and noise {self.noise_counts} cannot be; give at "
                f"most ten digits and a noise of 0 or more"
            )

    @property
    def name(self) -> str:
        """``GF1_WFV3_E103.5_N26.4_20200815_L1A0000000026``; the day is China's."""
        lon, lat = self.camera.lon, self.camera.lat
        place = f"{'E' if lon >= 0 else 'W'}{abs(lon):.1f}_{'N' if lat >= 0 else 'S'}{abs(lat):.1f}"
        day = self.time.astimezone(CHINA)
        return f"GF1_{self.camera.sensor}_{place}_{day:%Y%m%d}_L1A{self.number:010d}"

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """Longitude and latitude of the image's outer corners at height 0, as products state them.

        Top left, top right, bottom right, bottom left.
        """
        bottom, right = self.camera.lines - 0.5, self.camera.samples - 0.5
        lon, lat = self.camera.ground(
            np.array([-0.5, -0.5, bottom, bottom]),
            np.array([-0.5, right, right, -0.5]),
            np.array(0.0),
        )
        return tuple(zip(lon.tolist(), lat.tolist(), strict=True))

    def counts(self, roi: Roi) -> Counts:
        """What the sensor counts in a block of the image, the same however it is cut.

        Args:
            roi: lines and samples.

        Returns:
            0–1023, shape ``(band, line, sample)``; 0 all along a missing line.
        """
        seen = draw(self.camera, roi, self.land) * self._counts_per_reflectance()
        seen -= np.array(self._offsets(), dtype=seen.dtype)[:, None, None]
        lines = np.arange(self.camera.lines)[roi[0]]
        samples = np.arange(self.camera.samples)[roi[1]]
        if self.noise_counts:
            for b, band in enumerate(BANDS):
                key = field_key(self.number, "counts", self.name, band)
                seen[b] += self.noise_counts * normal(lines[:, None], samples[None, :], key)
        for first, last in self.missing:
            seen[:, (lines >= first) & (lines < last)] = 0
        return np.asarray(np.rint(seen).clip(0, SATURATION), dtype=np.uint16)

    def _counts_per_reflectance(self) -> Floats:
        distance = earth_sun_distance(self.time.astimezone(datetime.UTC).date())
        light = math.cos(math.radians(self.sun_zenith_deg)) / (math.pi * distance**2)
        ratio = [
            esun * light / gain
            for esun, gain in zip(self.calibration.esun, self.calibration.gain, strict=True)
        ]
        return np.array(ratio, dtype=np.float32)[:, None, None]

    def _offsets(self) -> list[float]:
        gain, bias = self.calibration.gain, self.calibration.bias
        return [b / g for g, b in zip(gain, bias, strict=True)]


CHINA = datetime.timezone(datetime.timedelta(hours=8))
"""The time that products' CenterTime is in."""


def top_of_atmosphere(
    grid: Grid,
    county: County,
    season: str,
    atmosphere: Atmosphere = HAZE,
    lean: Lean = OVERHEAD,
) -> Floats:
    """Reflectance of a county in a month above the atmosphere, clouds and shadows in it.

    Clouds hide what lies behind them as seen along `lean`.

    Returns:
        float32, shape ``(band, row, col)``.

    Raises:
        ConfigError: the county has no image of that month.
    """
    seen = np.stack(list(view(grid, county, season, lean).values()))
    path, share = (
        np.array(part, dtype=np.float32)[:, None, None]
        for part in (atmosphere.path, atmosphere.transmittance)
    )
    return np.asarray(path + share * seen)


def county_land(
    lattice: Grid,
    county: County,
    season: str,
    atmosphere: Atmosphere = HAZE,
    lean: Lean = OVERHEAD,
) -> Land:
    """A county in a month, as a camera above the atmosphere sees it.

    Its heights are over the ellipsoid. Clouds are as high above all land as above level one, and so
    fall their shadows; all are seen along one direction, though a whole swath sees 8° to each side.

    Args:
        lattice: any grid of the county's lattice; the land itself is endless.
        county: the settings.
        season: its month, ``YYYY-MM``.
        atmosphere: the haze.
        lean: of the lines of sight, towards the camera; see `lean_of`.
    """
    county.season(season)
    values = partial(
        top_of_atmosphere, county=county, season=season, atmosphere=atmosphere, lean=lean
    )
    low, high = county.elevation_m
    return Land(lattice, partial(elevation, county=county), values, low, high)


def county_shot(
    camera: Camera, lattice: Grid, county: County, season: str, calibration: Calibration
) -> Shot:
    """A scene of a county in a month, at the time of that day when the sun stands right.

    The season's sun counts from grid north. At the image's middle the difference to true north is
    taken off it; towards the edges of a scene of 200 km that is wrong by half a degree. The
    seasons' round angles are met by the real sun to about 0.4°.

    Raises:
        ConfigError: the county has no image of that month.
    """
    when = county.season(season)
    lon, lat = camera.lon, camera.lat
    azimuth = (when.sun_azimuth_deg - _true_north(lattice, lon, lat)) % 360
    months = [one.month for one in county.seasons]
    return Shot(
        camera,
        county_land(lattice, county, season, lean=lean_of(camera, lattice)),
        calibration,
        _moment(when.date, (lon, lat), when.sun_zenith_deg, azimuth),
        when.sun_zenith_deg,
        azimuth,
        abs(county.seed) * PRODUCT_SERIES % 10**10 + months.index(season),
        100 * _cloud_share(camera, lattice, county, season),
    )


def lean_of(camera: Camera, lattice: Grid) -> Lean:
    """How the lines of sight in a scene's middle lean towards the camera, on a grid."""
    azimuth = camera.view_azimuth + math.radians(_true_north(lattice, camera.lon, camera.lat))
    aside = math.tan(camera.view_zenith)
    return aside * math.sin(azimuth), aside * math.cos(azimuth)


def _true_north(lattice: Grid, lon: float, lat: float) -> float:
    """Direction of true north at a place, degrees clockwise from grid north."""
    around = np.array([lat - 1e-3, lat + 1e-3])  # 100 m either way
    x, y = crs_.transform_points("EPSG:4326", lattice.crs, np.full(2, lon), around)
    return math.degrees(math.atan2(x[1] - x[0], y[1] - y[0]))


def _moment(
    date: str, place: tuple[float, float], zenith_deg: float, azimuth_deg: float
) -> datetime.datetime:
    """The minute of a day in China when the sun stands nearest to a direction."""
    midnight = datetime.datetime.fromisoformat(date).replace(tzinfo=CHINA)
    minutes = [midnight + datetime.timedelta(minutes=m) for m in range(24 * 60)]
    want = _direction(zenith_deg, azimuth_deg)
    return max(minutes, key=lambda m: want @ _direction(*sun_degrees(m, *place)))


def _direction(zenith_deg: float, azimuth_deg: float) -> Floats:
    """East, north and up of a unit vector."""
    zenith, azimuth = math.radians(zenith_deg), math.radians(azimuth_deg)
    level = math.sin(zenith)
    return np.array([level * math.sin(azimuth), level * math.cos(azimuth), math.cos(zenith)])


def _cloud_share(camera: Camera, lattice: Grid, county: County, season: str) -> float:
    """Share of the scene under cloud, by its points every kilometre."""
    line = np.arange(0.0, camera.lines, CLOUD_STEP_PX)[:, None]
    sample = np.arange(0.0, camera.samples, CLOUD_STEP_PX)[None, :]
    lon, lat = camera.ground(line, sample, np.array(sum(county.elevation_m) / 2))
    x, y = crs_.transform_points("EPSG:4326", lattice.crs, lon.ravel(), lat.ravel())
    return cloud_share(x, y, county, season)
