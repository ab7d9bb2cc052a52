"""What scenes tell of each other where they overlap, from their pixels on a lattice.

The lattice belongs to the region, not to tiles: a scene has the same samples however it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from carbonmap.quality import QualityBits
from carbonmap.settings import STRICT
from carbonmap.types import Bool, Floats, Ints

LATTICE_POINTS = 500_000
"""Sampled pixels of a region: 12 MB for four bands where scenes cover all of it once. A full WFV
scene in a province's bounding box of 3.1 G pixels then has 25,000, an overlap of a fifth 5,000."""

ROUNDS = 20
"""Of trimming and fitting a pair anew; it ends earlier, once the same samples are kept."""

MAD_SD = 1.4826
"""Standard deviation of a normal distribution in median absolute deviations."""


SMALLEST = 1e-4
"""Reflectance below which a difference is none: the step in which products commonly store it."""


@settings(frozen=True, config=STRICT)
class Fit:
    """How two scenes are compared, and what is believed of it.

    Args:
        gain_sd: relative error of a ratio of gains however many pixels tell it: slopes seen from
            two sides, other hours.
        offset_sd: the same of a difference of means, reflectance.
        trim: pixels further from the line than this many standard deviations are left out: land
            that changed, clouds that nobody saw.
        min_pixels: fewer common pixels tell nothing.
    """

    gain_sd: Annotated[float, Field(gt=0)] = 0.02
    offset_sd: Annotated[float, Field(gt=0)] = 0.004
    trim: Annotated[float, Field(ge=1)] = 3.0
    min_pixels: Annotated[int, Field(ge=3)] = 50


@dataclass(frozen=True)
class Samples:
    """A scene's clear pixels on the lattice.

    Args:
        place: lattice row and column of the region, int64 ``(sample, 2)``.
        values: float32 ``(sample, band)``, all finite.
    """

    place: Ints
    values: Floats


@dataclass(frozen=True)
class Link:
    """What two overlapping scenes tell of each other, band by band.

    Args:
        one: number of a scene.
        other: of the other, greater.
        pixels: samples common to both.
        kept: those that are not trimmed.
        mean_one: of the kept samples, ``(band,)``.
        mean_other: the same.
        ratio: ``g_one / g_other`` by the spread of the kept samples.
        ratio_sd: relative error of that.
        offset_sd: error of the difference of the means, reflectance.
    """

    one: int
    other: int
    pixels: int
    kept: int
    mean_one: Floats
    mean_other: Floats
    ratio: Floats
    ratio_sd: Floats
    offset_sd: Floats


def lattice_step(pixels: int) -> int:
    """Every how many-th row and column of a region is sampled, by its number of pixels."""
    return max(1, int((pixels / LATTICE_POINTS) ** 0.5))


def sample(image: Floats, quality: QualityBits, row: int, col: int, step: int) -> Samples:
    """A tile's clear pixels on the lattice.

    Args:
        image: ``(band, row, col)``; a pixel that is NaN in some band is left out.
        quality: ``(row, col)``; what is not 0 is left out, terrain's shadow too.
        row: of the tile's first pixel in whatever counts the region's rows, such as `Grid.row`.
        col: its column.
        step: rows and columns that are multiples of it are sampled.
    """
    first = (-row % step, -col % step)
    part = np.s_[first[0] :: step, first[1] :: step]
    values = image[:, *part]
    clear = np.isfinite(values).all(axis=0) & (quality[part] == 0)
    at = np.argwhere(clear) * step + np.array([row + first[0], col + first[1]])
    return Samples(at.astype(np.int64), values[:, clear].T.astype(np.float32))


def join(parts: Iterable[Samples], bands: int) -> Samples:
    """A scene's samples from those of its tiles, in the order of their places."""
    held = list(parts)
    place = np.concatenate([np.empty((0, 2), np.int64), *(p.place for p in held)])
    values = np.concatenate([np.empty((0, bands), np.float32), *(p.values for p in held)])
    order = np.argsort(_keys(place), kind="stable")
    return Samples(place[order], values[order])


def find_links(scenes: Sequence[Samples], fit: Fit) -> Iterator[Link]:
    """Every pair of scenes with common pixels enough, in the order of their numbers."""
    keys = [_keys(s.place) for s in scenes]
    boxes = [_box(s.place) for s in scenes]
    for a, b in combinations(range(len(scenes)), 2):
        if not (np.all(boxes[a][0] <= boxes[b][1]) and np.all(boxes[b][0] <= boxes[a][1])):
            continue
        _, i, j = np.intersect1d(keys[a], keys[b], assume_unique=True, return_indices=True)
        one, other = (s.values[k].astype(np.float64) for s, k in ((scenes[a], i), (scenes[b], j)))
        keep = _unchanged(one, other, fit)
        if keep.sum() >= fit.min_pixels:
            yield _link((a, b), one[keep], other[keep], keep.size, fit)


def _unchanged(one: Floats, other: Floats, fit: Fit) -> Bool:
    """Which common pixels lie near the line through those that do, in every band."""
    keep = _near(other - one, fit.trim) if len(one) else np.zeros(0, np.bool_)
    for _ in range(ROUNDS):
        if keep.sum() < fit.min_pixels:
            break
        last, keep = keep, _near(_residual(one, other, keep), fit.trim)
        if np.array_equal(keep, last):
            break
    return keep


def _residual(one: Floats, other: Floats, keep: Bool) -> Floats:
    mean_one, mean_other, ratio, _ = _line(one[keep], other[keep])
    return (other - mean_other) - ratio * (one - mean_one)


def _link(ends: tuple[int, int], one: Floats, other: Floats, pixels: int, fit: Fit) -> Link:
    """What the pixels that were kept tell, and how well."""
    count = len(one)
    mean_one, mean_other, ratio, correlation = _line(one, other)
    rest = (other - mean_other - ratio * (one - mean_one)).std(axis=0) / np.sqrt(count * ratio)
    # as of a slope by regression: a pair that does not correlate tells no gain
    told = np.sqrt((1 - correlation**2) / count) / np.maximum(correlation, 1e-3)
    return Link(
        *ends, pixels, count, mean_one, mean_other, ratio,
        np.hypot(told, fit.gain_sd), np.hypot(rest, fit.offset_sd),
    )  # fmt: skip


def _line(one: Floats, other: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Means, ratio of spreads (other / one) and correlation of two scenes' pixels, by band."""
    mean_one, mean_other = one.mean(axis=0), other.mean(axis=0)
    spread_one, spread_other = one.std(axis=0), other.std(axis=0)
    both = (spread_one > 0) & (spread_other > 0)
    ratio = np.where(both, spread_other / np.where(both, spread_one, 1), 1.0)
    shared = ((one - mean_one) * (other - mean_other)).mean(axis=0)
    product = np.where(both, spread_one * spread_other, 1)
    return mean_one, mean_other, ratio, np.where(both, np.clip(shared / product, 0, 1), 0.0)


def _near(residual: Floats, trim: float) -> Bool:
    """Which samples lie near the others' line, in every band."""
    away = np.abs(residual - np.median(residual, axis=0))
    spread = np.maximum(MAD_SD * np.median(away, axis=0), SMALLEST)
    return np.asarray((away <= trim * spread).all(axis=1))


def _keys(place: Ints) -> NDArray[np.int64]:
    """One number a place, in the order of rows, then columns."""
    return np.asarray(place[:, 0] * 2**32 + place[:, 1], dtype=np.int64)


def _box(place: Ints) -> tuple[Ints, Ints]:
    """First and last row and column; of no place at all one that meets nothing."""
    if not len(place):
        return np.array([1, 1]), np.array([0, 0])
    return place.min(axis=0), place.max(axis=0)
