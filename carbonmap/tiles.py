"""Tiles of a grid, cut on its lattice and never on the request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from carbonmap.grid import Grid


@dataclass(frozen=True)
class Tile:
    """One rectangle of work: its place in the request's array, and its own grid."""

    name: str
    roi: tuple[slice, slice]
    grid: Grid


def tiles(grid: Grid, size: int, near: Grid | None = None) -> Iterator[Tile]:
    """The tiles of `size` pixels that a grid touches, row by row, cropped to it.

    Borders lie on multiples of `size` from the lattice's anchor, so a county and its province cut
    the land at the same lines; names hold those lattice numbers.

    Args:
        grid: all of it.
        size: edge of a tile.
        near: only the tiles that touch this.
    """
    seen = (near or grid).intersection(grid)
    if seen is None:
        return
    for row in range(seen.row // size, (seen.row + seen.height - 1) // size + 1):
        for col in range(seen.col // size, (seen.col + seen.width - 1) // size + 1):
            rows = _span(row * size, size, grid.row, grid.height)
            cols = _span(col * size, size, grid.col, grid.width)
            yield Tile(f"r{row}c{col}", (rows, cols), grid[rows, cols])


def _span(start: int, size: int, first: int, count: int) -> slice:
    return slice(max(start - first, 0), min(start + size - first, count))
