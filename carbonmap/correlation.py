"""How a map's errors resemble each other by distance, and how far that lets a total err.

Errors of neighbouring pixels are alike, so those of a county do not cancel as if they were drawn
apart. With e_i a pixel's error, σ_i how large it is where the map says as much, and a_i the land
that it stands for (Wadoux & Heuvelink 2023, Methods in Ecology and Evolution 14, 1320):

    e_i = σ_i z_i,   E[z_i z_j] = C(d_ij),   Var Σ a_i e_i = Σ_ij a_i σ_i a_j σ_j C(d_ij)
    C(d) = s₀ [i = j] + Σ_k s_k exp(−d / L_k) + s_∞,   no s below 0

Moments are taken about 0, not about the mean error: a model that errs by as much everywhere has it
in s_∞, since whoever maps other land does not know its mean error there. Ranges L_k are given, so
that the shares s follow by non-negative least squares, and any that it finds make a covariance.

Sums over all pairs of pixels become sums over pairs of cells, squares of a few pixels, with the
mean of exp(−d / L) over the pixels of both: exact where a_i σ_i is even within a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pydantic
from pydantic import Field
from scipy.optimize import nnls
from scipy.signal import fftconvolve

from carbonmap.grid import Grid
from carbonmap.settings import STRICT, Spec
from carbonmap.types import Floats, Ints, Raster

EDGES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
"""Between the classes of mapped density in which σ is found, Mg C/ha: errors grow with it."""

RANGES_M = (100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)
"""L_k: from a stand to a district, each about three times the one before; what lies between two is
a mixture of them."""

LEAST_CELL_PX = 8
"""Edge of a cell of a small region: 128 m of 16 m pixels, less than a stand."""

MOST_CELLS = 1024
"""Along a region's edge; cells of larger regions grow, in powers of 2."""

LAG_RATIO = 1.5
"""Between the bounds of neighbouring classes of distance."""

LEAST_PAIRS = 100_000
"""Of pixels, for a class of distance to count."""

LEAST_PIXELS = 1000
"""From which a structure is told; fewer tell little more than their own stand."""

LEAST_OF_CLASS = 300
"""Pixels from which a class of density has a σ of its own."""

NEAR_CELLS = 4
"""Within which exp(−d / L) is averaged over pixels; farther off, the cells' centres tell it."""

Shares = Annotated[float, Field(ge=0)]


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Structure(Spec):
    """σ and C, as found on pixels that a model never saw.

    Args:
        rms_mg_c_ha: σ in each class of mapped density, parted by `EDGES`.
        nugget: s₀.
        shares: s_k of each of `RANGES_M`.
        common: s_∞.
        pixels: that it was found on.
    """

    rms_mg_c_ha: tuple[Shares, ...]
    nugget: Shares
    shares: tuple[Shares, ...]
    common: Shares
    pixels: Annotated[int, Field(ge=1)]

    def __post_init__(self) -> None:
        if len(self.rms_mg_c_ha) != len(EDGES) + 1 or len(self.shares) != len(RANGES_M):
            raise ValueError(
                f"want {len(EDGES) + 1} deviations and {len(RANGES_M)} shares, got "
                f"{len(self.rms_mg_c_ha)} and {len(self.shares)}"
            )

    def sigma(self, density: Raster) -> Floats:
        """σ of every pixel, Mg C/ha, 0 where the map has no value; in the shape of `density`."""
        found = np.asarray(self.rms_mg_c_ha)[_classes(density)]
        return np.where(np.isfinite(density), found, 0.0)


@dataclass(frozen=True)
class Cells:
    """Squares of pixels on a grid's lattice, over all of the grid.

    Args:
        grid: of the pixels.
        edge_px: of a cell; a power of 2.
    """

    grid: Grid
    edge_px: int

    @classmethod
    def over(cls, grid: Grid) -> Cells:
        """Cells small enough for a stand, and few enough to be held in memory."""
        edge = LEAST_CELL_PX
        while max(grid.shape) > MOST_CELLS * edge:
            edge *= 2
        return cls(grid, edge)

    @property
    def edge_m(self) -> float:
        """Edge of a cell, m."""
        return self.edge_px * self.grid.pixel_m

    @property
    def shape(self) -> tuple[int, int]:
        """``(row, col)`` counts of cells."""
        rows, cols = self._numbers(self.grid)
        return int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1

    def add(self, sums: Floats, tile: Grid, values: Floats) -> None:
        """Add a tile's values to the sums of the cells that hold them.

        Args:
            sums: ``(…, *shape)``, changed in place.
            tile: part of the grid.
            values: ``(…, row, col)`` of the tile.
        """
        rows, cols = self._numbers(tile)
        first_row, first_col = (numbers[0] for numbers in self._numbers(self.grid))
        some_rows, row_starts = np.unique(rows, return_index=True)
        some_cols, col_starts = np.unique(cols, return_index=True)
        part = np.add.reduceat(np.add.reduceat(values, row_starts, -2), col_starts, -1)
        top, left = some_rows[0] - first_row, some_cols[0] - first_col
        sums[..., top : top + len(some_rows), left : left + len(some_cols)] += part

    def _numbers(self, grid: Grid) -> tuple[Ints, Ints]:
        """Of each row and column of pixels, the cell that it belongs to."""
        return (
            (grid.row + np.arange(grid.height)) // self.edge_px,
            (grid.col + np.arange(grid.width)) // self.edge_px,
        )


class Residuals:
    """Errors of a map's pixels, added up by cell and by class of mapped density.

    Args:
        grid: of the map.
    """

    def __init__(self, grid: Grid) -> None:
        self.cells = Cells.over(grid)
        self.sums = np.zeros((len(EDGES) + 1, *self.cells.shape))
        self.counts = np.zeros(self.cells.shape)
        self.squares = np.zeros(len(EDGES) + 1)
        self.number = np.zeros(len(EDGES) + 1)

    def add(self, tile: Grid, density: Raster, error: Raster) -> None:
        """Take in a tile.

        Args:
            tile: part of the grid.
            density: of the map, Mg C/ha, ``(row, col)``.
            error: truth − map, Mg C/ha, NaN where it is not to count; same shape.
        """
        known = np.isfinite(error)
        if not known.any():
            return
        place, plain = _classes(density), np.where(known, error, 0.0).astype(np.float64)
        self.cells.add(self.counts, tile, known.astype(np.float64))
        for k in range(len(EDGES) + 1):
            here = known & (place == k)
            if here.any():
                own = np.where(here, plain, 0.0)
                self.cells.add(self.sums[k], tile, own)
                self.squares[k] += float(np.square(own).sum())
                self.number[k] += int(here.sum())

    def structure(self) -> Structure | None:
        """Of this map alone; see `pooled`."""
        return pooled([self])


def pooled(found: Sequence[Residuals]) -> Structure | None:
    """σ and C of several maps of one grid, such as by several images, each map by itself.

    Pixels of different maps make no pairs, and the sums of all are told by one σ a class: what a
    total errs by is then the root of the mean of its squared errors.

    None of fewer than `LEAST_PIXELS` pixels or too few neighbours, or of no errors.
    """
    squares, number = (sum(getattr(r, name) for r in found) for name in ("squares", "number"))
    pixels = int(number.sum())
    if pixels < LEAST_PIXELS or not squares.any():
        return None
    rms = _rms(squares, number)
    inverse = np.divide(1.0, rms, out=np.zeros_like(rms), where=rms > 0)
    square = float((squares * inverse**2).sum())
    fields = [(np.tensordot(inverse, one.sums, 1), one.counts) for one in found]
    fitted = _fitted(found[0].cells, fields, square)
    if fitted is None:
        return None
    *shares, common = fitted
    nugget = max(0.0, square / pixels - sum(shares) - common)
    return Structure(tuple(rms.tolist()), nugget, tuple(shares), common, pixels)


def _rms(squares: Floats, number: Floats) -> Floats:
    """σ of every class; one of few pixels has that of the nearest with many, the lower.

    Classes above all that have many get the largest σ: the densest forests err the most.
    """
    held = np.flatnonzero(number >= LEAST_OF_CLASS)
    if not held.size:
        return np.full(len(EDGES) + 1, math.sqrt(float(squares.sum() / number.sum())))
    near = held[np.abs(held[:, None] - np.arange(len(EDGES) + 1)).argmin(0)]
    found = np.sqrt(squares[near] / number[near])
    found[held[-1] + 1 :] = found.max()
    return np.asarray(found)


def deviation(structure: Structure, cells: Cells, weights: Floats, squares: float) -> float:
    """Standard deviation of Σ u_i z_i, with u_i = a_i σ_i what a pixel's error is multiplied by.

    Args:
        structure: of the errors.
        cells: over the pixels.
        weights: Σ u of every cell, ``cells.shape``.
        squares: Σ u² over the pixels.

    Returns:
        In the unit of u: t C where a is in ha and σ in Mg C/ha.
    """
    paired = _pairs(weights)
    variance = structure.nugget * squares + structure.common * float(weights.sum()) ** 2
    for share, length in zip(structure.shares, RANGES_M, strict=True):
        if share:
            variance += share * float((paired * _kernel(cells, length)).sum())
    return math.sqrt(max(variance, 0.0))


def _classes(density: Raster) -> Ints:
    return np.searchsorted(EDGES, np.nan_to_num(density), side="right")


def _fitted(
    cells: Cells, fields: Sequence[tuple[Floats, Floats]], square: float
) -> list[float] | None:
    """The shares of `RANGES_M`, then s_∞, from pairs up to half the extent apart.

    Each class of distance counts alike: near ones have few pairs, far ones few independent ones.
    Without pairs within a cell and between neighbouring ones nothing tells how errors begin to
    differ, and there is no answer.

    Args:
        cells: over the pixels.
        fields: of each map, sums of standardised errors and counts of pixels, by cell.
        square: Σ z² over the pixels; pairs of a pixel with itself are the nugget's.
    """
    products, numbers = (np.sum([_pairs(f[k]) for f in fields], 0) for k in (0, 1))
    products[0, 0] -= square
    numbers[0, 0] -= sum(counts.sum() for _, counts in fields)
    apart = _distance(cells)
    reach = cells.edge_m * math.hypot(*cells.shape) / 2
    ranges = [r for r in RANGES_M if r <= max(reach, RANGES_M[0])]
    place = _lags(apart, cells.edge_m)
    numbers = np.where(apart <= reach, np.maximum(numbers, 0), 0)
    total = np.bincount(place, numbers.ravel())
    enough = total >= LEAST_PAIRS
    if not enough[:2].all():
        return None

    def mean(values: Floats) -> Floats:
        summed = np.bincount(place, np.where(numbers > 0, values, 0).ravel())
        return np.asarray(summed[enough] / total[enough])

    columns = []
    for length in ranges:
        kernel = _kernel(cells, length)
        both, itself = cells.edge_px**4, cells.edge_px**2
        kernel[0, 0] = (kernel[0, 0] * both - itself) / (both - itself)
        columns.append(mean(numbers * kernel))
    table = np.stack([*columns, np.ones(int(enough.sum()))], 1)
    shares = nnls(table, mean(products))[0]
    return [*shares[:-1].tolist(), *[0.0] * (len(RANGES_M) - len(ranges)), float(shares[-1])]


def _pairs(values: Floats) -> Floats:
    """Σ v(c) v(c′) over all pairs of cells, by how many rows and columns they lie apart.

    Returns:
        In the shape of `values`: at ``(i, j)`` pairs i rows and j columns apart, either way.
    """
    rows, cols = values.shape
    full = fftconvolve(values, values[::-1, ::-1])
    found = full[rows - 1 :].copy()
    found[1:] += full[: rows - 1][::-1]
    out = found[:, cols - 1 :].copy()
    out[:, 1:] += found[:, : cols - 1][:, ::-1]
    return np.asarray(out)


def _distance(cells: Cells) -> Floats:
    """Between centres of cells so many rows and columns apart, m, ``cells.shape``."""
    rows, cols = (np.arange(n) * cells.edge_m for n in cells.shape)
    return np.asarray(np.hypot(rows[:, None], cols))


def _lags(apart: Floats, edge_m: float) -> Ints:
    """The class of each distance: 0 within a cell, then each `LAG_RATIO` times as far; flat."""
    steps = np.log(np.maximum(apart, edge_m) / edge_m) / math.log(LAG_RATIO)
    return np.where(apart > 0, 1 + np.floor(steps + 1e-9), 0).astype(np.int64).ravel()


def _kernel(cells: Cells, length: float) -> Floats:
    """Mean of exp(−d / L) over the pairs of two cells' pixels, by rows and columns apart."""
    out = np.exp(-_distance(cells) / length)
    edge, pixel = cells.edge_px, cells.grid.pixel_m
    shift = np.arange(1 - edge, edge)
    pairs = edge - np.abs(shift)  # of pixels so far apart, along one side
    number = pairs[:, None] * pairs / edge**4
    near = np.ndindex(*np.minimum(out.shape, NEAR_CELLS + 1))
    for i, j in near:
        apart = np.hypot((i * edge + shift)[:, None], j * edge + shift) * pixel
        out[i, j] = float((number * np.exp(-apart / length)).sum())
    return np.asarray(out)
