"""Rational polynomial cameras: from the ground to a pixel of an image, and back."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from carbonmap.errors import InputError
from carbonmap.types import Floats

TERMS = 20
"""Of a cubic polynomial in three variables."""

SCALE_REACH = 1.6
"""Normalised coordinate up to which a camera is believed; a fitted cubic soon runs away beyond ±1,
and real products normalise the ground by the image's own extent, with some margin."""

ROUNDS = 12
"""Of Newton's iteration from an image to the ground; three reach a thousandth of a pixel."""

SOLVED_PX = 1e-6
"""Pixels within which the iteration has arrived."""


@dataclass(frozen=True)
class Rpc:
    """A rational polynomial camera in the RPC00B order of terms, as GeoEye's RPB files have it.

    Args:
        line_num: numerator of the line, 20 coefficients.
        line_den: its denominator.
        samp_num: numerator of the sample.
        samp_den: its denominator.
        line_off: line, px, at the centre; whole numbers are pixel centres.
        samp_off: sample, px.
        lat_off: latitude, degrees.
        long_off: longitude, degrees.
        height_off: metres over the ellipsoid.
        line_scale: px.
        samp_scale: px.
        lat_scale: degrees.
        long_scale: degrees.
        height_scale: m.
    """

    line_num: tuple[float, ...]
    line_den: tuple[float, ...]
    samp_num: tuple[float, ...]
    samp_den: tuple[float, ...]
    line_off: float
    samp_off: float
    lat_off: float
    long_off: float
    height_off: float
    line_scale: float
    samp_scale: float
    lat_scale: float
    long_scale: float
    height_scale: float

    def __post_init__(self) -> None:
        """Check what every camera must be.

        Raises:
            InputError: a number is not finite, a scale not positive, or coefficients are lacking.
        """
        for name, value in dataclasses.asdict(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if isinstance(value, tuple) and len(value) != TERMS:
                raise InputError(f"RPC {name} has {len(value)} coefficients; there must be {TERMS}")
            if not all(map(math.isfinite, numbers)):
                raise InputError(f"RPC {name} is {value}; every number must be finite")
            if name.endswith("_scale") and value <= 0:
                raise InputError(f"RPC {name} is {value}; a scale must be positive")
            if name.endswith("_den") and not any(numbers):
                raise InputError(f"RPC {name} is all zeros; a camera cannot divide by it")
        if abs(self.lat_off) > 90 or abs(self.long_off) > 360:
            raise InputError(
                f"RPC centre is {self.lat_off}° N, {self.long_off}° E, which is nowhere on Earth"
            )

    def project(self, lon: Floats, lat: Floats, height: Floats | float) -> tuple[Floats, Floats]:
        """Line and sample, px, of points on the ground; whole numbers are pixel centres.

            line = line_off + line_scale · P_ln(φ, λ, h) / P_ld(φ, λ, h),  likewise the sample

        Args:
            lon: degrees.
            lat: degrees.
            height: m over the ellipsoid; the three broadcast.

        Returns:
            Not finite where a denominator vanishes, which is never near the camera's image.
        """
        terms = _terms(*self._normalised(lon, lat, height))
        return (
            self.line_off + self.line_scale * _ratio(terms, self.line_num, self.line_den),
            self.samp_off + self.samp_scale * _ratio(terms, self.samp_num, self.samp_den),
        )

    def ground(self, line: Floats, sample: Floats, height: Floats | float) -> tuple[Floats, Floats]:
        """Longitude and latitude, degrees, of pixels at known heights, by Newton's iteration.

        NaN where the camera has no answer within its range.
        """
        line, sample, height = np.broadcast_arrays(line, sample, height)
        lon, lat = np.full(line.shape, self.long_off), np.full(line.shape, self.lat_off)
        east, north = 1e-4 * self.long_scale, 1e-4 * self.lat_scale
        with np.errstate(all="ignore"):
            for _ in range(ROUNDS):
                at_line, at_samp = self.project(lon, lat, height)
                off = line - at_line, sample - at_samp
                if np.nanmax(np.abs(off), initial=0.0) < SOLVED_PX:
                    break
                by_lon = [
                    (p - q) / east
                    for p, q in self._pairs(lon + east, lat, height, at_line, at_samp)
                ]
                by_lat = [
                    (p - q) / north
                    for p, q in self._pairs(lon, lat + north, height, at_line, at_samp)
                ]
                det = by_lon[0] * by_lat[1] - by_lon[1] * by_lat[0]
                lon = lon + (off[0] * by_lat[1] - off[1] * by_lat[0]) / det
                lat = lat + (off[1] * by_lon[0] - off[0] * by_lon[1]) / det
            far = np.abs(lon - self.long_off) > 2 * SCALE_REACH * self.long_scale
            far |= np.abs(lat - self.lat_off) > 2 * SCALE_REACH * self.lat_scale
            at_line, at_samp = self.project(lon, lat, height)
            far |= ~(np.hypot(line - at_line, sample - at_samp) < 1e-3)
        return np.where(far, np.nan, lon), np.where(far, np.nan, lat)

    def _pairs(
        self, lon: Floats, lat: Floats, height: Floats | float, line: Floats, sample: Floats
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        near_line, near_samp = self.project(lon, lat, height)
        return (near_line, line), (near_samp, sample)

    def shifted(self, lines: float, samples: float) -> Rpc:
        """The camera of an image whose first pixel is this one's (lines, samples)."""
        return dataclasses.replace(
            self, line_off=self.line_off - lines, samp_off=self.samp_off - samples
        )

    def reduced(self, factor: float) -> Rpc:
        """The camera of the image made `factor` times smaller, such as a browse image."""
        return dataclasses.replace(
            self,
            line_off=(self.line_off + 0.5) / factor - 0.5,
            samp_off=(self.samp_off + 0.5) / factor - 0.5,
            line_scale=self.line_scale / factor,
            samp_scale=self.samp_scale / factor,
        )

    def _normalised(
        self, lon: Floats, lat: Floats, height: Floats | float
    ) -> tuple[Floats, Floats, Floats | float]:
        return (
            (lon - self.long_off) / self.long_scale,
            (lat - self.lat_off) / self.lat_scale,
            (height - self.height_off) / self.height_scale,
        )


def _terms(x: Floats, y: Floats, z: Floats | float) -> list[Floats | float]:
    """The 20 monomials of RPC00B, x longitude, y latitude, z height, all normalised."""
    return [
        1.0, x, y, z, x * y, x * z, y * z, x * x, y * y, z * z, x * y * z,
        x * x * x, x * y * y, x * z * z, x * x * y, y * y * y, y * z * z, x * x * z, y * y * z,
        z * z * z,
    ]  # fmt: skip


def _ratio(
    terms: list[Floats | float], numerator: tuple[float, ...], denominator: tuple[float, ...]
) -> Floats:
    top = sum(c * t for c, t in zip(numerator, terms, strict=True))
    below = sum(c * t for c, t in zip(denominator, terms, strict=True))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(top / below)
