"""Counts to radiance to reflectance above the atmosphere, the sun, and counts that mean nothing."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonmap.calibration import Calibration
from carbonmap.errors import InputError
from carbonmap.quality import Quality, QualityBits
from carbonmap.sun import J2000, mean_anomaly
from carbonmap.types import Bool, Floats

Counts = NDArray[np.unsignedinteger[Any]]
"""What the sensor counted, ``(band, row, col)``."""

SATURATION = 1023
"""The highest count. GF-1's WFV cameras quantise to 10 bits (CRESDA's sensor table), and products
hold the counts as they are in 16."""

LOST_SHARE = 0.5
"""Share of zeros above which a line is lost. Dark current and the sky's light keep counts above 0,
except in deep shadow and over clear water in the near infrared, which hardly ever fill half of a
line of 190 km; and a line that broke off on its way down may hold something at its beginning."""


def radiance(counts: Counts | Floats, calibration: Calibration) -> Floats:
    """Radiance at the sensor, L = gain · DN + bias.

    Args:
        counts: ``(band, row, col)``; NaN stays NaN.
        calibration: with as many bands.

    Returns:
        W m-2 sr-1 um-1, float32, same shape.

    Raises:
        InputError: the image has another number of bands.
    """
    if len(counts) != len(calibration.gain):
        raise InputError(
            f"the image has {len(counts)} band(s) and its calibration {len(calibration.gain)}; "
            f"give the bands blue, green, red, nir"
        )
    gain, bias = _by_band(calibration.gain), _by_band(calibration.bias)
    return np.asarray(counts * gain + bias)


def toa_reflectance(
    radiance: Floats, esun: tuple[float, ...], distance: float, sun_zenith: Floats | float
) -> Floats:
    """Reflectance above the atmosphere.

        ρ = π L d² / (ESUN cos θ_z)            Chander et al. 2009, eq. 2

    Args:
        radiance: ``L``, W m-2 sr-1 um-1, ``(band, row, col)``.
        esun: W m-2 um-1, by band.
        distance: ``d``, from the Earth to the sun, AU.
        sun_zenith: ``θ_z``, radians, one number or broadcastable to ``(row, col)``.

    Returns:
        Dimensionless, of the radiance's dtype and shape; NaN where the sun is not up.
    """
    cosine = np.asarray(np.cos(sun_zenith))
    light = np.where(cosine > 0, cosine, np.nan).astype(radiance.dtype)
    scale = math.pi * distance**2 / np.asarray(esun)
    return np.asarray(radiance * scale.astype(radiance.dtype)[:, None, None] / light)


def earth_sun_distance(day: datetime.date) -> float:
    """Distance from the Earth to the sun at noon UTC, AU, to 3e-4.

        R = 1.00014 − 0.01671 cos g − 0.00014 cos 2g,  g the sun's mean anomaly

    (Astronomical Almanac, low-precision formulas for the sun, 1950–2050.)
    """
    g = mean_anomaly((day - J2000.date()).days)
    return 1.00014 - 0.01671 * math.cos(g) - 0.00014 * math.cos(2 * g)


def missing_lines(zero_share: Floats) -> Bool:
    """Which lines of an image were lost: those of which more than half is 0.

    Args:
        zero_share: share of a line's counts that are 0, by band and line or in any other shape.
    """
    return np.asarray(zero_share > LOST_SHARE)


def count_quality(counts: Counts, missing: Bool, saturation: int = SATURATION) -> QualityBits:
    """Pixels whose counts are no measurement, and why.

    Args:
        counts: ``(band, row, col)``, in the image's own lines.
        missing: which lines are lost, ``(row,)`` or ``(band, row)``.
        saturation: the highest count that the sensor can give.

    Returns:
        ``(row, col)``; `Quality.MISSING_LINE` where the line is lost in some band, `Quality.ZERO`
        where elsewhere some band is 0, `Quality.SATURATED` where some band is full.
    """
    lines = np.asarray(missing if missing.ndim == 1 else missing.any(axis=0))
    lost = np.broadcast_to(lines[:, None], counts.shape[1:])
    zero = (counts == 0).any(axis=0) & ~lost
    full = (counts >= saturation).any(axis=0)
    return np.asarray(
        lost * np.uint8(Quality.MISSING_LINE)
        | zero * np.uint8(Quality.ZERO)
        | full * np.uint8(Quality.SATURATED)
    )


def _by_band(values: tuple[float, ...]) -> Floats:
    return np.asarray(values, np.float32)[:, None, None]
