"""A map added up tile by tile: over all of it, over outlines and over classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from carbonmap import totals as totals_
from carbonmap.correlation import Cells, Structure, deviation
from carbonmap.grid import Grid
from carbonmap.io import lattice
from carbonmap.io.raster import Source
from carbonmap.labels import trustworthy
from carbonmap.sampling import correction
from carbonmap.stages.areas import Area, Rasters, Weights, added
from carbonmap.stages.labels import COVERAGE, STAND, TOTAL
from carbonmap.totals import Stock
from carbonmap.types import Bool, Floats, Ints, Json

MODEL, ASSISTED = "model-dependent", "model-assisted"
"""How a total was found: the map's sum, or corrected by a random sample of stands."""


@dataclass(frozen=True)
class Sample:
    """Stands of an inventory, some of which were kept aside at random.

    Args:
        labels: folder, whose raster tells each pixel's stand.
        kept: of each stand, its place in the sample or −1.
        learned: whether the model learned from a stand.
        usable: whether a stand's carbon is known.
        min_coverage: least share of a pixel inside known stands.
    """

    labels: Path
    kept: Ints
    learned: Bool
    usable: Bool
    min_coverage: float

    @property
    def number(self) -> int:
        """Of stands kept aside."""
        return int((self.kept >= 0).sum())


class Sum:
    """What one area holds, added up tile by tile.

    Args:
        area: which.
        sampled: stands that were kept aside.
    """

    def __init__(self, area: Area, sampled: int = 0) -> None:
        self.area = area
        self.cells = Cells.over(area.grid)
        self.whole = Weights(np.zeros(self.cells.shape))
        self.rest = Weights(np.zeros(self.cells.shape if sampled else (0, 0)))
        self.area_ha = self.mapped_ha = self.unseen_ha = self.t_c = 0.0
        self.of_stands = self.learned_t_c = 0.0
        self.difference, self.sampled_ha = np.zeros(sampled), np.zeros(sampled)

    def add(self, tile: Grid, share: Floats, held: _Tile) -> None:
        """Take in a tile.

        Args:
            tile: part of `grid`.
            share: of each pixel that belongs to the area, ``(row, col)``.
            held: of the same pixels.
        """
        area = share * held.area_ha
        self.area_ha += float(area.sum())
        self.mapped_ha += float(area[held.known].sum())
        self.t_c += float((area * held.density).sum())
        weight = area * held.sigma
        self.whole.add(self.cells, tile, weight)
        if not len(self.difference):
            return
        self.rest.add(self.cells, tile, np.where(held.of_stands, 0.0, weight))
        error = area * held.error
        self.unseen_ha += float(area[held.of_stands & ~held.learned].sum())
        self.learned_t_c += float(error[held.learned].sum())
        self.of_stands += float((area * held.density)[held.of_stands].sum())
        here = held.kept >= 0
        places, number = held.kept[here], len(self.difference)
        self.difference += np.bincount(places, error[here], number)
        self.sampled_ha += np.bincount(places, area[here], number)

    def told(self, structure: Structure, stock: Stock) -> Json:
        """Area, carbon by pool, intervals and what they consist of."""
        sample = correction(self.difference, self.sampled_ha, self.unseen_ha)
        spread = deviation(structure, self.cells, *(self.rest if sample else self.whole).parts)
        pools = {}
        for name, pool in stock.pools.items():
            if sample is None:
                t_c, found = self.t_c, totals_.halves(self.t_c, spread, stock, name)
            else:
                more = self.learned_t_c + sample.t_c
                t_c, land = self.t_c + more, self.of_stands + more
                found = totals_.sampled_halves(t_c, land, sample, spread, stock, name)
            pools[name] = totals_.told(t_c * pool.share, found)
        return {
            "kind": self.area.kind,
            "name": self.area.name,
            "area_ha": self.area_ha / self.area.share_on_map,
            "mapped_ha": self.mapped_ha,
            "share_on_map": self.area.share_on_map,
            "map_t_c": self.t_c,
            "estimator": MODEL if sample is None else ASSISTED,
            "sample": sample and dataclasses.asdict(sample),
            "pools": pools,
        }


@dataclass(frozen=True)
class _Tile(Rasters):
    """A tile of the map: arrays ``(row, col)``.

    Args:
        density: Mg C/ha, 0 for gaps.
        known: whether it has a value.
        sigma: σ, 0 for gaps.
        area_ha: of the pixels.
        of_stands: whether map and inventory both tell.
        learned: whether the model learned from them.
        error: inventory less map there, 0 elsewhere, Mg C/ha.
        kept: place in the sample of the pixel's stand, −1 for none.
    """

    density: Floats
    known: Bool
    sigma: Floats
    area_ha: Floats
    of_stands: Bool
    learned: Bool
    error: Floats
    kept: Ints


def sums(
    path: Path,
    grid: Grid,
    structure: Structure,
    outlines: Mapping[str, Any],
    classes: Sequence[Source],
    folder: Path,
    sample: Sample | None = None,
) -> list[Sum]:
    """The whole map, then every area on it, then every class.

    Args:
        path: of the map.
        grid: of the map.
        structure: of its errors.
        outlines: of areas by name, in the grid's CRS.
        classes: files of a class raster; none for no classes.
        folder: for what joining them needs.
        sample: stands that were kept aside.

    Raises:
        InputError: the class raster has too many codes to be one.
    """
    number = sample.number if sample else 0
    read = partial(_read, path, structure=structure, sample=sample)
    return added(grid, read, partial(Sum, sampled=number), outlines, classes, folder)


def _read(path: Path, grid: Grid, *, structure: Structure, sample: Sample | None) -> _Tile:
    density = lattice.read_on_grid(path, grid, "map")
    known = np.isfinite(density)
    area = np.broadcast_to(grid.pixel_area_ha(), grid.shape)
    plain, sigma = np.where(known, density, 0.0).astype(np.float64), structure.sigma(density)
    if sample is None:
        none = np.zeros(grid.shape)
        no = none > 0
        return _Tile(plain, known, sigma, area, no, no, none, none.astype(np.int64) - 1)
    label, share, stand = (
        lattice.read_on_grid(sample.labels / f"{name}.tif", grid, "labels")
        for name in (TOTAL, COVERAGE.name, STAND.name)
    )
    row = np.nan_to_num(stand).astype(np.int64) - 1
    both = known & np.isfinite(label) & trustworthy(share, sample.min_coverage)
    both &= np.r_[sample.usable, False][row]
    error = np.where(both, label - plain, 0.0)
    learned = both & np.r_[sample.learned, False][row]
    kept = np.where(both, np.r_[sample.kept, -1][row], -1)
    return _Tile(plain, known, sigma, area, both, learned, error, kept)
