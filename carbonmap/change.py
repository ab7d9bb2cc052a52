"""Change of carbon density between two dates, and how far it may err.

Both maps are by one model, whose errors on land that stayed as it was are alike at both dates and
all but go out of the difference; on land that changed they do not. With m₁ and m₂ the mapped
densities, Δ = m₂ − m₁ and σ(m) how far a map errs at a density (`correlation`):

    SD² = s²  +  c² (σ(m₁)² + σ(m₂)²) [|Δ| > z s]

s is what maps of land that stayed differ by, by density; a change beyond z s is significant, since
land that stayed shows as much in 5 of 100 pixels; c is by how much more than independent errors of
both maps a change errs that is seen. Draws that share their noise differ by less than s: what two
maps have in common says nothing of how both err. So s, z and c are found on held-out land that is
shown to the model a second time (`second_image`).

SD is of the change as it is mapped. A change that is not seen, and what a model shows too little of
one that is, lie outside of it: how much is shown of a simulated change is told beside.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
import pydantic
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import ndtr

from carbonmap.correlation import Cells, Structure, deviation
from carbonmap.settings import STRICT, Spec
from carbonmap.types import Floats, Ints, Raster
from carbonmap.uncertainty import Z95

SURE = 0.95
"""Share of the pixels that z s, and 1.96 SD, are to hold."""

LEAST_Z = 1e-6
"""A pixel whose maps are all alike has no change by chance."""

NONE, LOSS, GAIN = 0, 1, 2
"""Of the significance map; `UNKNOWN` where a date has no value."""

UNKNOWN = 255


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class ChangeError(Spec):
    """How far a mapped change errs, as found on simulated change.

    Args:
        still: of maps of land that stayed: s by the mean of both densities, and how alike they
            differ by distance.
        maps: of a map against labels: σ, and how alike what changed errs.
        seen: c.
        z95: z.
    """

    still: Structure
    maps: Structure
    seen: Annotated[float, Field(ge=0)]
    z95: Annotated[float, Field(gt=0)]

    def by_chance(self, before: Raster, after: Raster) -> Floats:
        """What maps of land that stayed differ by: s, Mg C/ha; 0 where a date has no value."""
        middle = (np.asarray(before, np.float64) + after) / 2  # alike for maps and sums
        return self.still.sigma(middle)

    def significant(self, before: Raster, after: Raster) -> Ints:
        """`LOSS` or `GAIN` where maps of land that stayed would differ by less in 95 of 100 pixels.

        Returns:
            uint8, `NONE` elsewhere, `UNKNOWN` where a date has no value.
        """
        change = np.asarray(after, np.float64) - before
        beyond = np.abs(change) > self.z95 * self.by_chance(before, after)
        out = np.where(beyond, np.where(change < 0, LOSS, GAIN), NONE)
        return np.where(np.isfinite(change), out, UNKNOWN).astype(np.uint8)

    def of_seen(self, before: Raster, after: Raster) -> Floats:
        """How far both maps err where the change is significant, Mg C/ha; 0 elsewhere."""
        seen = np.isin(self.significant(before, after), (LOSS, GAIN))
        both = np.hypot(self.maps.sigma(before), self.maps.sigma(after))
        return np.where(seen, self.seen * both, 0.0)

    def deviation(self, before: Raster, after: Raster) -> Floats:
        """SD of every pixel, Mg C/ha; NaN where a date has no value."""
        both = np.hypot(self.by_chance(before, after), self.of_seen(before, after))
        return np.where(np.isfinite(before) & np.isfinite(after), both, np.nan)

    def of_area(
        self, cells: Cells, chance: tuple[Floats, float], seen: tuple[Floats, float]
    ) -> tuple[float, float]:
        """Standard deviations of an area's change: of land that stayed, and of what is seen.

        Args:
            cells: over the pixels.
            chance: Σ a s of every cell and Σ (a s)² over the pixels, a their land.
            seen: likewise of what `of_seen` tells.
        """
        return deviation(self.still, cells, *chance), deviation(self.maps, cells, *seen)


def found(
    still: Structure,
    maps: Structure,
    spread: Floats,
    first: Floats,
    second: Floats,
    true: Floats,
) -> ChangeError:
    """What simulated change tells: z and c.

        mean over pixels of P(|n| v > z) = 5 %,   n normal

    Light is one draw for all of a scene, of which there are few: so a pixel's own differences are
    taken as normal, and what they spread by, as it differs from pixel to pixel, gives z.

    Args:
        still: of maps of land that stayed.
        maps: of a map against labels.
        spread: v of pixels that stayed: root mean square of their differences, each in units of s.
        first: of pixels that changed, mapped before, Mg C/ha; shape ``(pixel,)``.
        second: mapped after.
        true: change of their labels.
    """

    def beyond(z: float) -> float:
        return float(2 * ndtr(-z / np.maximum(spread, LEAST_Z)).mean()) - (1 - SURE)

    z95 = float(brentq(beyond, LEAST_Z, 10 * max(spread.max(), 1.0)))
    whole = ChangeError(still, maps, 1.0, z95)
    both = whole.of_seen(first, second)
    seen = both > 0
    if not seen.any():
        return whole
    chance = whole.by_chance(first, second)[seen]
    over = np.square((second - first - true)[seen] / Z95) - np.square(chance)
    c = np.quantile(np.sqrt(np.maximum(over, 0)) / both[seen], SURE)
    return dataclasses.replace(whole, seen=float(c))
