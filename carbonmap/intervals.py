"""Bounds that are to hold a given share of the truth, and what share they hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from carbonmap.errors import ModelError
from carbonmap.summaries import deviation, mean
from carbonmap.types import Bool, Floats, Json

LEVEL = 0.9
"""Share of the truth that an interval is to hold."""

QUANTILES_FROM = 32
"""Draws from which an interval follows their quantiles, so that it may be longer on one side: of
fewer the outermost ones would decide."""


def interval(draws: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Central interval of each pixel, between the draws' quantiles at ranks ``p (K + 1)``.

    Where that is a whole number, exchangeable draws and truth have exactly the nominal coverage
    (Hyndman & Fan 1996, type 6), for 90 % with 19, 39 or 59 draws; between, it is interpolated:
    90.8 % of normal truths with 32. Fewer than ``(1 + level) / (1 − level)`` draws have none: even
    the outermost hold less.

    Args:
        draws: ``(draw, …)``.
        level: share of the truth that it is to hold.

    Returns:
        Lower and upper bound, in the shape of one draw.

    Raises:
        ModelError: the draws are too few for the level.
    """
    least = (1 + level) / (1 - level)
    if len(draws) < least - 1e-9:  # 19 for 0.9, which comes out as 18.999…
        raise ModelError(
            f"{len(draws)} draws have no interval of {level:.0%}; draw at least {least:.0f}, "
            f"or take the mean ± k standard deviations"
        )
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
    return low, high


LEAST_REACH = 1.0
"""Mg C/ha, of draws that all but agree, as on bare land: a plot is not known better, and without a
floor those few pixels where all draws are wrong alike would have no interval, whatever k
(the β of normalised scores: Papadopoulos et al. 2008)."""


class Sides(NamedTuple):
    """The mean of some draws and how far they reach to either side of it, Mg C/ha.

    An interval is ``mean − k · below`` to ``mean + k · above``, k found by `calibrate`.
    """

    mean: Floats
    below: Floats
    above: Floats

    def bounds(self, k: float | Floats) -> tuple[Floats, Floats]:
        """Lower bound, never less than no carbon, and upper bound; one k, or one a pixel."""
        return np.maximum(self.mean - k * self.below, 0), self.mean + k * self.above

    def towards(self, truth: Floats) -> Floats:
        """The reach on the side on which the truth lies."""
        return np.where(truth < self.mean, self.below, self.above)


def sides(draws: Floats) -> Sides:
    """Mean and reach of draws, ``(draw, …)``: of `QUANTILES_FROM` draws or more to the ends of
    their own interval, of fewer one standard deviation either way; `LEAST_REACH` at least.
    """
    middle = mean(draws)
    if len(draws) >= QUANTILES_FROM:
        low, high = interval(draws)
        return Sides(middle, _reach(middle - low), _reach(high - middle))
    spread = _reach(deviation(draws) if len(draws) > 1 else np.zeros_like(middle))
    return Sides(middle, spread, spread)


def _reach(distance: Floats) -> Floats:
    reach: Floats = np.maximum(distance, LEAST_REACH).astype(np.float32)
    return reach


@dataclass(frozen=True)
class Coverage:
    """How many truths lie within bounds; ``a + b`` is that of both sets together."""

    count: int = 0
    hits: int = 0
    width_sum: float = 0.0

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.count + other.count, self.hits + other.hits, self.width_sum + other.width_sum
        )

    @property
    def share(self) -> float:
        """Of the truths within; NaN of nothing."""
        return self.hits / self.count if self.count else math.nan

    @property
    def width(self) -> float:
        """Mean width: of two models with one coverage, the narrower knows more."""
        return self.width_sum / self.count if self.count else math.nan

    def to_json(self) -> Json:
        """Count, share and width, None where unknown."""
        share, width = (self.share, self.width) if self.count else (None, None)
        return {"pixels": self.count, "coverage": share, "width_mg_c_ha": width}


def within(low: Floats, high: Floats, truth: Floats) -> Bool:
    """Where the truth lies within bounds, ends included; False where anything is unknown."""
    return np.asarray((low <= truth) & (truth <= high))


def coverage(low: Floats, high: Floats, truth: Floats) -> Coverage:
    """Coverage by bounds, over the pixels where all three are known; one shape."""
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(truth)
    hits = within(low, high, truth) & known
    return Coverage(int(known.sum()), int(hits.sum()), float((high - low)[known].sum()))


def calibrate(mean: Floats, spread: Floats, truth: Floats, level: float = LEVEL) -> float:
    """The least k with which ``mean ± k · spread`` holds a share of the truths given.

    Of draws that reach further to one side than to the other, the spread is that towards the truth.

    To be found on validation pixels and judged on others (split conformal regression with a
    normalised score: Lei et al. 2018; without their + 1, as pixels are not independent
    and their number means little).

    Args:
        mean: of the draws, any shape.
        spread: their standard deviation, same shape; 0 where all agree.
        truth: same shape; NaN where unknown.
        level: share to be held.

    Raises:
        ModelError: no pixel is known, or the draws agree on so many wrong values that no k does.
    """
    known = np.isfinite(mean) & np.isfinite(spread) & np.isfinite(truth)
    error = np.abs(truth[known].astype(np.float64) - mean[known])
    scale = spread[known].astype(np.float64)
    if not error.size:
        raise ModelError("no pixel is known to calibrate intervals on; give validation labels")
    ratio = np.where(error > 0, np.inf, 0.0)
    np.divide(error, scale, out=ratio, where=scale > 0)
    k = float(np.sort(ratio)[math.ceil(level * ratio.size - 1e-9) - 1])
    if math.isinf(k):
        raise ModelError(
            f"the draws agree on wrong values in more than {1 - level:.0%} of the validation "
            f"pixels, so no k gives their mean ± k standard deviations a coverage of {level:.0%}"
        )
    return k
