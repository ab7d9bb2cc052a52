"""How windows share the pixels between them: in whole numbers, whose sums depend on no order.

A window answers for its cell of the lattice and, ever less, for the pixels around it, where its
neighbours' shares grow as its own fades. Densities are counted in steps and weights in parts of
`FULL`, so that a pixel's sum is exact, whoever adds it up: windows of one tile, or two processes
that never met.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from carbonmap.grid import Grid
from carbonmap.types import Floats, Ints

STEPS = 32
"""Parts of a weight along one axis: fine enough that no step of a ramp is larger than what a map's
colours show, and coarse enough that sums fit 32 bits."""

FULL = STEPS**2
"""Weight of a pixel that one window answers for alone."""

MOST = 2**31 // FULL - 1
"""Largest density in quanta: the sum of a pixel's shares is `FULL` times as large."""

FINEST = 2.0**-10
"""Mg C/ha, a kilogram of carbon per hectare: no map is that exact."""

Whole = NDArray[np.int32]


@dataclass(frozen=True)
class Shares:
    """What some windows give to the pixels of a rectangle.

    Args:
        grid: of the rectangle.
        sums: Σ weight · quanta of each draw, ``(draw, row, col)``.
        weights: Σ weight, ``(row, col)``: `FULL` where every window has given its share, less
            beside one that was left out, 0 where nothing is known.
    """

    grid: Grid
    sums: Whole
    weights: Whole

    def draws(self, quantum: float) -> Floats:
        """The blended draws, Mg C/ha, float32, ``(draw, row, col)``; NaN where nothing is known."""
        known = self.weights > 0
        out = np.full(self.sums.shape, np.nan, np.float32)
        np.divide(self.sums, self.weights, out=out, where=known, casting="unsafe")
        out *= np.float32(quantum)  # a power of two, which rounds nothing
        return out

    def add(self, other: Shares) -> None:
        """Take in what other windows give to the pixels that both rectangles hold."""
        if (both := self.grid.intersection(other.grid)) is not None:
            own, theirs = self.grid.roi_of(both), other.grid.roi_of(both)
            self.sums[:, *own] += other.sums[:, *theirs]
            self.weights[own] += other.weights[theirs]


def nothing(grid: Grid, count: int) -> Shares:
    """No share of any pixel yet."""
    return Shares(grid, np.zeros((count, *grid.shape), np.int32), np.zeros(grid.shape, np.int32))


def quantum(scale: float) -> float:
    """Mg C/ha of a quantum, a power of two, for densities up to `scale`."""
    return max(FINEST, 2.0 ** math.ceil(math.log2(scale / MOST)))


def quanta(density: Floats, step: float) -> Whole:
    """Densities, not below 0 nor above the scale of `quantum`, as whole numbers of quanta."""
    whole: Whole = np.rint(density * np.float32(1 / step)).astype(np.int32)
    return whole


def weights(cell: Grid, reach: int) -> Whole:
    """Weights of a window around its cell, the shape of ``cell.padded(reach)``.

    A ramp sin² wide 2 `reach` across the cell's edge, `STEPS` of them together with the
    neighbour's at every pixel.
    """
    down, across = (_span(length, reach) for length in cell.shape)
    return np.asarray(np.outer(down, across), np.int32)


def _span(length: int, reach: int) -> Ints:
    t = (np.arange(reach) + 0.5) / (2 * reach) if reach else np.zeros(0)
    low = np.rint(STEPS * np.sin(np.pi / 2 * t) ** 2).astype(np.int64)
    ramp = np.concatenate([low, STEPS - low[::-1]])
    level = np.full(length - 2 * reach, STEPS)
    return np.concatenate([ramp, level, ramp[::-1]])


def blended(
    windows: Iterable[tuple[Grid, Whole]], area: Grid, reach: int, count: int
) -> Iterator[Shares]:
    """Strips of rows of an area, from the top, each once no window is left that adds to it.

    So the draws of a few windows' height are in memory at a time, however many rows there are.

    Args:
        windows: cells in the order of their rows, with the quanta of their pixels,
            ``(draw, row, col)`` over ``cell.padded(reach)``; those without any may be left out.
        area: whose rows; what windows give to others is dropped.
        reach: pixels around its cell that a window has a share of, half a cell at most.
        count: of draws.

    Yields:
        Strips that do not overlap; rows to which no window gives anything may be left out.
    """
    rest: Shares | None = None
    for row, group in groupby(windows, key=lambda one: one[0].row):
        held, cut = None, area.row
        for cell, values in group:
            if held is None:
                cut = row + cell.height - reach
                held = nothing(_rows(area, row - reach, cut + 2 * reach), count)
            weight = weights(cell, reach)
            held.add(Shares(cell.padded(reach), values * weight, weight))
        assert held is not None  # a group holds one at least
        if rest is not None and rest.grid.row >= held.grid.row:
            held.add(rest)
        elif rest is not None:
            yield rest
        done, rest = _cut(held, cut)
        if done is not None:
            yield done
    if rest is not None:
        yield rest


def _rows(area: Grid, top: int, bottom: int) -> Grid:
    """The rows of an area between two rows of the lattice."""
    return area[max(top - area.row, 0) : bottom - area.row, :]


def _cut(shares: Shares, at: int) -> tuple[Shares | None, Shares | None]:
    """What lies above a row of the lattice, and what does not."""
    height = min(max(at - shares.grid.row, 0), shares.grid.height)
    parts = (
        Shares(shares.grid[rows, :], shares.sums[:, rows], shares.weights[rows])
        if rows.stop > rows.start
        else None
        for rows in (slice(0, height), slice(height, shares.grid.height))
    )
    above, below = parts
    return above, below
