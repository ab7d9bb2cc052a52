"""How sure a figure is that is measured on pixels which resemble their neighbours.

Pixels of one spatial block stand and fall together, so that blocks, not pixels, are what is drawn
again (Künsch 1989; Roberts et al. 2017 on blocks for spatial data). A block must be wider than the
reach of the errors' correlation, else errors come out too small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonmap.errors import ModelError
from carbonmap.types import Floats, Ints, Json

Sums = NDArray[np.float64]
"""Additive sums, the figures of one block along the last axis."""

Statistic = Callable[[Sums], Floats]
"""Sums, ``(…, sum)``, to a figure, ``(…)``."""

DRAWS = 2000
"""With these the error of a 2.5 % quantile, ``√(p (1 − p) / n) / φ``, is 3 % of its distance."""


def error_sums(block: Ints, error: Floats) -> Sums:
    """What `mean_of` and `rmse_of` read of single pixels.

    Args:
        block: number of each pixel's block, from 0, shape ``(pixel,)``.
        error: prediction − truth, same shape.

    Returns:
        Pixels, Σ e, Σ |e| and Σ e² of each block, ``(block, 4)``.
    """
    sums = (np.bincount(block, v) for v in (np.ones(len(error)), error, np.abs(error), error**2))
    return np.stack([*sums], axis=1)


def mean_of(column: int) -> Statistic:
    """The mean over pixels of the value summed in a column: 1 of `error_sums` is the bias."""
    return lambda sums: np.asarray(sums[..., column] / sums[..., 0])


def rmse_of(sums: Sums) -> Floats:
    """RMSE of sums as `error_sums` has them; ``sums[..., 4:]`` may be a second model's."""
    return np.asarray(np.sqrt(sums[..., 3] / sums[..., 0]))


@dataclass(frozen=True)
class Bootstrap:
    """A figure with what blocks drawn again say of it.

    Args:
        value: of the blocks as they are.
        standard_error: standard deviation of the figure over the draws.
        low: lower bound, a quantile of the draws.
        high: upper bound.
        level: share of the draws between the bounds.
        blocks: that hold pixels.
    """

    value: float
    standard_error: float
    low: float
    high: float
    level: float
    blocks: int

    def to_json(self) -> Json:
        """Every field by name."""
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "blocks": self.blocks,
        }


def block_bootstrap(
    sums: Sums, statistic: Statistic, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Bootstrap:
    """Standard error and percentile bounds of any figure of sums over blocks.

    Each draw takes B − 1 of the B blocks with replacement: with B the variance of a mean would come
    out smaller by (B − 1) / B (Rao & Wu 1988, JASA 83, 231). To compare two models, join their sums
    and give the difference of their figures as the statistic: the same blocks are drawn for both.

    Args:
        sums: ``(block, sum)``, pixels in the first column; blocks without are left out.
        statistic: scale-free in the sums, such as a ratio of two.
        draws: how many.
        seed: of the draws.
        level: share between the bounds.

    Raises:
        ModelError: fewer than three blocks hold pixels.
    """
    held = sums[sums[:, 0] > 0]
    count = len(held)
    if count < 3:
        raise ModelError(
            f"{count} blocks hold pixels, too few to draw again; use smaller blocks or a wider area"
        )
    random = np.random.default_rng(seed)
    times = random.multinomial(count - 1, np.full(count, 1 / count), size=draws)
    found = statistic(times @ held)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    value = float(statistic(held.sum(0)))
    spread = float(found.std(ddof=1))
    return Bootstrap(value, spread, float(low), float(high), level, count)


def effective_number(count: Floats, total: Floats, squares: Floats) -> float:
    """How many independent pixels would tell a mean as surely as these in blocks.

    The mean is ``r = Σ y / Σ n``. Blocks give its variance by linearisation (Cochran 1977, ch. 6),
    ``v = B / (B − 1) Σ_b (y_b − r n_b)² / N²``; independent pixels would give σ² / N_eff. With
    ``E[s²] = σ² − v`` of pixels in clusters, ``N_eff = (s² + v) / v``: the number of blocks where
    all pixels of a block are alike (and blocks of one size), that of pixels where they are
    independent, which is also the most that is told. Its own error is about ``√(2 / (B − 1))``.

    Args:
        count: pixels by block, n.
        total: Σ of the value, y; for a coverage, the hits.
        squares: Σ of its square; for a coverage, the hits again.

    Raises:
        ModelError: fewer than two blocks hold pixels.
    """
    n, y, q = (
        np.asarray(a, dtype=np.float64)[np.asarray(count) > 0] for a in (count, total, squares)
    )
    if len(n) < 2:
        raise ModelError("one block cannot tell how alike its pixels are; use smaller blocks")
    pixels, mean = n.sum(), y.sum() / n.sum()
    between = float(np.sum((y - mean * n) ** 2)) * len(n) / (len(n) - 1) / pixels**2
    spread = float(q.sum() / pixels - mean**2)
    if spread <= 0:
        return math.nan  # all pixels are alike: nothing tells how they vary
    return float(min(pixels, spread / between + 1)) if between > 0 else float(pixels)
