"""Stands as a mesh: irregular cells that tile the land, with shared edges and no gaps.

Cells are the Voronoi cells of a jittered lattice. Each edge is bent inside the triangle that it
spans with one of its two seeds; those triangles tile the plane, so no two edges can cross. Some
cells join the neighbour with which they share the longest edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from carbonmap.fields import field_key, uniform
from carbonmap.grid import Grid
from carbonmap.landscape.county import County
from carbonmap.landscape.outlines import PIECES, Edges, outlines
from carbonmap.types import Floats, Ints

JITTER = 0.42
"""Largest shift of a seed along each axis, in lattice squares; below 1/2 it stays in its square."""

PAD = 12
"""Lattice squares read around a grid. Every point has a seed within √2·(1/2 + JITTER) = 1.3 squares
and neighbours lie within 2.6, so a stand that touches the grid has its cells within 1.3 + 2 · 2.6 =
6.5 squares, less than PAD − CORE, and what decides their borders lies within 2.6 more: 9.1."""

CORE = 3
"""Outermost squares whose cells are not used: triangles on the hull are no Voronoi vertices."""

BEND = 0.25
"""Largest departure of a bent edge from the straight, as a share of its length."""

FAN = 0.45
"""… and as a share of the way to the seed; below 1 it stays in its triangle."""


@dataclass(frozen=True)
class Mesh:
    """The stands that touch a grid, whole, in the order of their lattice places.

    Args:
        row: lattice row (northwards) of each stand's own cell, shape ``(stand,)``.
        col: lattice column (eastwards), same shape.
        x: easting of its seed, m, same shape.
        y: northing of its seed, m, same shape.
        geometry: its polygon, same shape.
        lines: pieces of the edges as x1, y1, x2, y2, m, shape ``(piece, 4)``.
        left: stand on the left of each piece, −1 for one that is not here, shape ``(piece,)``.
        right: stand on its right.
    """

    row: Ints
    col: Ints
    x: Floats
    y: Floats
    geometry: NDArray[np.object_]
    lines: Floats
    left: Ints
    right: Ints


@lru_cache(maxsize=4)
def mesh(grid: Grid, county: County) -> Mesh:
    """The stands whose polygons touch the grid.

    A stand is the same to the last bit whatever grid asked: it follows from its lattice place, and
    every sum runs in lattice order. The last few are kept, as each layer of a tile asks anew.
    """
    row, col = _cells(grid, county.cell_m)
    seeds = _seeds(row, col, county)
    edges = _edges(row, col, seeds, county)
    near = _near(edges, row.size, grid.bounds)
    geometry = np.full(row.size, None, dtype=object)
    geometry[near] = outlines(edges, near)
    stands = near[shapely.intersects(geometry[near], shapely.box(*grid.bounds))]
    number = np.full(row.size, -1)
    number[stands] = np.arange(stands.size)
    left, right = number[edges.left], number[edges.right]
    used = (left >= 0) | (right >= 0)
    points = edges.points[used]
    lines = np.concatenate([points[:, :-1], points[:, 1:]], axis=2).reshape(-1, 4)
    return Mesh(
        row[stands],
        col[stands],
        seeds[stands, 0],
        seeds[stands, 1],
        geometry[stands],
        lines,
        np.repeat(left[used], PIECES),
        np.repeat(right[used], PIECES),
    )


def _cells(grid: Grid, cell_m: float) -> tuple[Ints, Ints]:
    """Lattice places around a grid, row by row; the lattice starts at the CRS's origin."""
    left, bottom, right, top = (int(np.floor(bound / cell_m)) for bound in grid.bounds)
    rows = np.arange(bottom - PAD, top + PAD + 1)
    cols = np.arange(left - PAD, right + PAD + 1)
    row, col = np.meshgrid(rows, cols, indexing="ij")
    return row.ravel(), col.ravel()


def _seeds(row: Ints, col: Ints, county: County) -> Floats:
    """One point in the square of each cell, m, shape ``(cell, 2)``."""
    shift_x = uniform(row, col, field_key(county.seed, "seed x"))
    shift_y = uniform(row, col, field_key(county.seed, "seed y"))
    x = col + 0.5 + JITTER * (2 * shift_x - 1)
    y = row + 0.5 + JITTER * (2 * shift_y - 1)
    return np.stack([x, y], axis=1) * county.cell_m


def _edges(row: Ints, col: Ints, seeds: Floats, county: County) -> Edges:
    """The borders between stands."""
    corners, neighbours, centres = _triangles(seeds, county.cell_m)
    tri, side = np.nonzero(neighbours > np.arange(len(corners))[:, None])
    other = neighbours[tri, side]
    pair = np.sort(corners[tri][np.arange(3) != side[:, None]].reshape(-1, 2), axis=1)
    inner = (
        (row >= row.min() + CORE)
        & (row <= row.max() - CORE)
        & (col >= col.min() + CORE)
        & (col <= col.max() - CORE)
    )
    kept = inner[pair].any(axis=1)
    tri, other, pair = tri[kept], other[kept], pair[kept]
    order = np.lexsort((pair[:, 1], pair[:, 0]))
    tri, other, pair = tri[order], other[order], pair[order]
    first, second = pair.T
    third = corners[tri].sum(axis=1) - first - second
    (ax, ay), (bx, by) = (seeds[second] - seeds[third]).T, (seeds[first] - seeds[third]).T
    turned = ax * by - ay * bx < 0  # `first` would lie on the right of the way from tri to other
    start, end = np.where(turned, other, tri), np.where(turned, tri, other)
    length = np.hypot(*(centres[end] - centres[start]).T)
    owner = _owners(row, col, first, second, length, county)
    apart = owner[first] != owner[second]
    first, second, start, end = first[apart], second[apart], start[apart], end[apart]
    points = _bent(row, col, seeds, first, second, centres[start], centres[end], county)
    return Edges(owner[first], owner[second], start, end, points)


def _triangles(seeds: Floats, cell_m: float) -> tuple[Ints, Ints, Floats]:
    """Delaunay triangles, their neighbours, and their circumcentres (corners in lattice order).

    Qhull sees the seeds from nearby: it squares coordinates, and those of a map have seven digits.
    """
    delaunay = Delaunay(seeds / cell_m - np.floor(seeds[0] / cell_m))
    a, b, c = np.moveaxis(seeds[np.sort(delaunay.simplices, axis=1)], 1, 0)
    (bx, by), (cx, cy) = (b - a).T, (c - a).T
    twice = 2 * (bx * cy - by * cx)
    bb, cc = bx * bx + by * by, cx * cx + cy * cy
    with np.errstate(divide="ignore", invalid="ignore"):  # flat triangles on the hull are not used
        away = np.stack([(cy * bb - by * cc) / twice, (bx * cc - cx * bb) / twice], axis=1)
    return delaunay.simplices, delaunay.neighbors, a + away


def _owners(
    row: Ints, col: Ints, first: Ints, second: Ints, length: Floats, county: County
) -> Ints:
    """The cell that each cell belongs to: itself, or the neighbour it joins."""
    joins = uniform(row, col, field_key(county.seed, "joins")) < county.merged_share
    cell = np.concatenate([first, second])
    host = np.concatenate([second, first])
    length = np.concatenate([length, length])
    fits = joins[cell] & ~joins[host]
    cell, host, length = cell[fits], host[fits], length[fits]
    order = np.lexsort((length, cell))
    cell, host = cell[order], host[order]
    longest = np.append(cell[1:] != cell[:-1], True)[: cell.size]
    owner = np.arange(row.size)
    owner[cell[longest]] = host[longest]
    return owner


def _bent(
    row: Ints,
    col: Ints,
    seeds: Floats,
    first: Ints,
    second: Ints,
    start: Floats,
    end: Floats,
    county: County,
) -> Floats:
    """Edges bent towards one of their two seeds, shape ``(edge, PIECES + 1, 2)``.

    Each point moves straight to that seed, so the points stay on successive rays from it and inside
    the triangle of seed and edge.
    """
    one, other = ((row[cells] << 32) ^ (col[cells] & 0xFFFFFFFF) for cells in (first, second))
    to_first = uniform(one, other, field_key(county.seed, "side")) < 0.5
    seed = np.where(to_first[:, None], seeds[first], seeds[second])
    length = np.hypot(*(end - start).T)
    points = np.empty((first.size, PIECES + 1, 2))
    points[:, 0], points[:, -1] = start, end
    for k in range(1, PIECES):
        t = k / PIECES
        straight = (1 - t) * start + t * end
        to_seed = seed - straight
        most = np.minimum(FAN, BEND * length / np.hypot(*to_seed.T))
        share = most * uniform(one, other, field_key(county.seed, "bend", k))
        points[:, k] = straight + share[:, None] * to_seed
    return points


def _near(edges: Edges, cells: int, bounds: tuple[float, float, float, float]) -> Ints:
    """Stands whose bounding boxes reach a box; their edges are all there (see PAD)."""
    low, high = np.full((cells, 2), np.inf), np.full((cells, 2), -np.inf)
    for stand in (edges.left, edges.right):
        np.minimum.at(low, stand, edges.points.min(axis=1))
        np.maximum.at(high, stand, edges.points.max(axis=1))
    left, bottom, right, top = bounds
    reach = (low <= (right, top)).all(axis=1) & (high >= (left, bottom)).all(axis=1)
    return np.flatnonzero(reach)
