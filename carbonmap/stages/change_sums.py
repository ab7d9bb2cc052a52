"""What an area's carbon changed by, added up tile by tile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carbonmap import totals as totals_
from carbonmap.change import GAIN, LOSS, ChangeError
from carbonmap.correlation import Cells
from carbonmap.grid import Grid
from carbonmap.io import lattice
from carbonmap.stages.areas import Area, Rasters, Weights
from carbonmap.totals import Stock
from carbonmap.types import Bool, Floats, Ints, Json


@dataclass(frozen=True)
class Pair(Rasters):
    """A tile of both maps: arrays ``(row, col)``, 0 where one has no value.

    Args:
        before: Mg C/ha.
        after: Mg C/ha.
        known: whether both have a value.
        code: significance, as `ChangeError.significant` tells it.
        chance: s, Mg C/ha.
        seen: what errs of a significant change, Mg C/ha.
        area_ha: of the pixels.
    """

    before: Floats
    after: Floats
    known: Bool
    code: Ints
    chance: Floats
    seen: Floats
    area_ha: Floats


def read_pair(before: Path, after: Path, error: ChangeError, grid: Grid) -> Pair:
    """A tile of both maps."""
    first, last = (
        lattice.read_on_grid(path, grid, "map").astype(np.float64) for path in (before, after)
    )
    known = np.isfinite(first) & np.isfinite(last)
    return Pair(
        np.where(known, first, 0.0),
        np.where(known, last, 0.0),
        known,
        error.significant(first, last),
        np.where(known, error.by_chance(first, last), 0.0),
        np.where(known, error.of_seen(first, last), 0.0),
        np.broadcast_to(grid.pixel_area_ha(), grid.shape),
    )


class ChangeSum:
    """What one area changed by.

    Args:
        area: which.
    """

    def __init__(self, area: Area) -> None:
        self.area = area
        self.cells = Cells.over(area.grid)
        self.chance, self.seen = (Weights(np.zeros(self.cells.shape)) for _ in range(2))
        self.area_ha = self.mapped_ha = self.before_t_c = self.after_t_c = 0.0
        self.significant = {LOSS: np.zeros(2), GAIN: np.zeros(2)}

    def add(self, tile: Grid, share: Floats, held: Pair) -> None:
        """Take in a tile; see `areas.Adder`."""
        area = share * held.area_ha
        self.area_ha += float(area.sum())
        self.mapped_ha += float(area[held.known].sum())
        self.before_t_c += float((area * held.before).sum())
        self.after_t_c += float((area * held.after).sum())
        self.chance.add(self.cells, tile, area * held.chance)
        self.seen.add(self.cells, tile, area * held.seen)
        change = area * (held.after - held.before)
        for code, found in self.significant.items():
            here = held.code == code
            found += area[here].sum(), change[here].sum()

    def told(self, error: ChangeError, stock: Stock) -> Json:
        """Land, carbon of both dates, their difference by pool with its interval, and of what."""
        chance, seen = error.of_area(self.cells, self.chance.parts, self.seen.parts)
        net = self.after_t_c - self.before_t_c
        gross = max(abs(net), sum(abs(float(t_c)) for _, t_c in self.significant.values()))
        ways = {"loss": self.significant[LOSS], "gain": self.significant[GAIN]}
        return {
            "kind": self.area.kind,
            "name": self.area.name,
            "area_ha": self.area_ha / self.area.share_on_map,
            "mapped_ha": self.mapped_ha,
            "share_on_map": self.area.share_on_map,
            "before_t_c": self.before_t_c,
            "after_t_c": self.after_t_c,
            "significant": {
                name: {"ha": float(ha), "t_c": float(t_c)} for name, (ha, t_c) in ways.items()
            },
            "pools": {
                name: totals_.told_change(net, self.before_t_c, gross, chance, seen, pool)
                for name, pool in stock.pools.items()
            },
        }
