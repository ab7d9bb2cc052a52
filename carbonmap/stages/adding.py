"""A map added up tile by tile: over all of it, over outlines and over classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from carbonmap import progress
from carbonmap import totals as totals_
from carbonmap.correlation import Cells, Structure, deviation
from carbonmap.coverage import polygon_coverage
from carbonmap.errors import InputError
from carbonmap.grid import Grid
from carbonmap.io import lattice, mosaic
from carbonmap.io.raster import Source
from carbonmap.stages.common import TILE_PX
from carbonmap.stages.mask import CLASSES
from carbonmap.tiles import tiles
from carbonmap.totals import Stock
from carbonmap.types import Floats, Json

MOST_CLASSES = 256
"""Codes of a class map; more are measurements, not classes."""


class Sum:
    """What one area holds, added up tile by tile.

    Args:
        kind: "map", "area" or "class".
        name: of the area.
        grid: pixels that it may lie on.
        share_on_map: of its land.
    """

    def __init__(self, kind: str, name: str, grid: Grid, share_on_map: float = 1.0) -> None:
        self.kind, self.name, self.grid, self.share_on_map = kind, name, grid, share_on_map
        self.cells = Cells.over(grid)
        self.weights = np.zeros(self.cells.shape)
        self.squares = self.area_ha = self.mapped_ha = self.t_c = 0.0

    def add(self, tile: Grid, share: Floats, held: _Tile) -> None:
        """Take in a tile.

        Args:
            tile: part of `grid`.
            share: of each pixel that belongs to the area, ``(row, col)``.
            held: of the same pixels.
        """
        area = share * held.area_ha
        weight = area * held.sigma
        self.cells.add(self.weights, tile, weight)
        self.squares += float(np.square(weight).sum())
        self.area_ha += float(area.sum())
        self.mapped_ha += float(area[held.known].sum())
        self.t_c += float((area * held.density).sum())

    def told(self, structure: Structure, stock: Stock) -> Json:
        """Area, carbon by pool, intervals and what they consist of."""
        spread = deviation(structure, self.cells, self.weights, self.squares)
        pools = {
            name: totals_.told(self.t_c * pool.share, totals_.halves(self.t_c, spread, stock, name))
            for name, pool in stock.pools.items()
        }
        return {
            "kind": self.kind,
            "name": self.name,
            "area_ha": self.area_ha / self.share_on_map,
            "mapped_ha": self.mapped_ha,
            "pools": pools,
        }


@dataclass(frozen=True)
class _Tile:
    """A tile of the map: densities with 0 for gaps, what is known, σ and areas, ``(row, col)``."""

    density: Floats
    known: Any
    sigma: Floats
    area_ha: Floats

    def __getitem__(self, roi: tuple[slice, slice]) -> _Tile:
        return _Tile(*(part[roi] for part in (self.density, self.known, self.sigma, self.area_ha)))


def sums(
    path: Path,
    grid: Grid,
    structure: Structure,
    outlines: Mapping[str, Any],
    classes: Sequence[Source],
    folder: Path,
) -> list[Sum]:
    """The whole map, then every area on it, then every class.

    Args:
        path: of the map.
        grid: of the map.
        structure: of its errors.
        outlines: of areas by name, in the grid's CRS.
        classes: files of a class raster; none for no classes.
        folder: for what joining them needs.

    Raises:
        InputError: the class raster has too many codes to be one.
    """
    whole, named = Sum("map", "whole map", grid), _named(outlines, grid)
    shapes = np.array([outlines[one.name] for one in named], dtype=object)
    codes: dict[int, Sum] = {}
    plan = mosaic.join(classes, grid, folder, CLASSES) if classes else None
    todo = list(tiles(grid, TILE_PX))
    for tile in progress.track(todo, "adding up", len(todo)):
        held = _read(path, tile.grid, structure)
        whole.add(tile.grid, np.ones(tile.grid.shape), held)
        for place, share in _covered(shapes, tile.grid):
            one = named[place]
            part = one.grid.intersection(tile.grid)
            assert part is not None  # it covers some of the tile
            roi = tile.grid.roi_of(part)
            one.add(part, share[roi], held[roi])
        if plan is not None:
            for code, share in _coded(plan.read(tile.grid)):
                if code not in codes:
                    _require_few(codes, code)
                    codes[code] = Sum("class", str(code), grid)
                codes[code].add(tile.grid, share, held)
    return [whole, *named, *(codes[code] for code in sorted(codes))]


def _named(outlines: Mapping[str, Any], grid: Grid) -> list[Sum]:
    """Empty sums of the areas that lie on the map."""
    box, found = shapely.box(*grid.bounds), []
    for name, outline in outlines.items():
        inside = shapely.intersection(outline, box)
        if shapely.area(inside) > 0:
            near = Grid.covering(inside.bounds, grid.crs, grid.pixel_m, grid.anchor)
            near = near.intersection(grid) or grid
            found.append(Sum("area", name, near, shapely.area(inside) / shapely.area(outline)))
    return found


def _read(path: Path, grid: Grid, structure: Structure) -> _Tile:
    density = lattice.read_on_grid(path, grid, "map")
    known = np.isfinite(density)
    area = np.broadcast_to(grid.pixel_area_ha(), grid.shape)
    plain = np.where(known, density, 0.0).astype(np.float64)
    return _Tile(plain, known, structure.sigma(density), area)


def _covered(shapes: Any, grid: Grid) -> Iterator[tuple[int, Floats]]:
    """The areas on a tile, and the share of each pixel that is theirs."""
    if not len(shapes):
        return
    cover = polygon_coverage(shapes, grid)
    for place in np.unique(cover.stand):
        here = cover.stand == place
        share = np.zeros(grid.size)
        share[cover.cell[here]] = cover.fraction[here]
        yield int(place), share.reshape(grid.shape)


def _coded(codes: Floats) -> Iterator[tuple[int, Floats]]:
    """The classes on a tile, and where they are."""
    for code in np.unique(codes[np.isfinite(codes)]):
        yield int(code), (codes == code).astype(np.float64)


def _require_few(codes: Mapping[int, Sum], code: int) -> None:
    if len(codes) >= MOST_CLASSES:
        raise InputError(
            f"the class raster has more than {MOST_CLASSES} codes ({code} came after "
            f"{', '.join(map(str, sorted(codes)[:3]))} …): a measurement, not a class map"
        )
