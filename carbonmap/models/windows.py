"""Where a network's windows lie: on cells of the lattice that repeat, whatever is asked for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from carbonmap.grid import Grid

PERIOD_PX = 1024
"""Lattice pixels after which the cells repeat: the stages' tile, so that none is cut in two."""

MARGIN_SHARE = 10
"""A window's margin is at least this part of its edge: what a network makes of its window's rim
leans on padding instead of land."""


REACH_SHARE = 32
"""A window's reach is this part of its edge: 2 pixels of 64, well within its margin."""

LEAST_REACH = 2
"""Pixels, where the margin has as many: with one, steps across edges were still seen."""


@dataclass(frozen=True)
class Window:
    """What a network sees at once, and what is kept of it.

    Args:
        grid: of all that it sees.
        cell: the pixels that it answers for more than any other window.
    """

    grid: Grid
    cell: Grid


def reach(tile_px: int) -> int:
    """Pixels around its cell that a window has a share of.

    Of a U-Net with windows of 64 (`benchmarks/seams.py`, a simulated county), steps across the
    cells' edges were 1.13, 1.05, 0.99 and 0.98 times those of the same land within cells for a
    reach of 0, 1, 2 and 3, and the deviation of six pixels 1.03, 1.02, 1.02 and 1.01 times theirs:
    the mean of two answers is smoother than one, so a longer reach would blur.
    """
    return max(tile_px // REACH_SHARE, min(LEAST_REACH, tile_px // MARGIN_SHARE))


def cells(tile_px: int) -> int:
    """Cells along `PERIOD_PX`: as few as leave every window its margin."""
    return -(-PERIOD_PX // (tile_px - 2 * (tile_px // MARGIN_SHARE)))


def windows(grid: Grid, tile_px: int) -> Iterator[Window]:
    """The windows of the cells that a tile touches, each centred on its cell, row by row.

    Cell k lies between the lattice coordinates ``⌊k P / n⌋`` and ``⌊(k + 1) P / n⌋`` with P
    `PERIOD_PX` and n `cells`, along each axis.
    """
    for (top, bottom), (left, right) in product(
        _spans(grid.row, grid.height, tile_px), _spans(grid.col, grid.width, tile_px)
    ):
        cell = dataclasses.replace(grid, row=top, col=left, height=bottom - top, width=right - left)
        seen = dataclasses.replace(
            grid,
            row=top - (tile_px - cell.height) // 2,
            col=left - (tile_px - cell.width) // 2,
            height=tile_px,
            width=tile_px,
        )
        yield Window(seen, cell)


def _spans(first: int, count: int, tile_px: int) -> Iterator[tuple[int, int]]:
    """First lattice coordinate and the one past the last of each cell that a run touches."""
    n = cells(tile_px)
    for k in range(_cell(first, n), _cell(first + count - 1, n) + 1):
        yield k * PERIOD_PX // n, (k + 1) * PERIOD_PX // n


def _cell(at: int, n: int) -> int:
    """The cell that holds a lattice coordinate."""
    return -(-(at + 1) * n // PERIOD_PX) - 1


def filling(grid: Grid, tile_px: int, size: int) -> Grid:
    """Whole cells from the one that holds a grid's first pixel on, of about its size, in batches.

    Args:
        grid: about so large.
        tile_px: edge of a window.
        size: of a batch, windows; there are a multiple of it.
    """
    n = cells(tile_px)
    down = next(d for d in range(math.isqrt(size), 0, -1) if size % d == 0)
    top, bottom = _run(grid.row, grid.height, down, n)
    left, right = _run(grid.col, grid.width, size // down, n)
    return dataclasses.replace(grid, row=top, col=left, height=bottom - top, width=right - left)


def _run(first: int, count: int, each: int, n: int) -> tuple[int, int]:
    """The ends of a multiple of `each` whole cells, of about `count` pixels from its first on."""
    k, many = _cell(first, n), each * max(1, round(count * n / PERIOD_PX / each))
    return k * PERIOD_PX // n, (k + many) * PERIOD_PX // n


def halo(tile_px: int) -> int:
    """Pixels by which windows see beyond a tile that begins anywhere in a cell."""
    widest = -(-PERIOD_PX // cells(tile_px))
    return reach(tile_px) + widest - 1 + -(-(tile_px - widest) // 2)
