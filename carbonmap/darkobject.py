"""Dark-object subtraction: haze read from the scene's own darkest land, with no table and no model.

Somewhere in a scene lies deep shadow or clear water that sends up 1 % of the light in every band
(Chavez 1988, 1996). What is measured there above that is the path reflectance of the air, and is
taken off everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from carbonmap.errors import InputError
from carbonmap.features import BANDS
from carbonmap.types import Floats, Ints

DARK_REFLECTANCE = 0.01
"""Of the dark object: hardly anything on land is quite black (Chavez 1996)."""

DARK_SHARE = 1e-4
"""Share of a scene's valid pixels that may be darker than its dark object (Sobrino et al. 2004, RSE
90, 434: 0.01 %): some 16,000 of a WFV scene, more than stray nulls and dead lines make up."""

MIN_PIXELS = 100_000
"""Valid pixels, of which the share is 10; with fewer, the dark object is a few freaks."""


@dataclass(frozen=True)
class DarkObject:
    """The darkest land of a scene, and the haze over it.

    Args:
        count: digital number, shape ``(band,)``.
        toa: its reflectance at the top of the atmosphere, same shape.
        path: path reflectance, same shape.
        notes: what was not as a dark object has it, a sentence each, for the report.
    """

    count: Ints
    toa: NDArray[np.float64]
    path: NDArray[np.float64]
    notes: tuple[str, ...]


def dark_object(histogram: Ints, toa_per_count: Floats, toa_at_zero: Floats) -> DarkObject:
    """Find the dark object of a scene.

    It is the lowest count with more than `DARK_SHARE` of the pixels at or below it, band by band.

        ρ_path = ρ_dark − 0.01,   kept between 0 and the ρ_path of the next shorter band

    Air and aerosols scatter blue most and NIR least. A band whose dark object contradicts that has
    none (NIR over land without water) and takes the value of the band before it, and a note.

    Args:
        histogram: valid pixels by count, ``(band, count)``; those of the count 0, GF-1's null, are
            not looked at.
        toa_per_count: reflectance at the top of the atmosphere per count at the scene's centre.
        toa_at_zero: its reflectance at count 0, ``(band,)`` like the other.

    Raises:
        InputError: a band has fewer than `MIN_PIXELS` valid pixels.
    """
    valid = np.array(histogram)
    valid[:, 0] = 0
    total = valid.sum(axis=1)
    if total.min() < MIN_PIXELS:
        raise InputError(
            f"the scene has {total.min():,} valid pixels; its dark object needs {MIN_PIXELS:,}: "
            f"correct it by the table of 6S with an AOD that you give"
        )
    count = (valid.cumsum(axis=1) > DARK_SHARE * total[:, None]).argmax(axis=1)
    toa = np.asarray(toa_at_zero + toa_per_count * count, dtype=np.float64)
    haze = np.maximum(toa - DARK_REFLECTANCE, 0)
    path = np.minimum.accumulate(haze)
    return DarkObject(count, toa, path, tuple(_notes(toa, haze)))


def subtract_haze(toa: Floats, path: Floats) -> Floats:
    """Surface reflectance ``ρ − ρ_path``, Chavez's DOS of 1988.

    By 6S (AOD 0.1 to 0.5 at 2 km) it leaves land 6 to 37 % too dark, more under a low sun, and
    evenly over a scene: the light that the air takes on its way is not given back. His COST of 1996
    divides by cos θ_z for that. It is within 14 % at a sun zenith of 35°, but up to 80 % too bright
    from 50° on, Yunnan's winter, and so it is left out. Land darker than the dark object comes out
    below 0 and stays so: noise has two sides, and cutting one off would brighten.

    Args:
        toa: reflectance at the top of the atmosphere, ``(band, row, col)``.
        path: ``ρ_path``, ``(band,)``.

    Returns:
        Same shape and dtype.
    """
    return np.asarray(toa - np.asarray(path, toa.dtype)[:, None, None])


def _notes(toa: Floats, haze: Floats) -> list[str]:
    """What contradicts the model."""
    black = [
        f"{band}: the darkest land has a reflectance of {dark:.3f} through the air, less than the "
        f"{DARK_REFLECTANCE:g} that it has without haze, so no haze is taken off this band"
        for band, dark in zip(BANDS, toa, strict=True)
        if dark < DARK_REFLECTANCE
    ]
    least = np.minimum.accumulate(haze)
    hazy = [
        f"{band}: the darkest land is {own:.3f} too bright, and haze brightens {band} by no more "
        f"than the {bound:.3f} of {before}; so {band} has no dark land to tell its haze by, such "
        f"as water, and {bound:.3f} is taken off it too"
        for (before, band), own, bound in zip(pairwise(BANDS), haze[1:], least[:-1], strict=True)
        if own > bound
    ]
    return black + hazy
