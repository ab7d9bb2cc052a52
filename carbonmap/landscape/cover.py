"""Which stand covers how much of each pixel: exact, and the same to the last bit in every tile.

Work happens in pixel units of the whole lattice, y growing southwards, so that a place has the
same numbers in every tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carbonmap.grid import Grid
from carbonmap.landscape.mesh import Mesh
from carbonmap.types import Bool, Floats, Ints, Plots

NOBODY = -1
"""Owner of land whose stand the mesh does not hold."""

SLIVER = 1e-9
"""Shares of a pixel below this are rounding (coordinates carry about 1e-11 of a pixel)."""


@dataclass(frozen=True)
class Cover:
    """Shares of pixels by stand.

    Args:
        owner: the stand that covers the pixel whole, else NOBODY, shape ``(row, col)``.
        pixel: flat index of a pixel that several share, once per stand, shape ``(part,)``.
        stand: that stand.
        share: how much of the pixel it covers, in (0, 1].
    """

    owner: Ints
    pixel: Ints
    stand: Ints
    share: Floats

    def average(self, values: Floats) -> Floats:
        """Raster of a property of stands, mixed by share where several meet; 0 where NOBODY is."""
        padded = np.append(values, 0.0)  # NOBODY indexes the last
        raster = padded[self.owner].ravel()
        raster[self.pixel] = 0
        np.add.at(raster, self.pixel, self.share * values[self.stand])
        return raster.reshape(self.owner.shape)

    def total(self, raster: Floats, stands: int) -> Plots:
        """Sum of a raster over each stand, pixels in raster order, in pixels."""
        flat = np.asarray(raster, dtype=np.float64).ravel()
        owner = self.owner.ravel()
        whole = owner >= 0
        return np.asarray(
            np.bincount(owner[whole], flat[whole], stands)
            + np.bincount(self.stand, flat[self.pixel] * self.share, stands)
        )


@dataclass(frozen=True)
class _Lines:
    """Directed pieces of edges in pixel units, with the stands on their left and right hand."""

    x1: Floats
    y1: Floats
    x2: Floats
    y2: Floats
    left: Ints
    right: Ints

    def __getitem__(self, chosen: Bool) -> _Lines:
        return _Lines(
            self.x1[chosen],
            self.y1[chosen],
            self.x2[chosen],
            self.y2[chosen],
            self.left[chosen],
            self.right[chosen],
        )


Parts = tuple[Ints, Ints, Ints, Floats]
"""Contributions to shares: lattice row and column of the pixel, stand, area in pixels."""


def cover(mesh: Mesh, grid: Grid) -> Cover:
    """Exact shares of each pixel by stand.

    By Gauss's theorem: the area of a stand inside a pixel is its length along the pixel's right
    border, less ``∮ x dy`` (x from the left border) over the pieces of its edge inside the pixel.
    """
    lines = _lines(mesh, grid)
    owner = _corner_owners(lines, grid)
    lines = lines[np.maximum(lines.x1, lines.x2) >= grid.col]
    row, col, stand, part = (
        np.concatenate(parts)
        for parts in zip(*_inside(lines), *_on_right_borders(lines), strict=True)
    )
    row, col = row - grid.row, col - grid.col
    here = (row >= 0) & (row < grid.height) & (col >= 0) & (col < grid.width)
    pixel = row[here] * grid.width + col[here]
    mixed = np.unique(pixel)
    pixel, stand, share = _sums(
        np.concatenate([pixel, mixed]),
        np.concatenate([stand[here], owner.ravel()[mixed]]),
        np.concatenate([part[here], np.ones(mixed.size)]),
    )
    owner.ravel()[mixed] = NOBODY
    kept = (stand >= 0) & (share > SLIVER)
    return Cover(owner, pixel[kept], stand[kept], np.minimum(share[kept], 1.0))


def _lines(mesh: Mesh, grid: Grid) -> _Lines:
    """The mesh in pixel units, less the pieces above, below and east of the grid."""
    x1, x2 = (mesh.lines[:, 0::2].T - grid.anchor[0]) / grid.pixel_m
    y1, y2 = (grid.anchor[1] - mesh.lines[:, 1::2].T) / grid.pixel_m
    return _Lines(x1, y1, x2, y2, mesh.left, mesh.right)[
        (np.maximum(y1, y2) >= grid.row)
        & (np.minimum(y1, y2) <= grid.row + grid.height)
        & (np.minimum(x1, x2) <= grid.col + grid.width)
    ]


def _corner_owners(lines: _Lines, grid: Grid) -> Ints:
    """The stand at the lower right corner of each pixel, by scan lines; shape ``(row, col)``.

    Along each row of corners, whoever lies east of a crossing owns the corners up to the next. The
    corner of a pixel that no line enters speaks for the whole pixel.
    """
    line, row = _whole_between(lines.y1, lines.y2)
    slope = (lines.x2 - lines.x1)[line] / (lines.y2 - lines.y1)[line]
    x = lines.x1[line] + (row - lines.y1[line]) * slope
    row = row - 1 - grid.row
    col = np.maximum(np.ceil(x).astype(np.int64) - 1 - grid.col, 0)
    east = np.where((lines.y2 > lines.y1)[line], lines.left[line], lines.right[line])
    here = (row >= 0) & (row < grid.height) & (col < grid.width)
    starts = np.arange(grid.height) * grid.width
    at = np.concatenate([starts, row[here] * grid.width + col[here]])
    x = np.concatenate([np.full(grid.height, -np.inf), x[here]])
    east = np.concatenate([np.full(grid.height, NOBODY), east[here]]).astype(np.int32)
    order = np.lexsort((x, at))
    lengths = np.diff(at[order], append=grid.size)
    return np.repeat(east[order], lengths).reshape(grid.shape)


def _inside(lines: _Lines) -> tuple[Parts, Parts]:
    """``∮ x dy`` of the lines, cut at the pixels' borders.

    Facing south (y grows), the left hand is east: what lies west goes from the left stand to the
    right one.
    """
    number = np.arange(lines.x1.size)
    down, x = _whole_between(lines.x1, lines.x2)
    over, y = _whole_between(lines.y1, lines.y2)
    line = np.concatenate([number, number, down, over])
    t_down, t_over = _fraction(lines.x1, lines.x2, down, x), _fraction(lines.y1, lines.y2, over, y)
    t = np.concatenate([np.zeros(number.size), np.ones(number.size), t_down, t_over])
    x_over = lines.x1[over] + t_over * (lines.x2 - lines.x1)[over]
    y_down = lines.y1[down] + t_down * (lines.y2 - lines.y1)[down]
    order = np.lexsort((t, line))
    line = line[order]
    x = np.concatenate([lines.x1, lines.x2, x, x_over])[order]
    y = np.concatenate([lines.y1, lines.y2, y_down, y])[order]
    same = line[1:] == line[:-1]
    line = line[1:][same]
    middle_x, middle_y = ((x[1:] + x[:-1]) / 2)[same], ((y[1:] + y[:-1]) / 2)[same]
    row, col = np.floor(middle_y).astype(np.int64), np.floor(middle_x).astype(np.int64)
    west = (middle_x - col) * (y[1:] - y[:-1])[same]
    return (row, col, lines.left[line], -west), (row, col, lines.right[line], west)


def _on_right_borders(lines: _Lines) -> tuple[Parts, Parts]:
    """What a crossing of a pixel's right border gives the stand above and takes from the one below.

    Measured from the pixel's top, as if the whole border were of the owner of its lower end.
    """
    line, x = _whole_between(lines.x1, lines.x2)
    t = _fraction(lines.x1, lines.x2, line, x)
    y = lines.y1[line] + t * (lines.y2 - lines.y1)[line]
    row, col = np.floor(y).astype(np.int64), x - 1
    eastwards = (lines.x2 > lines.x1)[line]
    above = np.where(eastwards, lines.left[line], lines.right[line])
    below = np.where(eastwards, lines.right[line], lines.left[line])
    return (row, col, above, y - row), (row, col, below, row - y)


def _whole_between(one: Floats, other: Floats) -> tuple[Ints, Ints]:
    """Whole numbers between two ends (the lower end counts), and the line each belongs to."""
    low = np.ceil(np.minimum(one, other)).astype(np.int64)
    count = np.ceil(np.maximum(one, other)).astype(np.int64) - low
    line = np.repeat(np.arange(low.size), count)
    before = np.cumsum(count) - count
    return line, low[line] + (np.arange(line.size) - before[line])


def _fraction(one: Floats, other: Floats, line: Ints, at: Ints) -> Floats:
    """How far along each line the coordinate lies, in [0, 1]."""
    return (at - one[line]) / (other - one)[line]


def _sums(pixel: Ints, stand: Ints, part: Floats) -> tuple[Ints, Ints, Floats]:
    """Parts of one pixel and stand added up, in the order given; sorted by pixel, then stand."""
    order = np.lexsort((stand, pixel))
    pixel, stand, part = pixel[order], stand[order], part[order]
    first = np.append(True, (pixel[1:] != pixel[:-1]) | (stand[1:] != stand[:-1]))[: pixel.size]
    return pixel[first], stand[first], np.bincount(np.cumsum(first) - 1, part).astype(np.float64)
