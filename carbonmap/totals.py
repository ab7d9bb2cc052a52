"""Carbon of an area with its 95 % interval, and what the interval consists of.

    half² = model² + volume² + factors² + sampling²

Each is 1.96 standard deviations, t C. The interval errs on the wide side: what labels carry of the
volumes' errors is counted as the map's. Model and volume together are what the map differs from
labels that it never saw (`correlation.deviation`): the labels carry the inventory's own error of
volumes, which is told apart from the model's. Factors are the same numbers in every stand, so
their relative error stays, however large the area (see `uncertainty`). Where a random sample
corrects the total (`sampling`), its own error and the volumes' stand for the model's on the land of
the stands.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from carbonmap.allometry import CO2_PER_C
from carbonmap.sampling import Correction
from carbonmap.types import Json, Plots
from carbonmap.uncertainty import Z95


@dataclass(frozen=True)
class Pool:
    """One carbon pool, or all together, as an inventory holds it.

    Args:
        share: of all carbon.
        factors_percent: 95 % half-width of the inventory's carbon by its factors alone, %.
    """

    share: float
    factors_percent: float


@dataclass(frozen=True)
class Stock:
    """What an inventory tells of the errors of totals.

    Args:
        pools: by name, "total" among them.
        volume_percent: 95 % half-width of one stand's volume, %.
        stand_t_c: Σ s² / Σ s over the stands' carbon s: a stand of this size, many times over, errs
            as the inventory does.
    """

    pools: dict[str, Pool]
    volume_percent: float
    stand_t_c: float


@dataclass(frozen=True)
class Halves:
    """95 % half-widths of a total, t C."""

    model: float
    volume: float
    factors: float
    sampling: float = 0.0

    @property
    def all(self) -> float:
        """Of all that is told apart."""
        return math.hypot(self.model, self.volume, self.factors, self.sampling)

    def to_json(self) -> Json:
        """By name."""
        return dataclasses.asdict(self)


def factors_percent(stand_t_c: Plots, half_percent: float, volume_percent: float) -> float:
    """Half-width of an inventory's carbon by its factors alone, %.

    The volumes' part of ``half_percent``, independent from stand to stand, is taken out again.

    Args:
        stand_t_c: carbon of each stand, NaN where unknown.
        half_percent: 95 % half-width of their sum by `uncertainty.error_propagation`, %.
        volume_percent: of one stand's volume, %.
    """
    total = float(np.nansum(stand_t_c))
    if not total:
        return 0.0
    volumes = volume_percent * math.sqrt(float(np.nansum(stand_t_c**2))) / total
    return math.sqrt(max(half_percent**2 - volumes**2, 0.0))


def halves(t_c: float, deviation: float, stock: Stock, pool: str) -> Halves:
    """What a total's interval consists of.

    The volume's part is that of an area whose stands are as large as the inventory's, and of one
    stand where the area holds less; it is never more than what was found in all.

    Args:
        t_c: of all pools together, by the map, t C.
        deviation: standard deviation of map less label over the area, t C.
        stock: of the inventory.
        pool: that is told; its share of the deviation is its share of the carbon.
    """
    own = stock.pools[pool]
    found = Z95 * deviation * own.share
    held = max(t_c, 0.0)
    volume = stock.volume_percent / 100 * math.sqrt(held * min(stock.stand_t_c, held)) * own.share
    volume = min(volume, found)
    model = math.sqrt(found**2 - volume**2)
    return Halves(model, volume, own.factors_percent / 100 * held * own.share)


def sampled_halves(
    t_c: float, of_stands: float, sample: Correction, deviation: float, stock: Stock, pool: str
) -> Halves:
    """What the interval of a total consists of that a sample has corrected.

    Args:
        t_c: of all pools together, corrected, t C.
        of_stands: as much of it as lies on the stands' land; their volumes err, sampled or not.
        sample: that corrected it.
        deviation: of the map over the land where the inventory has no stands, t C.
        stock: of the inventory.
        pool: that is told.
    """
    own = stock.pools[pool]
    held = max(t_c, 0.0)
    land = max(of_stands, 0.0)
    volume = stock.volume_percent / 100 * math.sqrt(land * min(stock.stand_t_c, land)) * own.share
    factors = own.factors_percent / 100 * held * own.share
    return Halves(Z95 * deviation * own.share, volume, factors, sample.half * own.share)


def told(t_c: float, found: Halves) -> Json:
    """A total and its interval as plain values: t C, t CO₂, bounds, and the parts of half of it."""
    low, high = max(t_c - found.all, 0.0), max(t_c + found.all, 0.0)
    percent = {"half_width_percent": 100 * found.all / t_c if t_c > 0 else None}
    return _bounded(t_c, low, high) | percent | {"half_t_c": found.to_json()}


def told_change(
    t_c: float, before_t_c: float, gross_t_c: float, chance: float, seen: float, pool: Pool
) -> Json:
    """A pool's change and its interval, likewise; no more can be lost than there was.

    Args:
        t_c: of all pools together, t C.
        before_t_c: what there was, likewise.
        gross_t_c: losses and gains without their signs, likewise: factors differ from forest to
            forest, so that what they put into a loss need not go out with a gain.
        chance: standard deviation by which land that stayed seems to change, likewise.
        seen: of what is seen to have changed, likewise.
        pool: whose factors err alike at both dates.
    """
    own = t_c * pool.share
    found = {
        "chance": Z95 * chance * pool.share,
        "seen": Z95 * seen * pool.share,
        "factors": pool.factors_percent / 100 * gross_t_c * pool.share,
    }
    half = math.hypot(*found.values())
    low = max(own - half, -before_t_c * pool.share)
    return _bounded(own, low, own + half) | {"half_t_c": found}


def _bounded(t_c: float, low: float, high: float) -> Json:
    return {
        "t_c": t_c,
        "low_95_t_c": low,
        "high_95_t_c": high,
        "t_co2": CO2_PER_C * t_c,
        "low_95_t_co2": CO2_PER_C * low,
        "high_95_t_co2": CO2_PER_C * high,
    }
