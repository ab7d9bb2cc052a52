"""Light on slopes: what a band would measure if the land lay level.

A slope that faces the sun looks brighter than the same trees on its back. How much differs by band,
since skylight fills in the blue, and is learned from the scene: reflectance against cos i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonmap.errors import GridMismatch
from carbonmap.types import Bool, Floats, Raster

STEEP = math.radians(10)
"""Slope from which uneven light matters: there cos i differs by 17 % of its level value between
the two sides of a ridge with the sun at 45°."""

STEEP_SHARE = 0.05
"""Share of steep land from which a whole scene is corrected. By scene and not by pixel, since a
correction that began at 10° would draw an edge along that contour of slope."""

MIN_PIXELS = 1000
"""Fewer do not tell the light from what happens to grow where."""

MIN_SPREAD = 0.02
"""Standard deviation of cos i below which the scene is too flat for a line to be fitted; 3° of
slope at random with the sun at 45° give 0.026."""

MAX_FACTOR = 3.0
"""Most by which a pixel is brightened. In grazing light the model runs away (cos i + c near 0) and
would amplify haze and noise of the sensor, not land."""


@dataclass(frozen=True)
class Relief:
    """How much of the land is steep; ``a + b`` is that of both tiles together.

    Args:
        known: pixels whose slope is known.
        steep: those steeper than `STEEP`.
    """

    known: int = 0
    steep: int = 0

    @classmethod
    def of(cls, slope: Raster) -> Relief:
        """That of one tile's slopes, radians, ``(row, col)``; NaN where unknown."""
        return cls(int(np.isfinite(slope).sum()), int((slope > STEEP).sum()))

    def __add__(self, other: Relief) -> Relief:
        return Relief(self.known + other.known, self.steep + other.steep)

    @property
    def needs_correction(self) -> bool:
        """Whether a scene is corrected where nobody says: `STEEP_SHARE` of it or more is steep."""
        return self.known > 0 and self.steep >= STEEP_SHARE * self.known


@dataclass(frozen=True)
class LightSums:
    """Sums of reflectance against cos i; ``a + b`` is that of both tiles together.

    Kept about the means, so that they do not cancel: how the scene is cut into tiles, and the
    order, changes the fit by the rounding of 64-bit floats alone.

    Args:
        count: pixels.
        mean_light: mean of cos i.
        light_spread: Σ (cos i − mean)².
        mean: mean reflectance, shape ``(band,)``.
        joint: Σ (cos i − mean)(ρ − mean), same shape.
    """

    count: int
    mean_light: float
    light_spread: float
    mean: NDArray[np.float64]
    joint: NDArray[np.float64]

    @classmethod
    def of(cls, reflectance: Floats, cos_i: Raster, usable: Bool) -> LightSums:
        """Those of one tile.

        Args:
            reflectance: shape ``(band, row, col)``; pixels with a NaN in some band are left out.
            cos_i: from `terrain.illumination`, ``(row, col)``; land turned away is left out.
            usable: pixels to learn from, same shape: clear, sunlit, and of one kind of cover, best
                all with green plants, since bare valley floors are level and bright.

        Raises:
            GridMismatch: the shapes differ.
        """
        for name, array in (("reflectance", reflectance), ("usable pixels", usable)):
            _same_shape(name, array, cos_i)
        taken = usable & (cos_i > 0) & np.isfinite(reflectance).all(axis=0)
        light = cos_i[taken].astype(np.float64)
        if not light.size:
            return cls.none(len(reflectance))
        bands = np.stack([band[taken] for band in reflectance]).astype(np.float64)
        mean_light, mean = float(light.mean()), bands.mean(axis=1)
        away = light - mean_light
        joint = ((bands - mean[:, None]) * away).sum(axis=1)
        return cls(light.size, mean_light, float((away * away).sum()), mean, joint)

    @classmethod
    def none(cls, bands: int) -> LightSums:
        """Those of no pixel, to begin adding with."""
        return cls(0, 0.0, 0.0, np.zeros(bands), np.zeros(bands))

    def __add__(self, other: LightSums) -> LightSums:
        count = self.count + other.count
        share = other.count / count if count else 0.0
        apart, weight = other.mean_light - self.mean_light, self.count * share
        return LightSums(
            count,
            self.mean_light + apart * share,
            self.light_spread + other.light_spread + apart * apart * weight,
            self.mean + (other.mean - self.mean) * share,
            self.joint + other.joint + (other.mean - self.mean) * (apart * weight),
        )

    def fit(self) -> NDArray[np.float64]:
        """The constant ``c = b / m`` of every band, from the line ``ρ = b + m cos i``.

        Least squares (Teillet et al. 1982, eq. 8). A negative ``b`` counts as 0, the pure cosine,
        since no land sends out less than none in the dark.

        Returns:
            Shape ``(band,)``. Infinite, which corrects nothing, where there are fewer than
            `MIN_PIXELS`, where cos i hardly varies (`MIN_SPREAD`), and in a band that does not
            get brighter with the light.
        """
        c = np.full(len(self.mean), math.inf)
        if self.count < MIN_PIXELS or self.light_spread < self.count * MIN_SPREAD**2:
            return c
        slope = self.joint / self.light_spread
        offset = self.mean - slope * self.mean_light
        brighter = slope > 0
        c[brighter] = np.maximum(offset[brighter], 0) / slope[brighter]
        return c


def correct(
    reflectance: Floats,
    cos_i: Raster,
    cos_slope: Raster | float,
    cos_zenith: Raster | float,
    c: Floats,
) -> Floats:
    """Reflectance as it would be without the slope: SCS+C (Soenen et al. 2005, eq. 6).

        ρ' = ρ (cos s cos θ_z + c) / (cos i + c)

    Made for forests: trees stand upright on a slope, so what varies is the sunlit canopy that the
    sensor sees, not the angle at which light meets the leaves. With ``cos_slope`` 1 it is the
    C-correction (Teillet et al. 1982), meant for bare land, which brightens slopes more. Two
    departures: the factor stops at `MAX_FACTOR`, and where the land is turned away (cos i ≤ 0,
    to be marked as terrain shadow) it is 1. Give cos i as 0 under cast shadows too, whose light is
    the sky's alone.

    Args:
        reflectance: shape ``(band, row, col)``.
        cos_i: from `terrain.illumination`, ``(row, col)``; NaN gives NaN.
        cos_slope: cosine of the slope, same shape, or 1.
        cos_zenith: cosine of the sun's zenith, one number or the same shape.
        c: from `LightSums.fit`, shape ``(band,)``; infinite leaves the band as it is.

    Returns:
        Same shape and dtype.

    Raises:
        GridMismatch: the shapes differ.
    """
    _same_shape("reflectance", reflectance, cos_i)
    dtype = reflectance.dtype
    light = cos_i.astype(dtype, copy=False)
    level = np.asarray(cos_slope * cos_zenith, dtype=dtype)
    corrected = np.array(reflectance)
    for band, constant in zip(corrected, c.astype(dtype), strict=True):
        if math.isfinite(constant):
            band *= _factor(light, level, constant)
        band[np.isnan(light)] = np.nan
    return corrected


def _factor(light: Raster, level: Floats, c: np.floating) -> Raster:
    """By how much one band's pixels are brightened; 1 where no sun meets the land."""
    # cos i + c ≥ (level + c) / cap is the cap, without a division by almost nothing.
    below = np.maximum(light + c, (level + c) / MAX_FACTOR)
    factor: Raster = (level + c) / below
    factor[light <= 0] = 1
    return factor


def _same_shape(name: str, array: Floats | Bool, cos_i: Raster) -> None:
    if array.shape[-2:] != cos_i.shape:
        raise GridMismatch(
            name, got=array.shape[-2:], want=cos_i.shape, todo="cut it and the light to one tile"
        )
