"""How much of a composed image's borders between scenes can be seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carbonmap.composite import NO_SOURCE, Sources
from carbonmap.types import Bool, Floats

REACH_PX = 8
"""Distance from a border within which steps are compared with those across it: near enough that
fields and forests on both sides are the same, far enough for some sixteen steps a crossing."""

HALO_PX = REACH_PX + 1
"""Rows and columns that a tile must be read beyond its edges for its steps to add up to the
whole's."""


@dataclass(frozen=True)
class Steps:
    """Absolute differences of neighbouring pixels, added up.

    Args:
        across: of neighbours from two scenes, ``(band,)``.
        across_count: how many such pairs.
        within: of neighbours from one scene, near a border, ``(band,)``.
        within_count: how many.
    """

    across: Floats
    across_count: int
    within: Floats
    within_count: int

    def __add__(self, other: Steps) -> Steps:
        return Steps(
            self.across + other.across,
            self.across_count + other.across_count,
            self.within + other.within,
            self.within_count + other.within_count,
        )

    @property
    def mean_across(self) -> Floats:
        """Mean step across borders, ``(band,)``; NaN without any."""
        return self.across / self.across_count if self.across_count else self.across * np.nan

    @property
    def mean_within(self) -> Floats:
        """Mean step beside them, ``(band,)``; NaN without any."""
        return self.within / self.within_count if self.within_count else self.within * np.nan

    @property
    def ratio(self) -> float:
        """Step across borders over the step beside them, both the means of all bands.

        1 where no seam can be seen; NaN where no two scenes meet.
        """
        beside = self.mean_within.mean()
        return float(self.mean_across.mean() / beside) if beside else float("nan")


def seam_steps(values: Floats, source: Sources, halo: int = 0) -> Steps:
    """Steps across the borders between scenes, and beside them.

    A step beside a border is one between neighbours in the same direction as the border's, both
    of one scene and not further than `REACH_PX` from a pair that straddles a border along that
    line: so land is compared with the same land, and slopes of mountains do not count as seams.

    Args:
        values: ``(band, row, col)``; NaN in gaps.
        source: number of each pixel's scene, ``(row, col)``; `NO_SOURCE` in gaps.
        halo: of both arrays around the tile, `HALO_PX` for tiles that are added up (`NO_SOURCE`
            beyond the region). A pair belongs to the tile of its northern or western pixel.
    """
    down = _steps(values, source, halo)
    return down + _steps(values.transpose(0, 2, 1), source.T, halo)


def _steps(values: Floats, source: Sources, halo: int) -> Steps:
    """Of neighbours along the rows' axis."""
    upper, lower = source[:-1], source[1:]
    valid = (upper != NO_SOURCE) & (lower != NO_SOURCE)
    border = valid & (upper != lower)
    beside = valid & (upper == lower) & _near(border)
    rows, cols = source.shape
    # the last pair of a tile without halo is its last but one row's
    own = np.s_[halo : max(rows - halo, 0), halo : cols - halo]
    step = np.abs(np.diff(values.astype(np.float64), axis=1))[:, *own]
    across, within = (np.where(pairs[own], step, 0) for pairs in (border, beside))
    return Steps(
        across.sum(axis=(1, 2)), int(border[own].sum()),
        within.sum(axis=(1, 2)), int(beside[own].sum()),
    )  # fmt: skip


def _near(border: Bool) -> Bool:
    """Pairs not further than `REACH_PX` along the first axis from a border."""
    count = np.zeros((len(border) + 2 * REACH_PX + 1, border.shape[1]), np.int32)
    padded = np.pad(border, ((REACH_PX, REACH_PX), (0, 0)))
    count[1:] = np.cumsum(padded, axis=0)
    window = 2 * REACH_PX + 1
    return np.asarray(count[window:] > count[:-window])
