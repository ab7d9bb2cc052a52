"""Totals corrected by a random sample of stands that the model never saw.

    T̂ = Σ map + Σ d_k of learned stands + A R̂,   R̂ = Σ d_k / Σ a_k over the sample
    Var T̂ = A² (1 − f) s² / (n ā²),   s² = Σ (d_k − R̂ a_k)² / (n − 1),   f = Σ a_k / A

d_k is a stand's carbon by the inventory less that by the map, a_k its area, A the area of all
stands that the model did not learn from, n the sample's stands and ā their mean area: the
difference estimator of model-assisted inference (Särndal, Swensson & Wretman 1992, section 6.3),
with the ratio to area (Cochran 1977, eq. 6.13), since larger stands differ by more. What a model
has learned by heart it does not err on, so that the sample speaks for unseen stands alone; learned
ones differ by what they differ. It corrects what map and inventory differ by: the inventory's own
error of volumes stays (`totals`). Its bias falls as 1/n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from carbonmap.types import Plots

LEAST_SAMPLE = 20
"""Stands from which a sample corrects a total: of fewer, neither the ratio's bias nor the normal
shape of its error can be relied on."""


@dataclass(frozen=True)
class Correction:
    """What a sample says of a map's total.

    Args:
        t_c: to be added to it, t C.
        half: 95 % half-width of that, t C, by Student's t.
        stands: of the sample.
        share: of the land that they cover, f.
    """

    t_c: float
    half: float
    stands: int
    share: float


def correction(difference: Plots, area_ha: Plots, population_ha: float) -> Correction | None:
    """What to add to a map's total over some land; None of fewer than `LEAST_SAMPLE` stands.

    Args:
        difference: inventory less map of each sampled stand's part on that land, t C.
        area_ha: of these parts; a stand with none there is left out.
        population_ha: of all stands there that the model did not learn from, sampled or not.
    """
    held = area_ha > 0
    d, a, n = difference[held], area_ha[held], int(held.sum())
    if n < LEAST_SAMPLE:
        return None
    ratio, share = d.sum() / a.sum(), min(float(a.sum()) / population_ha, 1.0)
    square = float(np.square(d - ratio * a).sum()) / (n - 1)
    deviation = population_ha / float(a.mean()) * math.sqrt((1 - share) * square / n)
    half = float(stdtrit(n - 1, 0.975)) * deviation
    return Correction(population_ha * float(ratio), half, n, share)
