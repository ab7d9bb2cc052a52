"""How well an ensemble of maps tells what is known of a place: its mean, its spread, its intervals.

An ensemble is ``(draw, row, col)``, each draw a whole map; the truth is ``(row, col)``, NaN where
it is unknown or masked. A perfect sampler's draws and the truth are exchangeable: they could change
places. All sums add over tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from carbonmap.errors import GridMismatch, ModelError
from carbonmap.intervals import LEVEL
from carbonmap.metrics import Errors, errors
from carbonmap.types import Floats, Json, Raster

MOST_DRAWS = 256
"""Memory is a strip's draws, and where a model is judged a tile's: so many of 1034² pixels take
1.1 GB. The mean of 256 errs within 0.2 % of what more would."""


@dataclass(frozen=True)
class Factors:
    """RMSE of a perfect sampler ÷ that of the true mean, by what of it is compared."""

    draw: float
    mean: float


def expected_factors(members: int) -> Factors:
    """What a perfect sampler's RMSE would be, so that draws are never compared with means.

    Given all that a model sees, truth and draws are independent with one variance σ²: one draw errs
    by σ √2, the mean of K by σ √(1 + 1/K), the true mean by σ.
    """
    return Factors(math.sqrt(2), math.sqrt(1 + 1 / members))


@dataclass(frozen=True)
class Scores:
    """Errors of one ensemble; ``a + b`` is that of both sets of pixels together.

    Args:
        members: draws in it, K; 0 of nothing.
        draw: errors of the single draws, all K counted.
        mean: errors of their mean.
        variance_sum: Σ s², the draws' variance about their mean, ``/ (K − 1)``.
        difference_sum: Σ of the mean |xᵢ − xⱼ| over pairs of draws.
        ranks: pixels by how many draws lie below the truth, 0…K; a pixel whose truth equals draws
            is shared evenly by the ranks that it could have.
    """

    members: int = 0
    draw: Errors = field(default_factory=Errors)
    mean: Errors = field(default_factory=Errors)
    variance_sum: float = 0.0
    difference_sum: float = 0.0
    ranks: tuple[float, ...] = ()

    def __add__(self, other: Scores) -> Scores:
        if not self.members or not other.members:
            return self if self.members else other
        if self.members != other.members:
            raise ModelError(
                f"an ensemble of {self.members} draws cannot be added to one of {other.members}; "
                f"draw as many for every tile"
            )
        return Scores(
            self.members,
            self.draw + other.draw,
            self.mean + other.mean,
            self.variance_sum + other.variance_sum,
            self.difference_sum + other.difference_sum,
            tuple(a + b for a, b in zip(self.ranks, other.ranks, strict=True)),
        )

    @property
    def crps(self) -> float:
        """Continuous ranked probability score of the draws: ``E|x − y| − E|x − x'| / 2``.

        Both x and x' are any of the K, so that it is the mean over pixels of
        ``∫ (F(t) − 1{t ≥ y})² dt`` with their step function F (Gneiting & Raftery 2007, eq. 21).
        More draws make it smaller.
        """
        pairs = (self.members - 1) / self.members if self.members else math.nan
        return self.draw.mae - self._mean(self.difference_sum) * pairs / 2

    @property
    def fair_crps(self) -> float:
        """The same with x and x' never the same draw: unbiased for a sampler of endless draws.

        Ferro 2014 (QJRMS 140, 1917): models with different K can be compared. NaN of one draw.
        """
        if self.members < 2:
            return math.nan
        return self.draw.mae - self._mean(self.difference_sum) / 2

    @property
    def limit_rmse(self) -> float:
        """RMSE that the mean of endless draws would have: ``√(mean e² − mean s² / K)``.

        Unbiased in the square, for any sampler, perfect or not; NaN of one draw.
        """
        if self.members < 2:
            return math.nan
        square = self.mean.rmse**2 - self._mean(self.variance_sum) / self.members
        return math.sqrt(max(square, 0.0)) if not math.isnan(square) else math.nan

    @property
    def spread_skill(self) -> float:
        """``√((1 + 1/K) mean s²) / RMSE`` of the mean: 1 of a perfect sampler, below if too narrow.

        Fortin et al. 2014 (J. Hydrometeorol. 15, 1708).
        """
        if self.members < 2 or not self.mean.rmse > 0:
            return math.nan
        spread = math.sqrt(self._mean(self.variance_sum) * (1 + 1 / self.members))
        return spread / self.mean.rmse

    def coverage(self, level: float = LEVEL) -> float:
        """Share of pixels whose truth lies in the central interval by rank; exact in expectation.

        Among K exchangeable draws the truth's rank is uniform over K + 1 places. The interval is
        the central ``level`` of these; the two places that its ends cut count in part, so that a
        perfect sampler's expected coverage is the level itself, which no pair of whole ranks gives
        (K = 32: 29/33 or 31/33). It judges the sampler; `intervals.coverage`, bounds on a map.
        """
        if not sum(self.ranks) > 0:
            return math.nan
        edges = np.linspace(0, 1, self.members + 2)
        low, high = (1 - level) / 2, (1 + level) / 2
        inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
        return float(inside @ self.ranks) * (self.members + 1) / sum(self.ranks)

    def to_json(self, scale: float) -> Json:
        """Every figure by name; errors of one draw and of the mean as `Errors.to_json` has them.

        Args:
            scale: density that counts as 1, Mg C/ha.
        """
        expected = expected_factors(self.members) if self.members else Factors(math.nan, math.nan)
        limit = self.limit_rmse
        figures = {
            "crps_mg_c_ha": self.crps,
            "fair_crps_mg_c_ha": self.fair_crps,
            "limit_rmse_mg_c_ha": limit,
            "draw_factor": self.draw.rmse / limit if limit > 0 else math.nan,
            "mean_factor": self.mean.rmse / limit if limit > 0 else math.nan,
            "draw_factor_expected": expected.draw,
            "mean_factor_expected": expected.mean,
            "spread_skill": self.spread_skill,
            "coverage_90": self.coverage(),
        }
        known = {k: v if math.isfinite(v) else None for k, v in figures.items()}
        whole = self.mean.to_json(scale)
        draw = self.draw.to_json(scale) | {k: whole[k] for k in ("pixels", "pixels_missing")}
        return {"members": self.members, "draw": draw, "mean": whole} | known

    def _mean(self, total: float) -> float:
        return total / self.mean.count if self.mean.count else math.nan


def scores(draws: Floats, truth: Raster) -> Scores:
    """Scores of one tile.

    Σ |xᵢ − xⱼ| over pairs is ``Σᵢ (2i − K − 1) x₍ᵢ₎`` of the sorted draws: K log K operations.

    Args:
        draws: ``(draw, row, col)``, Mg C/ha; NaN where unknown, in some draw or in all.
        truth: ``(row, col)``; NaN where unknown or masked.

    Raises:
        GridMismatch: the shapes differ.
        ModelError: there is no draw.
    """
    members = _members(draws, truth)
    known = np.isfinite(truth)
    both = known & np.isfinite(draws).all(0)
    y = truth[both].astype(np.float64)
    x = np.sort(draws[:, both].astype(np.float64), axis=0)
    missing = int(known.sum()) - y.size
    steps = (2.0 * np.arange(1, members + 1) - members - 1) @ x
    pairs = members * (members - 1) / 2
    single = errors(x, np.broadcast_to(y, x.shape))
    mean = errors(x.mean(0), y)
    return Scores(
        members,
        single + Errors(missing=missing * members),
        mean + Errors(missing=missing),
        float(x.var(0, ddof=1).sum()) if members > 1 else 0.0,
        float(steps.sum()) / pairs if members > 1 else 0.0,
        _ranks(x, y),
    )


def _members(draws: Floats, truth: Floats) -> int:
    if draws.ndim != truth.ndim + 1 or draws.shape[1:] != truth.shape:
        raise GridMismatch("ensemble", got=draws.shape, want=("draws", *truth.shape))
    if not len(draws):
        raise ModelError("an ensemble of no draws cannot be judged; draw at least one map")
    return len(draws)


def _ranks(x: Floats, y: Floats) -> tuple[float, ...]:
    """Pixels at each rank; those with ties spread over the ranks between, by differences."""
    below, upto = (x < y).sum(0), (x <= y).sum(0)
    share = 1.0 / (upto - below + 1)
    steps = np.bincount(below, share, len(x) + 2) - np.bincount(upto + 1, share, len(x) + 2)
    return tuple(np.cumsum(steps)[:-1].tolist())
